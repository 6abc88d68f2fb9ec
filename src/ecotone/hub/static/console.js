"use strict";
// The console of a hub. All that comes from the hub is put on the page as text, never as markup.

const EVERY_MS = 5000;
const LIMIT = 50;
const PENDING_MS = 20000;
const $ = (id) => document.getElementById(id);
const state = { key: sessionStorage.getItem("ecotone-key") || "", me: null, offset: 0, found: 0, timer: 0, asked: 0 };

/* ---- elements --------------------------------------------------------------------------------------------------- */

function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") made.append(child);
  return made;
}

// Replaces what is inside only where it differs, so that focus and selection are not lost at each look.
function fill(place, children) {
  const fresh = h(place.tagName, null, children);
  if (place.innerHTML !== fresh.innerHTML) {
    const focused = place.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    place.replaceChildren(...fresh.childNodes);
    if (focused) [...place.querySelectorAll("[data-id]")].find((one) => one.dataset.id === focused)?.focus();
  }
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

const count = new Intl.NumberFormat("en");
const few = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function size(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes : few.format(bytes)} ${unit}`;
    bytes /= 1000;
  }
  return `${few.format(bytes)} TB`;
}

function span(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${few.format(seconds / 3600)} h`;
  return `${few.format(seconds / 86400)} d`;
}

