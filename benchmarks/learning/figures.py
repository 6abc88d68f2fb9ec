"""From what a site showed to figures, a page to read, and whether it is what was promised."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from phases import Judged, Shown, interval

EVEN = 0.05
"""A task where the edge loses less than this to the cloud should move; one where it loses `FAR` must not."""

FAR = 0.5
ENOUGH = 5


def of(shown: Shown, loss_max: float) -> dict[str, Any]:
    """All figures of one site, JSON-friendly."""
    held = shown.held
    rights = [one.right() for one in held]
    cloud_usd = sum(one.cloud_usd for one in held)
    site_usd = sum(one.cloud_usd for one in held if not one.is_edge) + shown.paid_usd
    tasks = {name: _task([one for one in held if one.sample.item.task == name]) for name in _names(held)}
    loss = interval([one.loss for one in held])
    found: dict[str, Any] = {
        "requests": len(held),
        "edge_share": statistics.fmean(one.is_edge for one in held),
        "loss": loss,
        "loss_max": loss_max,
        "loss_right": interval([float(cloud) - float(site) for site, cloud, _ in rights]),
        "right": {
            place: interval([float(right[number]) for right in rights])
            for number, place in enumerate(("site", "cloud", "edge"))
        },
        "as_good_share": statistics.fmean(one.gap <= 0 for one in held),
        "all_edge_loss": interval([one.gap for one in held]),
        "cost_ratio": site_usd / cloud_usd if cloud_usd else 0.0,
        "paid_usd": shown.paid_usd,
        "latency_s": {
            place: _quantiles([one.sample.took_s for one in held if one.sample.place == place])
            for place in ("edge", "cloud")
        },
        "reasons": _counts([one.sample.reason for one in held]),
        "tasks": tasks,
        "certified_after": shown.certified_after,
        "learn_s": shown.learn_s,
        "reached": None if shown.reached is None else shown.reached.certificate,
        "last": None if shown.last is None else shown.last.certificate,
        "rung": "" if shown.last is None else shown.last.rung,
        "missing": 0 if shown.last is None else shown.last.missing,
        "survived": shown.survived,
        "change": shown.change,
        "steps": shown.steps,
        "tools": shown.tools,
    }
    found["verdicts"] = _verdicts(found)
    return found


def _names(held: Sequence[Judged]) -> list[str]:
    return sorted({one.sample.item.task for one in held})


def _counts(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p95": ordered[int(0.95 * (len(ordered) - 1))]}


def _task(held: Sequence[Judged]) -> dict[str, Any]:
    rights = [one.right() for one in held]
    return {
        "requests": len(held),
        "edge_share": statistics.fmean(one.is_edge for one in held),
        "gap": statistics.fmean(one.gap for one in held),
        "loss": statistics.fmean(one.loss for one in held),
        "right": {
            place: statistics.fmean(right[number] for right in rights)
            for number, place in enumerate(("site", "cloud", "edge"))
        },
    }


def _verdicts(found: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """What was to be shown, and whether it was."""
    tasks = found["tasks"].values()
    even = [task["edge_share"] for task in tasks if task["gap"] <= EVEN and task["requests"] >= ENOUGH]
    far = [task["edge_share"] for task in tasks if task["gap"] >= FAR and task["requests"] >= ENOUGH]
    verdicts = [
        ("a certificate stands", found["last"] is not None),
        ("the held-out loss is within the promise", found["loss"][0] <= found["loss_max"]),
        (f"each task with a gap of at most {EVEN} is mostly at the edge", bool(even) and min(even) > 0.5),
        (f"each task with a gap of at least {FAR} is mostly in the cloud", bool(far) and max(far) < 0.5),
    ]
    for how, (before, after) in found["survived"].items():
        verdicts.append((f"what was learned outlives {how}", before == after))
    if found["tools"]:
        is_read = not any(found["tools"]["left_with"].values())
        verdicts.append(("`ecotone report` and `ecotone replay` read its ledger", is_read))
    if found["change"]:
        change = found["change"]
        is_back = change["cloud"] == change["requests"]
        has_step = any(step["what"] == "voided" for step in change["steps"])
        verdicts.append(
            ("a new edge model: all traffic is back in the cloud, and the ledger says so", is_back and has_step)
        )
    return verdicts


def page(runs: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """The report, Markdown."""
    lines = [
        "# Placement that learns, end to end on real models",
        "",
        *(f"- {key}: {value}" for key, value in about.items()),
    ]
    for gate, run in runs.items():
        lines += ["", f"## Gate on the {gate}", "", *_story(run), "", *_table(run), "", *_overall(run), ""]
        lines += [f"- {'met' if is_met else '**not met**'}: {what}" for what, is_met in run["verdicts"]]
    return "\n".join(lines) + "\n"


def _share(found: Sequence[float]) -> str:
    return f"{found[0]:.1%} ({found[1]:.1%} to {found[2]:.1%})"


def _story(run: Mapping[str, Any]) -> list[str]:
    lines = []
    if run["certified_after"]:
        shown = run["reached"]
        lines.append(
            f"The first certificate came after {run['certified_after']} requests ({run['learn_s']:.0f} s): "
            f"{shown['edge_share']:.0%} at the edge, loss {shown['loss']:.3f} on {shown['pairs']:.0f} pairs, bound "
            f"{shown['loss_bound']:.3f}."
        )
    else:
        lines.append(f"No certificate within {run['learn_s']:.0f} s: all stays in the cloud.")
    steps = [f"{step['what']}" + (f" ({step['why']})" if step.get("why") else "") for step in run["steps"]]
    lines.append(f"Steps in the ledger: {', '.join(steps) or 'none'}.")
    lines += [f"{how}: {before} -> {after}." for how, (before, after) in run["survived"].items()]
    if run["change"]:
        change = run["change"]
        lines.append(
            f"Another model behind the edge target, taken in while running: void {change['void_after_s']:.1f} s after "
            f"the file was written (the site looks at it now and then); of {change['requests']} requests after that "
            f"{change['cloud']} went to the cloud ({', '.join(change['reasons'])})."
        )
    return [f"{line}  " for line in lines]


def _table(run: Mapping[str, Any]) -> list[str]:
    lines = [
        "| task | held-out requests | at the edge | edge's gap to the cloud | loss | right: site | cloud | edge |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in sorted(run["tasks"].items(), key=lambda item: float(item[1]["gap"])):
        right = " | ".join(f"{row['right'][place]:.0%}" for place in ("site", "cloud", "edge"))
        lines.append(
            f"| {name} | {row['requests']} | {row['edge_share']:.0%} | {row['gap']:.2f} | {row['loss']:.3f} | {right} |"
        )
    return lines


def _overall(run: Mapping[str, Any]) -> list[str]:
    right, latency = run["right"], run["latency_s"]
    lines = [
        "| over all held-out requests | |",
        "|---|---|",
        f"| answered at the edge | {run['edge_share']:.1%} (as good there by hindsight: {run['as_good_share']:.1%}) |",
        f"| loss, by the site's checker; promised: at most {run['loss_max']:.1%} | {_share(run['loss'])} |",
        f"| loss if all were at the edge | {_share(run['all_edge_loss'])} |",
        f"| right answers: site | {_share(right['site'])} |",
        f"| right answers: all in the cloud | {_share(right['cloud'])} |",
        f"| right answers: all at the edge | {_share(right['edge'])} |",
        f"| right answers lost against the cloud | {_share(run['loss_right'])} |",
        f"| cost, beside all in the cloud, paid checks included | {run['cost_ratio']:.1%} |",
    ]
    for name, said in run["tools"].get("replay", {}).items():
        what = f"at the edge {_share(said['edge_share'])}, loss {_share(said['loss'])}"
        lines.append(f"| `ecotone replay` of its whole ledger, {name} | {what} |")
    for place in ("edge", "cloud"):
        if latency[place]:
            found = latency[place]
            lines.append(
                f"| latency of what went to the {place}, p50 / p95 | {found['p50']:.3f} / {found['p95']:.3f} s |"
            )
    lines.append(f"| reasons | {', '.join(f'{word} {count}' for word, count in run['reasons'].items())} |")
    return lines
