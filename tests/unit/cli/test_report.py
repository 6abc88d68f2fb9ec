"""`ecotone report`."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.made_traffic import SITE, Traffic, write

from ecotone import store
from ecotone.cli import plots, reporting
from ecotone.values.quality import Step
from ecotone.weighing.comparable import Basis


@pytest.fixture
def site(shell: Any) -> Any:
    """A configuration, and a store in the shell's folder."""
    shell.write("ecotone.yaml", SITE)
    shell.environ["ECOTONE_STORE_PATH"] = str(shell.folder / "store")
    return shell


def report(site: Any, *arguments: str) -> Any:
    result = site("report", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_figures_are_those_of_the_traffic(site: Any) -> None:
    truth = write(site.folder / "store", Traffic())
    said = report(site)
    assert said["form"] == 1
    assert said["read"]["unreadable"] == said["read"]["late"] == 0
    one = said["models"]["assistant"]
    assert one["requests"] == {"all": 1500, "answered": 1500}
    assert one["eligible"] == truth["eligible"]
    assert one["moved"] == truth["moved"]
    assert sum(one["forced"].values()) == 1500 - truth["eligible"]
    assert one["parity"]["certify_pairs"] == truth["certify"]
    loss = one["parity"]["loss"]
    assert loss["low"] <= truth["lost"] / truth["eligible"] <= loss["high"]
    whole = one["frontier"][-1]["loss"]
    assert whole["low"] <= truth["all_edge"] / truth["eligible"] <= whole["high"]
    assert one["promise"]["terms"] == {"loss_max": 0.02, "confidence": 0.95, "is_known": True}
    assert one["promise"]["state"] == {"small (prompt)": "suspended: drift.loss"}
    assert one["cost"]["avoided_usd"] == pytest.approx(truth["moved"] * 0.0012)
    assert 0 < one["cost"]["shadows_usd"] < one["cost"]["avoided_usd"]
    assert one["latency"]["edge"]["total_s_p50"] == pytest.approx(0.3, rel=0.1)
    assert one["latency"]["cloud"]["total_s_p95"] == pytest.approx(1.18, rel=0.1)
    assert one["clusters"][0]["what"] == ["key: code"]
    assert any(bring["edge_share"] > bring["edge_share_now"] for bring in one["bigger_edge"])
    assert [step["step"]["what"] for step in one["steps"]] == ["certified", "suspended"]
    assert one["feedback"] == {"count": 2, "mean": 0.5}
    assert said["examples"] == {}


def test_it_reads_as_sentences_and_tables(site: Any) -> None:
    write(site.folder / "store", Traffic(count=400))
    out = site("report").stdout
    assert "== assistant: 400 requests" in out
    assert "that the promise is about" in out
    assert "had to stay there by rule" in out
    assert "at most 0.02 promised at 95%" in out
    assert "saved " in out
    assert "where the edge fails" in out
    assert "key: code" in out
    assert "suspended" in out


def test_it_says_whose_guesses_the_figures_stand_on(site: Any) -> None:
    write(site.folder / "store", Traffic(count=1500, bad=0.9, certify=0.6))
    said, out = report(site)["models"]["assistant"], site("report").stdout
    basis = {"what": "learning", "certificate": 0, "is_past": False, "pairs": said["parity"]["certify_pairs"] // 2}
    assert said["basis"] == said["promise"]["basis"] == basis
    assert "the pairs on record would support" in out
    assert f"quality against cost: by {basis['pairs']} pairs, the newer half of those guessed while it learned" in out
    assert "a bigger edge model: by the same pairs" in out
    assert "about 50% of what fails" in out
    assert "all of what fails" in out


def test_a_certificate_that_stands_is_told_by_its_own_pairs(site: Any) -> None:
    write(site.folder / "store", Traffic(count=400))
    figures = {
        "edge_share": 0.593, "gap_max": 0.2, "loss": 0.012, "pairs": 300.0, "loss_max": 0.02, "delta": 0.03,
    }  # fmt: skip
    note(site, Step(model="assistant", target="small", what="certified", certificate=2, figures=figures))
    out = site("report").stdout
    assert "certificate 2 lets 59.3% of it go to the edge, by 300 pairs" in out
    assert "would support" not in out
    note(site, Step(model="assistant", target="small", what="voided", why="version.edge", certificate=2))
    out = site("report").stdout
    assert "at least 20 more pairs are needed before any of it can move, with the model that came since" in out
    assert "they are of a model replaced since" in out


def test_pairs_of_one_certificate_are_told_as_such() -> None:
    assert reporting.by(Basis("frozen", 1200, 3)) == "1,200 pairs with guesses of certificate 3"
    assert "knew less" in reporting.by(Basis("mixed", 30))


def note(site: Any, step: Step) -> None:
    """Adds a step to the ledger."""
    ledger = store.Ledger.open(site.folder / "store", "clinic-7", wall_s=lambda: 1_790_100_000.0)
    ledger.note("step", step)
    ledger.close()


def test_what_never_moved_says_how_many_pairs_are_wanting(site: Any) -> None:
    write(site.folder / "store", Traffic(count=150, gap_max=None))
    assert "more pairs are needed before any of it can move" in site("report").stdout


def test_where_the_edge_always_fails_no_number_will_do(site: Any) -> None:
    write(site.folder / "store", Traffic(count=300, gap_max=None, bad=1.0, good=1.0))
    assert "no number of further pairs" in site("report").stdout


def test_where_nothing_learns_it_says_so(site: Any) -> None:
    write(site.folder / "store", Traffic(count=30, private=1.0))
    out = site("report").stdout
    assert "no request drew a role" in out


def test_a_span_and_a_model_narrow_it(site: Any) -> None:
    write(site.folder / "store", Traffic(count=300))
    whole = report(site)
    half = report(site, "--until", whole["read"]["since"].replace("14:", "15:"))
    assert 0 < half["models"]["assistant"]["requests"]["all"] < 300
    assert report(site, "--model", "other")["models"] == {}
    assert "no request is among them" in site("report", "--model", "other").stdout
    assert report(site, "--since", "2030-01-01")["read"]["since"] == ""


def test_without_a_ledger_it_says_how_one_comes(site: Any) -> None:
    result = site("report")
    assert result.exit_code == 2
    assert "a site makes one at its first start" in result.output


def test_another_store_may_be_named(site: Any) -> None:
    write(site.folder / "copy", Traffic(count=50))
    assert report(site, "--store", str(site.folder / "copy"))["models"]["assistant"]["requests"]["all"] == 50


def test_damage_is_counted_and_passed_over(site: Any) -> None:
    write(site.folder / "store", Traffic(count=50))
    (segment,) = (site.folder / "store" / "ledger").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    head = b'{"v":1,"seq":1,"at_ms":1790000000000,"kind":"%b","body":%b,"prev":"","hash":""}\n'
    broken = [b"not an entry\n", *(head % (kind, b'{"figures":1}') for kind in (b"step", b"placed"))]
    segment.write_bytes(b"".join([*lines, *broken, head % (b"feedback", b"{}"), lines[-1][:50]]))
    said = report(site)
    assert said["read"]["unreadable"] == 4
    assert "could not be read" in site("report").stdout


def test_many_model_names_are_told_together(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.cli import reporting

    monkeypatch.setattr(reporting, "_NAMES_MAX", 0)
    write(site.folder / "store", Traffic(count=20))
    assert list(report(site)["models"]) == ["…"]


class Page(HTMLParser):
    """What a browser would do with a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_stands_alone(site: Any) -> None:
    write(site.folder / "store", Traffic(count=400))
    result = site("report", "--html", "report.html")
    assert result.exit_code == 0
    assert result.stdout == "report.html: 1 model names\n"
    text = (site.folder / "report.html").read_text()
    page = Page(text)
    assert page.links == []
    assert page.tags.count("svg") == 3
    assert "script" not in page.tags
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert "clinic-7: report" in page.texts
    assert re.search(r"<circle class=\"spot\"", text)


def test_names_on_the_page_are_escaped(site: Any) -> None:
    site.write("ecotone.yaml", SITE.replace("site: clinic-7", "site: clinic-7"))
    write(site.folder / "store", Traffic(count=60))
    (segment,) = (site.folder / "store" / "ledger").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"assistant"', b'"<script>alert(1)</script>"'))
    assert site("report", "--html", "page.html").exit_code == 0
    page = Page((site.folder / "page.html").read_text())
    assert "script" not in page.tags
    assert any("<script>alert(1)</script>" in text for text in page.texts)


def test_a_page_that_cannot_be_written_is_told(site: Any) -> None:
    write(site.folder / "store", Traffic(count=5))
    result = site("report", "--html", str(site.folder / "none" / "page.html"))
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert site("report", "--html", "page.html").exit_code == 0
    assert "<svg" not in (site.folder / "page.html").read_text()


def test_examples_are_shown_only_when_asked_for(site: Any) -> None:
    folder = site.folder / "store"
    write(folder, Traffic(count=20))
    key = store.store_key(folder, None)
    example = store.Example(
        request="req-1", model="assistant", target="small", at_ms=1, gap=1.0, checker="match",
        question="How many?\x1b[2J", edge="3 <b>", cloud="4",
    )  # fmt: skip
    store.Examples(folder, key).add(example, ())
    assert "How many?" not in site("report").stdout
    out = site("report", "--examples").stdout
    assert "asked: How many? [2J" in out
    assert "\x1b" not in out
    site("report", "--examples", "--html", "page.html")
    assert "3 &lt;b&gt;" in (site.folder / "page.html").read_text()
    assert report(site, "--examples")["examples"]["assistant"][0]["cloud"] == "4"


def test_examples_need_the_stores_key(site: Any) -> None:
    write(site.folder / "store", Traffic(count=5))
    result = site("report", "--examples")
    assert result.exit_code == 2
    assert "key" in result.output


def test_a_bar_is_drawn_on_a_terminal(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.cli import traffic

    steps: list[Any] = []

    class Bar:
        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            steps.append("closed")

        def start(self, total: int, what: str) -> None:
            steps.append((total, what))

        def advance(self, count: int) -> None:
            steps.append(count)

        def done(self) -> None:
            steps.append("done")

    monkeypatch.setattr(traffic, "is_terminal", lambda: True)
    monkeypatch.setattr(traffic, "BarProgress", Bar)
    write(site.folder / "store", Traffic(count=20))
    report(site)
    (total, what), read, done, closed = steps
    assert (what, done, closed) == ("reading the ledger", "done", "closed")
    assert total == read


def test_a_ledger_that_cannot_be_read_is_told(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site.folder / "store", Traffic(count=5))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "segment")

    monkeypatch.setattr(store, "Walk", refuse)
    result = site("report")
    assert result.exit_code == 2
    assert "segment cannot be read" in result.output


@pytest.mark.parametrize("values", [(0.0, 0.0), (1.0, 1.0), (-0.02, 0.3), (1e-7, 3e-7), (0.0, 12_345.0)])
def test_axes_hold_all_that_is_drawn(values: tuple[float, float]) -> None:
    spots = [plots.Spot(x, value, value, value, "a & b") for x, value in zip((0.0, 1.0), values, strict=True)]
    drawn = plots.curve(spots, ("x", "y <&>"), title="t", limit=None)
    places = [float(place) for place in re.findall(r'cy="([-\d.]+)"', drawn)]
    assert all(0 <= place <= 250 for place in places)
    assert "y &lt;&amp;&gt;" in drawn
    assert "a &amp; b" in drawn
    assert "nan" not in drawn
    ends = plots.curve([plots.Spot(0.0, 0.1, -float("inf"), float("inf"), "") for _ in range(2)], ("x", "y"), title="t")
    assert "inf" not in ends


def test_the_folder_of_a_copy_is_found(tmp_path: Path) -> None:
    from ecotone.cli.traffic import ledger_files

    (tmp_path / "ledger").mkdir()
    assert ledger_files(tmp_path) == tmp_path / "ledger"
    assert ledger_files(tmp_path / "ledger") == tmp_path / "ledger"
