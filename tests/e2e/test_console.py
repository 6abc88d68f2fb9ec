"""The console in a real browser, at a real hub: what a person sees and does, and what nobody can make it do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, update

from ecotone import access
from ecotone.fleet.waves import Gate, Plan, Standing, Tally
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Scope
from ecotone.hub.serving import opened
from ecotone.hub.tables_releases import releases, reports
from ecotone.trust.agreeing import Asset
from tests.e2e import browser
from tests.e2e.browser import Browser
from tests.hub import fleets, served
from tests.hub.served import Served

pytestmark = pytest.mark.skipif(browser.found() is None, reason="there is no Chromium here: `apt-get install chromium`")

HOSTILE = '<img src=x onerror="document.title=1337">'
SCRIPT = "</td><script>document.title='1337'</script>"
ROWS = "document.querySelectorAll('#rows tr').length"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A hub with 120 sites, one of which has a name that no enrolment would take, and two releases."""
    folder = tmp_path_factory.mktemp("console")
    settings = served.made(folder, f"sqlite:///{folder / 'hub.sqlite'}")
    database = Database.open(settings.database_url())
    now_s = time.time()
    fleets.crowd(database, 120, now_s)
    fleets.enrolled(database, HOSTILE, groups=json.dumps([SCRIPT]), region=SCRIPT)
    report = fleets.report("clinic", software="0.9.0", trouble=("disk",))
    raw = msgspec.json.encode(report).decode().replace("0.9.0", SCRIPT.replace('"', "'"))
    fleets.enrolled(database, "clinic")
    fleets.told(database, now_s, report)
    with database.begin() as c:
        c.execute(update(reports).values(raw=raw).where(reports.c.site == "clinic"))
    _released(
        database, now_s, "r-000000000001", "waiting", Tally(sites=12, wished=12, good=5, trying=4, coming=2, failed=1)
    )
    _released(database, now_s, "r-000000000002", "halted", Tally(sites=3, wished=3, failed=3, shared="aarch64/4g"))
    database.close()
    with served.serving(settings) as at:
        yield at


def _released(database: Database, now_s: float, name: str, state: Any, tally: Tally) -> None:
    plan = Plan(id=name, name="smol", version="2", digests=("a" * 64,), gate=Gate(hours_min=1000, hours_max=2000))
    asset = Asset(kind="model", name="smol", version="2", sha256="a" * 64, bytes=1)
    standing = Standing(state=state, wave=1, limits=(0.01, 0.1, 0.4, 1.0), opened_s=(now_s - 7200, now_s - 60))
    rich = {"scope": Scope(), "residency": (), "plan": plan, "variants": (asset,), "standing": standing, "tally": tally}
    row = {column.name: column.type.python_type() for column in releases.columns}
    row |= {"id": name, "name": "smol", "version": "2", "state": state, "why": "gate.hours", "by": "person:ann"}
    row |= {"created_s": now_s - 7200.0, **{key: msgspec.json.encode(value).decode() for key, value in rich.items()}}
    with database.begin() as c:
        c.execute(insert(releases), [row])