const ago = (at, now) => (at ? `${span(now - at)} ago` : "never");
const when = (at) => (at ? new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC" : "-");
const share = (part, whole) => (whole ? `${few.format((100 * part) / whole)} %` : "-");
const money = (usd) => `$${few.format(usd)}`;
const TAG = {
  fine: "good", good: "good", done: "good", up: "good", trouble: "bad", failed: "bad", down: "bad", halted: "bad", aborted: "plain",
  rolling_back: "bad", unknown: "plain", revoked: "plain", refused: "fair", degraded: "fair", paused: "fair",
};
const tag = (word, title) => h("span", { class: `tag ${TAG[word] || "plain"}`, title }, String(word).replaceAll("_", " "));

/* ---- asking ----------------------------------------------------------------------------------------------------- */

async function ask(method, path, body) {
  const answer = await fetch(path, {
    method, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(PENDING_MS),
    headers: { authorization: `Bearer ${state.key}`, ...(body ? { "content-type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  const text = await answer.text();
  if (answer.ok) return { text, value: text ? JSON.parse(text) : null };
  let said = `the hub answered ${answer.status}`;
  try { said = JSON.parse(text).error.message || said; } catch { /* no words of its own */ }
  throw Object.assign(new Error(said), { status: answer.status });
}

/* ---- the fleet -------------------------------------------------------------------------------------------------- */

function showFleet(fleet) {
  const { counts, totals } = fleet;
  const decided = totals.at_edge + totals.at_cloud;
  const tiles = [
    [count.format(counts.fine), "sites fine", ""],
    [count.format(counts.trouble), "in trouble", counts.trouble ? "bad" : ""],
    [count.format(counts.unknown), `unknown (silent for ${span(fleet.silent_s)})`, ""],
    [count.format(totals.behind), "behind what is wanted", ""],
    [size(totals.bytes_left), "still to be fetched", ""],
    [count.format(totals.requests), "requests", ""],
    [share(totals.at_edge, decided), "answered at the edge", ""],
    [size(totals.egress_bytes), "left the sites", ""],
    [money(totals.saved_usd), "saved", ""],
  ];
  fill($("tiles"), tiles.map(([big, words, mark]) => h("li", { class: mark }, h("b", null, big), h("span", null, words))));
  const alarms = (fleet.alarms || []).map((one) => h("li", { class: one.is_bad ? "bad" : "" }, one.text));
  fill($("alarms"), alarms);
  $("alarms").hidden = !alarms.length;
  $("hub").textContent = fleet.hub || "hub";
  document.title = counts.trouble ? `(${counts.trouble}) Ecotone hub` : "Ecotone hub";
}

function showVersions(fleet) {
  const rows = fleet.versions.map((one) => h("tr", null,
    h("td", null, h("button", { type: "button", class: "link", "data-id": `v-${one.name}-${one.version}`,
      onclick: () => { $("asset").value = `${one.name}@${one.version}`; filtered(); } }, one.name)),
    h("td", null, one.version), h("td", null, one.kind),
    h("td", null, Object.entries(one.sites).map(([word, n]) => h("span", null, tag(word), ` ${count.format(n)}  `))),
  ));
  fill($("versions"), rows.length ? rows : [nothing(4, "No site has told of any version yet.")]);
}

const nothing = (columns, words) => h("tr", null, h("td", { colspan: columns, class: "nothing" }, words));

/* ---- releases --------------------------------------------------------------------------------------------------- */

const PARTS = ["good", "trying", "coming", "failed", "refused", "silent", "pinned"];
const MEANING = {
  good: "good: its trial is over", trying: "on trial", coming: "on its way", failed: "failed there, taken back there",
  refused: "not used there: no room, no such machine, not verified", silent: "silent: not waited for", pinned: "pinned to another version",
};
const CAN = {
  rolling: ["pause", "abort"], waiting: ["pause", "abort"], paused: ["resume", "abort"], draft: ["abort"],
};
const SURE = {
  pause: "No further site is offered this version until it is resumed. Sites that have it keep it.",
  resume: "It goes on where it was paused.",
  abort: "It ends for good where it stands. Sites that have this version keep it.",
  withdraw: "It ends for good, and every site that has this version goes back to the one before.",
};

function showReleases(fleet) {
  if (!fleet.is_all) return fill($("releases"), [h("p", { class: "note" }, "Releases are shown to who may see all sites.")]);
  const made = fleet.releases.map((one) => release(one, fleet.now_s));
  fill($("releases"), made.length ? made : [h("p", { class: "note" }, "No release was started yet: `ecotone hub release start`.")]);
}

function release(one, now) {
  const may = state.me?.may || {};
  const acts = [...(CAN[one.state] || [])];
  if (acts.includes("abort") || one.state === "done") acts.push("withdraw");
  const buttons = acts.filter((act) => may[act === "withdraw" ? "abort" : act]).map((act) =>
    h("button", { type: "button", class: act === "abort" || act === "withdraw" ? "danger" : "quiet", "data-id": `${act}-${one.id}`,
      onclick: () => confirmed(act, one) }, act === "abort" ? "Abort" : act === "withdraw" ? "Take back" : act === "pause" ? "Pause" : "Resume"));
  const tally = one.tally || {};
  const inAll = Math.max(1, tally.sites || 0);
  const parts = PARTS.filter((part) => tally[part]);
  const bar = h("div", { class: "bar", role: "img", "aria-label": parts.map((part) => `${part} ${tally[part]}`).join(", ") || "no site yet" });
  for (const part of parts) {
    const piece = h("i", { class: part, title: `${MEANING[part]}: ${tally[part]}` });
    piece.style.width = `${(100 * tally[part]) / inAll}%`;
    bar.append(piece);
  }
  return h("article", { class: `release ${one.state}`, "aria-label": `Release ${one.name} ${one.version}` },
    h("div", { class: "release-head" },
      h("h3", null, `${one.name} ${one.version}`), tag(one.state), one.why ? h("span", { class: "small" }, one.why) : null,
      h("span", { class: "small" }, `started ${ago(one.begun_s, now)} by ${one.by} · ${one.id}`),
      h("div", { class: "buttons" }, buttons)),
    h("ol", { class: "waves", "aria-label": "Waves" }, one.waves.map((wave) =>
      h("li", { class: wave.is, "aria-current": wave.is === "open" ? "step" : null }, `${wave.label}${wave.opened_s ? ` · ${span(now - wave.opened_s)}` : ""}`))),
    bar,
    h("ul", { class: "legend" }, parts.map((part) => h("li", { title: MEANING[part] }, h("span", { class: `dot ${part}` }), `${part} ${count.format(tally[part])}`)),
      h("li", { class: "small" }, `of ${count.format(tally.sites || 0)} in the open waves`)),
    CAN[one.state] ? h("p", { class: "gate" }, one.gate) : null,
    tally.shared ? h("p", { class: "gate" }, `All that failed are of one kind of machine: ${tally.shared}`) : null,
  );
}

function confirmed(act, one) {
  $("confirm-title").textContent = `${act === "withdraw" ? "Take back" : act[0].toUpperCase() + act.slice(1)} ${one.name} ${one.version}?`;
  $("confirm-text").textContent = SURE[act];
  $("confirm-said").textContent = "";
  $("confirm-yes").textContent = act === "withdraw" ? "Yes, take it back" : `Yes, ${act} it`;
  $("confirm-yes").className = act === "abort" || act === "withdraw" ? "danger" : "";
  $("confirm-yes").onclick = async () => {
    $("confirm-yes").disabled = true;
    try {
      const path = `/admin/releases/${encodeURIComponent(one.id)}/${act === "withdraw" ? "abort" : act}`;
      await ask("POST", path, act === "abort" || act === "withdraw" ? { is_back: act === "withdraw" } : {});
      $("confirm").close();
      look();
    } catch (error) {
      $("confirm-said").textContent = error.message;
    } finally {
      $("confirm-yes").disabled = false;
    }
  };
  $("confirm").showModal();
}

/* ---- sites ------------------------------------------------------------------------------------------------------ */

function showSites(fleet) {
  state.found = fleet.found;
  const rows = fleet.sites.map((site) => h("tr", null,
    h("td", null, h("button", { type: "button", class: "link", "data-id": `s-${site.site}`, onclick: () => detail(site) }, site.site),
      h("div", { class: "small" }, [...site.groups, site.region].filter(Boolean).join(", "))),
    h("td", null, tag(site.health), h("div", { class: "small" }, site.why.join(", "))),
    h("td", { class: "whole", title: when(site.heard_s) }, ago(site.heard_s, fleet.now_s)),
    h("td", null, site.heard_s ? tag(site.link) : "-"),
    h("td", null, h("ul", { class: "versions" }, site.assets.map((asset) => h("li", null, `${asset.name} ${asset.version} `, tag(asset.state, asset.why)))),
      site.pinned.length ? h("div", { class: "small" }, `pinned: ${site.pinned.join(", ")}`) : null),
    h("td", { class: "n", title: "verified there / wanted" }, `${site.generation} / ${site.wanted}`),
    h("td", { class: "n" }, site.stale_s === null ? "-" : span(site.stale_s)),
    h("td", { class: "n" }, site.bytes_left ? size(site.bytes_left) : "-"),
    h("td", { class: "n" }, count.format(site.requests)),
    h("td", { class: "n" }, share(site.at_edge, site.at_edge + site.at_cloud)),
    h("td", { class: "n" }, money(site.saved_usd)),
  ));
  fill($("rows"), rows.length ? rows : [nothing(11, fleet.counts.fine + fleet.counts.trouble + fleet.counts.unknown
    ? "No site is like that." : "No site has enrolled yet: `ecotone hub token new` here, `ecotone enroll` there.")]);
  const last = fleet.offset + fleet.sites.length;
  $("page").textContent = fleet.found ? `${count.format(fleet.offset + 1)} to ${count.format(last)} of ${count.format(fleet.found)}` : "";
  $("back").disabled = fleet.offset === 0;
  $("next").disabled = last >= fleet.found;
}

async function detail(site) {
  $("detail-title").textContent = site.site;
  $("detail-body").replaceChildren(h("p", { class: "note" }, "asking …"));
  $("detail").showModal();
  try {
    const { text } = await ask("GET", `/admin/sites/${encodeURIComponent(site.site)}/report`);
    $("detail-body").replaceChildren(
      h("h3", null, "What this site sends"),
      h("p", { class: "note" }, `Its newest report, all of it, as it came. It has numbers, names of assets and codes, and no content. ${size(text.length)}.`),
      h("pre", { tabindex: 0, "aria-label": "The report, verbatim" }, pretty(text)));
  } catch (error) {
    $("detail-body").replaceChildren(h("p", null, error.status === 404 ? "It has sent nothing yet." : error.message));
  }
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function filtered() {
  state.offset = 0;
  look();
}

/* ---- acts ------------------------------------------------------------------------------------------------------- */

async function showActs() {
  const { value } = await ask("GET", "/admin/acts?limit=50");
  const rows = value.acts.map((act) => h("tr", null,
    h("td", { class: "n" }, act.seq), h("td", { class: "whole" }, when(act.at_s)), h("td", null, act.actor), h("td", null, act.act),
    h("td", null, act.subject)));
  fill($("acts"), rows.length ? rows : [nothing(5, "Nobody has done anything yet.")]);
}

/* ---- looking again and again ------------------------------------------------------------------------------------ */

// Nothing is drawn anew between the press and the release of a button: a click would be lost.
let isPressed = false;
addEventListener("pointerdown", () => { isPressed = true; });
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => { setTimeout(() => { isPressed = false; }); });
const released = async () => { while (isPressed) await new Promise((go) => setTimeout(go, 50)); };

async function look() {
  clearTimeout(state.timer);
  const number = ++state.asked;
  try {
    const query = new URLSearchParams({
      find: $("find").value.trim(), health: $("health").value, asset: $("asset").value.trim(), offset: state.offset, limit: LIMIT,
    });
    const { value } = await ask("GET", `/admin/status?${query}`);
    await released();
    if (number !== state.asked) return;
    state.me = value.me;
    opened();
    showFleet(value);
    showReleases(value);
    showSites(value);
    showVersions(value);
    $("acts-section").hidden = !state.me.may?.audit;
    if (state.me.may?.audit) await showActs();
    $("heard").textContent = `as of ${new Date(value.now_s * 1000).toISOString().slice(11, 19)} UTC`;
    $("heard").className = "";
  } catch (error) {
    if (number !== state.asked) return;
    if (error.status === 401) return leave(error.message);
    const words = error.status ? error.message : "the hub does not answer";
    if (!$("main").hidden || error.status === undefined) {
      $("heard").textContent = `${words}; what stands here may be old`;
      $("heard").className = "lost";
    } else {
      return leave(words);
    }
  }
  if (number === state.asked && state.key) state.timer = setTimeout(look, document.hidden ? 6 * EVERY_MS : EVERY_MS);
}

function opened() {
  $("sign-in").hidden = true;
  $("main").hidden = $("leave").hidden = $("who").hidden = false;
  $("who").textContent = state.me.name || "";
}

function leave(why) {
  clearTimeout(state.timer);
  state.asked += 1;
  Object.assign(state, { key: "", me: null, offset: 0 });
  sessionStorage.removeItem("ecotone-key");
  for (const id of ["rows", "releases", "versions", "acts", "tiles", "alarms", "detail-body"]) $(id).replaceChildren();
  $("detail").close();
  $("confirm").close();
  $("main").hidden = $("leave").hidden = $("who").hidden = true;
  $("sign-in").hidden = false;
  $("heard").textContent = "";
  $("refused").textContent = why || "";
  $("key").focus();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = $("key").value.trim();
  $("key").value = "";
  $("refused").textContent = "";
  sessionStorage.setItem("ecotone-key", state.key);
  look();
});
$("filter").addEventListener("submit", (event) => event.preventDefault());
let typed = 0;
$("filter").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(filtered, 250); });
$("back").addEventListener("click", () => { state.offset = Math.max(0, state.offset - LIMIT); look(); });
$("next").addEventListener("click", () => { if (state.offset + LIMIT < state.found) state.offset += LIMIT; look(); });
$("leave").addEventListener("click", () => leave(""));
$("detail-close").addEventListener("click", () => $("detail").close());
$("confirm-no").addEventListener("click", () => $("confirm").close());
document.addEventListener("visibilitychange", () => { if (!document.hidden && state.key) look(); });

if (state.key) look(); else leave("");
