"""The report as one web page: no script, nothing fetched, all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from ecotone.cli.plots import Spot, curve
from ecotone.cli.proof import instant
from ecotone.cli.reporting import Told, assumed, band, headline, mended, sentences
from ecotone.store import Example
from ecotone.weighing.figures import Report
from ecotone.weighing.spread import Band

__all__ = ["page"]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #5b6570; --rule: #d8dde3; --main: #0b6b5d;
  --warn: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --paper: #14171a; --soft: #98a2ac; --rule: #30363d;
  --main: #4fc3ae; --warn: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1040px; padding: 24px; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper) }
h1 { font-size: 22px }
h2 { font-size: 19px; margin-top: 40px; border-top: 1px solid var(--rule); padding-top: 20px }
h3 { font-size: 15px; margin: 24px 0 6px }
p { margin: 4px 0 }
.soft { color: var(--soft) }
.broken { color: var(--warn); font-weight: 600 }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px }
figure { margin: 8px 0 }
figcaption { font-size: 13px; color: var(--soft) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px }
th, td { padding: 3px 12px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule) }
th { color: var(--soft); font-weight: 500 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; border-left: 3px solid var(--rule);
  padding-left: 10px; margin: 4px 0 }
svg { width: 100%; height: auto }
.grid { stroke: var(--rule); stroke-width: 1 }
.tick { fill: var(--soft); font-size: 11px }
.name { fill: var(--ink); font-size: 12px }
.band { fill: var(--main); opacity: .16 }
.line { fill: none; stroke: var(--main); stroke-width: 2 }
.spot { fill: var(--main) }
.limit { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 5 4 }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(site: str, said: Told) -> str:
    """The whole page."""
    read = said.read
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(site)}: report</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(site)}: what moved to the edge, and what it cost</h1>",
        f'<p class="soft">{read.entries:,} ledger entries, {escape(read.since)} to {escape(read.until)}</p>',
    ]
    for name, report in said.models.items():
        parts += _model(name, report)
        parts += _examples(said.examples.get(name, ()))
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _model(name: str, report: Report) -> list[str]:
    parts = [f"<h2>{escape(name)}</h2>", f"<p>{escape(headline(report))}</p>"]
    for line in sentences(report):
        kind = ' class="broken"' if "BROKEN" in line else ""
        parts.append(f"<p{kind}>{escape(line)}</p>")
    parts += _plots(report)
    parts += _table("Why", ("reason", "requests"), _most_first(report.why))
    parts += _table(
        "Latency, seconds",
        ("place", "answers", "first byte p50", "p95", "end p50", "p95", "mean"),
        [
            (place, one.answers, one.ttft_s_p50, one.ttft_s_p95, one.total_s_p50, one.total_s_p95, one.total_s_mean)
            for place, one in report.latency.items()
            if one.answers
        ],
    )
    parts += _table("Promise", ("target (gate)", "last"), report.promise.state.items())
    parts += _failures(report)
    parts += [f'<p class="soft">{escape(line)}</p>' for line in assumed(report)]
    parts += _table(
        "Steps",
        ("at", "what", "why", "target", "figures"),
        [
            (
                instant(one.at_ms), one.step.what, one.step.why, one.step.target,
                ", ".join(f"{word} {value:.4g}" for word, value in sorted(one.step.figures.items())),
            )
            for one in reversed(report.steps)
        ],
    )  # fmt: skip
    return parts


def _plots(report: Report) -> list[str]:
    """Quality, cost and latency over the share at the edge, and quality against cost."""
    points = report.frontier
    if len(points) < 2:
        return []
    loss_max = report.promise.terms.loss_max
    notes = [f"{one.edge_share:.1%} at the edge: loss {band(one.loss)}" for one in points]
    shares = [one.edge_share for one in points]
    drawn: list[tuple[list[Spot], tuple[str, str], str, float | None]] = [
        (
            _spots(shares, [one.loss for one in points], notes),
            ("share of requests at the edge", "loss of quality"),
            "Loss of quality for each share of requests at the edge; dashed: what is promised",
            loss_max,
        )
    ]
    if any(one.cost_usd.mean for one in points):
        drawn.append(
            (
                _spots(
                    [one.cost_usd.mean * 1000 for one in points][::-1], [one.loss for one in points][::-1], notes[::-1]
                ),
                ("US dollars per 1,000 requests", "loss of quality"),
                "Quality against cost; dashed: what is promised",
                loss_max,
            )
        )
    if all(one.latency_s.n > 1 for one in points):
        timed = [f"{one.edge_share:.1%} at the edge: {band(one.latency_s)} s" for one in points]
        drawn.append(
            (
                _spots(shares, [one.latency_s for one in points], timed),
                ("share of requests at the edge", "mean seconds of an answer"),
                "Latency for each share of requests at the edge",
                None,
            )
        )
    figures = [
        f"<figure>{curve(spots, names, title=title, limit=limit)}<figcaption>{escape(title)}</figcaption></figure>"
        for spots, names, title, limit in drawn
    ]
    return ['<div class="plots">', *figures, "</div>"]


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _spots(xs: Sequence[float], bands: Sequence[Band], notes: Sequence[str]) -> list[Spot]:
    return [Spot(x, one.mean, one.low, one.high, note) for x, one, note in zip(xs, bands, notes, strict=True)]


def _failures(report: Report) -> list[str]:
    return [
        *_table(
            "Where the edge fails",
            ("requests with", "pairs", "share", "edge worse in", "mean gap", "at the edge"),
            [
                (", ".join(one.what), one.pairs, f"{one.share:.1%}", one.worse, band(one.gap), f"{one.moved_share:.0%}")
                for one in report.clusters
                if one.gap.mean > 0
            ],
        ),
        *_table(
            "What a bigger edge model would have to bring",
            ("requests with", "if it were right on", "mean gap now", "then", "at the edge now", "then"),
            [
                (
                    ", ".join(one.what) or "anything", mended(one.right), one.gap_now, one.gap,
                    f"{one.edge_share_now:.1%}", f"{one.edge_share:.1%}",
                )
                for one in report.bigger_edge
            ],
        ),
    ]  # fmt: skip


def _examples(examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    parts = ["<h3>Answers that compared badly</h3>", '<p class="soft">This is content: keep the page to yourself.</p>']
    for one in examples:
        parts.append(f"<p>{instant(one.at_ms)}, gap {one.gap:+.2f} by {escape(one.checker)}</p>")
        parts += [f"<pre>{escape(text)}</pre>" for text in (one.question, f"edge: {one.edge}", f"cloud: {one.cloud}")]
    return parts


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table; nothing where it has no rows."""
    body = ["<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows]
    if not body:
        return []
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return [f'<h3>{escape(title)}</h3><div class="scroll"><table><tr>{head}</tr>', *body, "</table></div>"]


def _cell(value: object) -> str:
    if value is None:
        return "<td>-</td>"
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    if isinstance(value, float):
        return f'<td class="n">{value:.4g}</td>'
    return f"<td>{escape(str(value))}</td>"