@pytest.fixture
def page(hub: Served, tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as made:
        made.open(f"http://127.0.0.1:{hub.port}/")
        yield made


def signed_in(page: Browser, key: str) -> None:
    page.until("!document.querySelector('#sign-in').hidden")
    page.click("#key")
    page.type(key)
    page.press("Enter")
    page.until(f"{ROWS} > 2")


def chosen(page: Browser, name: str, value: str) -> None:
    page.run(f"document.querySelector('#{name}').value = '{value}'")
    page.run(f"document.querySelector('#{name}').dispatchEvent(new Event('input', {{bubbles: true}}))")


@pytest.fixture(scope="module")
def owner(hub: Served) -> str:
    return served.key(hub, "olga", "owner")


def faults(page: Browser) -> list[str]:
    """All that the page or the browser complained of, and whom it asked besides its own hub."""
    own = re.compile(r"asks: (http://127\.0\.0\.1:\d+/|about:blank|data:,)")
    return [said for said in page.said if not own.match(said)]


def test_the_fleet_is_shown_to_who_has_a_key_and_to_nobody_else(page: Browser, owner: str) -> None:
    page.until("!document.querySelector('#sign-in').hidden")
    page.click("#key")
    page.type("eco-wrong-key")
    page.press("Enter")
    page.until("document.querySelector('#refused').textContent")
    assert page.run("document.querySelector('#main').hidden")
    assert page.run("sessionStorage.length") == 0
    page.said.clear()
    signed_in(page, owner)
    assert page.run(ROWS) == 50
    text = page.run("document.querySelector('#tiles').innerText")
    assert "in trouble" in text
    assert page.run("document.querySelector('#rows tr').innerText").startswith("clinic")  # trouble first
    assert page.run("document.querySelector('#who').textContent") == "olga"
    assert faults(page) == []


def test_what_a_site_or_a_row_says_is_text_and_never_markup(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    page.click("#find")
    page.type("img src")
    page.until(f"{ROWS} === 1")
    assert HOSTILE in page.run("document.querySelector('#rows').textContent")
    assert SCRIPT in page.run("document.querySelector('#rows').textContent")
    page.run("document.querySelector('#find').value = ''")
    page.click("#find")
    page.type("clinic")
    chosen(page, "health", "trouble")
    page.until(f"{ROWS} === 1 && document.querySelector('#rows').textContent.includes('clinic')")
    page.click("#rows button")
    page.until("document.querySelector('pre')")
    assert "<script>" in page.run("document.querySelector('pre').textContent")
    assert page.run("document.querySelectorAll('main script, main img, dialog script, dialog img').length") == 0
    assert "1337" not in page.run("document.title")
    assert faults(page) == []


def test_the_page_may_do_nothing_but_ask_its_hub(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    for script in (
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "eval('1')",
        "new Function('return 1')()",
    ):
        assert (
            page.run(f"(() => {{ try {{ {script}; return 'done'; }} catch (error) {{ return 'refused'; }} }})()")
            == "refused"
        )
    assert page.run("fetch('https://example.org').then(() => 'done', () => 'refused')") == "refused"
    assert page.run("document.cookie + localStorage.length") == "0"


def test_a_release_is_paused_after_a_question_and_by_who_may(page: Browser, hub: Served, owner: str) -> None:
    signed_in(page, owner)
    assert "good 5" in page.run("document.querySelector('#releases').innerText")
    assert "aarch64/4g" in page.run("document.querySelector('#releases').innerText")
    page.click("[data-id='pause-r-000000000001']")
    page.until("document.querySelector('#confirm').open")
    assert page.run("document.activeElement.closest('dialog')?.id") == "confirm"
    page.click("#confirm-no")
    assert state_of(hub) == "waiting"
    page.click("[data-id='pause-r-000000000001']")
    page.until("document.querySelector('#confirm').open")
    page.click("#confirm-yes")
    page.until("document.querySelector(\"[data-id='resume-r-000000000001']\")")
    assert state_of(hub) == "paused"
    page.until("document.querySelector('#acts').innerText.includes('release.pause')")
    assert "person:olga" in page.run("document.querySelector('#acts').innerText")
    assert "is paused" in page.run("document.querySelector('#alarms').innerText")
    page.click("[data-id='resume-r-000000000001']")
    page.until("document.querySelector('#confirm').open")
    page.click("#confirm-yes")
    page.until("document.querySelector(\"[data-id='pause-r-000000000001']\")")
    assert faults(page) == []


def state_of(hub: Served) -> str:
    with opened(hub.settings) as rooms:
        return rooms.releases.show("r-000000000001").state


def test_a_reader_sees_no_button_and_no_acts(page: Browser, hub: Served) -> None:
    signed_in(page, served.key(hub, "rita", "reader"))
    assert page.run("document.querySelectorAll('#releases article').length") == 2
    assert page.run("document.querySelectorAll('#releases button').length") == 0
    assert page.run("document.querySelector('#acts-section').hidden")
    assert faults(page) == []


def test_who_may_see_one_group_sees_its_sites_alone(page: Browser, hub: Served) -> None:
    with opened(hub.settings) as rooms:
        rooms.people.add(served.OWNER, "nils")
        rooms.people.grant(served.OWNER, "nils", access.Grant(role="reader", groups=("clinics",)))
        key = str(rooms.people.key(served.OWNER, "nils")[1])
    signed_in(page, key)
    assert "of 120" in page.run("document.querySelector('#page').textContent")
    assert "all sites" in page.run("document.querySelector('#releases').innerText")
    assert HOSTILE not in page.run("document.body.textContent")


def test_pages_and_filters_lead_to_every_site(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    seen = set(page.run("[...document.querySelectorAll('#rows td:first-child button')].map((one) => one.textContent)"))
    for first in (51, 101):
        page.click("#next")
        page.until(f"document.querySelector('#page').textContent.startsWith('{first} ')")
        seen |= set(
            page.run("[...document.querySelectorAll('#rows td:first-child button')].map((one) => one.textContent)")
        )
    assert len(seen) == 122
    assert page.run("document.querySelector('#next').disabled")
    chosen(page, "health", "trouble")
    page.until(
        "[...document.querySelectorAll('#rows td:nth-child(2) .tag')].every((one) => one.textContent === 'trouble')"
    )


def test_the_key_is_gone_after_signing_out(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    page.click("#leave")
    assert page.run("document.querySelector('#main').hidden")
    assert page.run("sessionStorage.length") == 0
    assert page.run("document.querySelector('#key').value") == ""
    assert "site-0" not in page.run("document.body.textContent")


def test_a_hub_that_is_gone_is_said_and_found_again(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    page.run("window.kept = window.fetch; window.fetch = () => Promise.reject(new TypeError('no network'))")
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    page.until("document.querySelector('#heard').textContent.includes('does not answer')")
    assert page.run(ROWS) == 50  # what stood there stands, and is said to be old
    assert "may be old" in page.run("document.querySelector('#heard').textContent")
    page.run("window.fetch = window.kept; document.dispatchEvent(new Event('visibilitychange'))")
    page.until("document.querySelector('#heard').textContent.startsWith('as of')")


def test_it_can_be_used_by_keyboard_and_read_by_those_who_cannot_see(page: Browser, owner: str) -> None:
    signed_in(page, owner)
    unnamed = page.run(
        "[...document.querySelectorAll('button, input, select, table, section, dialog')].filter((one) => !("
        "one.getAttribute('aria-label') || one.getAttribute('aria-labelledby') || one.textContent.trim() || "
        "one.labels?.length)).map((one) => one.outerHTML)"
    )
    assert unnamed == []
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("[...document.querySelectorAll('h1, h2')].length") >= 5
    page.run("document.querySelector('#rows button').focus()")
    page.press("Enter")
    page.until("document.querySelector('#detail').open")
    page.press("Escape")
    page.until("!document.querySelector('#detail').open")
    assert page.run("document.activeElement.dataset.id || ''").startswith("s-")


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_their_ground(hub: Served, owner: str, tmp_path: Path, dark: bool) -> None:
    """WCAG 2.1, 1.4.3: a contrast of at least 4.5."""
    with Browser(tmp_path / "profile", dark=dark) as page:
        page.open(f"http://127.0.0.1:{hub.port}/")
        signed_in(page, owner)
        assert page.run(CONTRAST) == []


CONTRAST = """
(() => {
  const part = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const one of document.querySelectorAll('main *, header *')) {
    const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!text || one.disabled || !one.offsetParent) continue;
    const both = [light(numbers(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
    const contrast = (both[0] + 0.05) / (both[1] + 0.05);
    if (contrast < 4.5) poor.push(`${one.className || one.tagName}: ${one.textContent}: ${contrast.toFixed(2)}`);
  }
  return [...new Set(poor)];
})()
"""
