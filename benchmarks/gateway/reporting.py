"""From the rounds' figures to medians, spreads, ratios, the goals' verdicts, and a page to read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measuring import RATES_RPS, STREAMS, Block

Round = Mapping[str, Block]
Spread = tuple[float, float, float, int]  # median, least, most, how many rounds

OURS = ("ecotone-cloud", "ecotone-edge")
ADDED = (
    {"c1_p50_us": "c1_added_p50_us"}
    | {f"rate{rate}_{q}_us": f"rate{rate}_added_{q}_us" for rate in RATES_RPS for q in ("p50", "p99")}
    | {f"streams{n}_ttft_p50_us": f"streams{n}_added_ttft_p50_us" for n in STREAMS}
)


@dataclass(frozen=True)
class Ratio:
    """`key` of one contender over another's, round by round. `is_other_above`: the other one stands above the line."""

    name: str
    key: str
    other: str
    is_other_above: bool


RATIOS = (
    Ratio("CPU per request, 64 connections, × nginx", "saturated_cpu_us", "nginx", False),
    Ratio("CPU per request, 200 rps, × nginx", "rate200_cpu_us", "nginx", False),
    Ratio("CPU per chunk, 100 streams, × nginx", "streams100_chunk_cpu_us", "nginx", False),
    Ratio("CPU per chunk, 500 streams, × nginx", "streams500_chunk_cpu_us", "nginx", False),
    Ratio("requests/s, share of nginx", "saturated_rps", "nginx", False),
    Ratio("CPU per request, 64 connections: LiteLLM ÷ it", "saturated_cpu_us", "litellm", True),
    Ratio("CPU per request, 50 rps: LiteLLM ÷ it", "rate50_cpu_us", "litellm", True),
    Ratio("requests/s: it ÷ LiteLLM", "saturated_rps", "litellm", False),
    Ratio("CPU per chunk, 100 streams: LiteLLM ÷ it", "streams100_chunk_cpu_us", "litellm", True),
    Ratio("added p50, one connection: LiteLLM ÷ it", "c1_added_p50_us", "litellm", True),
    Ratio("idle memory: LiteLLM ÷ it", "idle_rss_mb", "litellm", True),
    Ratio("start to first answer: LiteLLM ÷ it", "start_online_s", "litellm", True),
)


@dataclass(frozen=True)
class Goal:
    """A goal of RESEARCH-http.md. `source` names a figure, or a ratio by its name."""

    what: str
    source: str
    limit: float
    is_at_most: bool
    unit: str = ""


GOALS = (
    Goal("CPU per JSON request, 64 connections", "saturated_cpu_us", 120, True, "us"),
    Goal("the same, times nginx", "CPU per request, 64 connections, × nginx", 5.5, True, "x"),
    Goal("requests/s on one core", "saturated_rps", 8000, False),
    Goal("CPU per SSE chunk, 500 streams", "streams500_chunk_cpu_us", 40, True, "us"),
    Goal("added p50, one connection", "c1_added_p50_us", 250, True, "us"),
    Goal("added TTFT p50, 100 streams", "streams100_added_ttft_p50_us", 500, True, "us"),
    Goal("1,000 streams carried: all complete, chunk age p99 at most 100 ms", "streams1000_carried", 1, False, "bool"),
    Goal("idle memory (RSS)", "idle_rss_mb", 60, True, "MB"),
    Goal("start to first proxied answer", "start_online_s", 0.5, True, "s"),
    Goal("start to first proxied answer, no network", "start_offline_s", 0.5, True, "s"),
    Goal("CPU per request: LiteLLM ÷ it", "CPU per request, 64 connections: LiteLLM ÷ it", 80, False, "x"),
    Goal("requests/s: it ÷ LiteLLM", "requests/s: it ÷ LiteLLM", 80, False, "x"),
)


def add_differences(this_round: Round) -> None:
    """Adds to each contender what it adds to direct in the same round."""
    direct = this_round.get("direct")
    for name, block in this_round.items():
        for key, added in ADDED.items():
            if direct and name != "direct" and key in block.figures and key in direct.figures:
                block.figures[added] = block.figures[key] - direct.figures[key]


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least, most and count; None of nothing."""
    return (statistics.median(values), min(values), max(values), len(values)) if values else None


def summarise(rounds: Sequence[Round]) -> dict[str, dict[str, Spread]]:
    """Spread by contender and figure."""
    summary: dict[str, dict[str, Spread]] = {}
    for name in dict.fromkeys(name for this_round in rounds for name in this_round):
        blocks = [this_round[name] for this_round in rounds if name in this_round]
        keys = dict.fromkeys(key for block in blocks for key in block.figures)
        found = {key: spread([block.figures[key] for block in blocks if key in block.figures]) for key in keys}
        summary[name] = {key: value for key, value in found.items() if value}
    return summary


def ratios(rounds: Sequence[Round]) -> dict[str, dict[str, Spread]]:
    """Spread of each ratio by contender; both sides always come from the same round."""
    found: dict[str, dict[str, Spread]] = {}
    for name in dict.fromkeys(name for this_round in rounds for name in this_round):
        rows = {ratio.name: spread(_one_ratio(rounds, name, ratio)) for ratio in RATIOS if ratio.other != name}
        found[name] = {key: value for key, value in rows.items() if value}
    return found


def _one_ratio(rounds: Sequence[Round], name: str, ratio: Ratio) -> list[float]:
    values = []
    for this_round in rounds:
        mine = this_round[name].figures.get(ratio.key) if name in this_round else None
        others = this_round[ratio.other].figures.get(ratio.key) if ratio.other in this_round else None
        if mine and others and mine > 0 and others > 0:
            values.append(others / mine if ratio.is_other_above else mine / others)
    return values


def verdicts(
    summary: Mapping[str, Mapping[str, Spread]], shares: Mapping[str, Mapping[str, Spread]], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Each goal for each of our contenders: the median, and met, not met or not measured."""
    return {
        name: [_verdict(goal, {**summary[name], **shares.get(name, {})}, rounds) for goal in GOALS]
        for name in OURS
        if name in summary
    }


def _verdict(goal: Goal, figures: Mapping[str, Spread], rounds: int) -> dict[str, Any]:
    value = figures.get(goal.source)
    if value is None:
        return {"goal": goal.what, "limit": goal.limit, "measured": None, "verdict": "not measured"}
    is_met = value[0] <= goal.limit if goal.is_at_most else value[0] >= goal.limit
    partly = "" if value[3] == rounds else f" (measured in {value[3]} of {rounds} rounds)"
    verdict = ("met" if is_met else "NOT MET") + partly
    return {"goal": goal.what, "limit": goal.limit, "measured": value, "verdict": verdict}


# the page


def _write_us(value: float) -> str:
    if abs(value) < 10_000:
        return f"{value:,.0f} µs"
    return f"{value / 1000:,.0f} ms" if abs(value) < 1e6 else f"{value / 1e6:,.1f} s"


WRITERS: dict[str, Callable[[float], str]] = {
    "us": _write_us,
    "s": lambda v: f"{v:.2f} s",
    "mb": lambda v: f"{v:,.0f} MB",
    "MB": lambda v: f"{v:,.0f} MB",
    "x": lambda v: f"{v:,.1f}",
    "ratio": lambda v: f"{v:,.2f}" if abs(v) < 10 else f"{v:,.0f}",
    "share": lambda v: f"{v:.0%}",
    "bool": lambda v: "yes" if v >= 1 else "no",
    "carried": lambda v: "yes" if v >= 1 else "no",
}


def write_value(value: float, unit: str) -> str:
    """A figure with its unit."""
    writer = WRITERS.get(unit)
    return writer(value) if writer else f"{value:,.0f}"


def _unit(key: str) -> str:
    return key.rpartition("_")[2]


def _with_spread(value: Spread | None, unit: str) -> str:
    if value is None:
        return "–"
    median, least, most, count = value
    text = write_value(median, unit)
    return text if count == 1 else f"{text} ({write_value(least, unit)} – {write_value(most, unit)})"


def _cells(figures: Mapping[str, Spread], *keys: str) -> str:
    texts = [write_value(figures[key][0], _unit(key)) if key in figures else "–" for key in keys]
    return " / ".join(texts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _streams_carried(figures: Mapping[str, Spread]) -> str:
    carried = [n for n in STREAMS if figures.get(f"streams{n}_carried", (0, 0, 0, 0))[0] >= 1]
    tried = [n for n in STREAMS if f"streams{n}_done_share" in figures]
    if not tried:
        return "–"
    if not carried:
        return f"< {tried[0]}"
    return f"≥ {carried[-1]}" if carried[-1] == STREAMS[-1] else str(carried[-1])


def _side_by_side(summary: Mapping[str, Mapping[str, Spread]]) -> list[str]:
    head = [
        "contender",
        "requests/s, 1 core, 64 conns",
        "CPU per request: 64 conns / 200 rps / 50 rps",
        "added p50, 1 conn",
        "50 rps: added p50 / p99",
        "200 rps: added p50 / p99",
        "added TTFT p50 at 100 / 500 / 1000 streams",
        "chunk age p99 at 100 / 500 / 1000",
        "CPU per chunk at 100 / 500 / 1000",
        "streams carried",
        "RSS idle / peak · PSS idle",
        "start online / no network",
    ]
    rows = []
    for name, figures in summary.items():
        rows.append(
            [
                name,
                _cells(figures, "saturated_rps"),
                _cells(figures, "saturated_cpu_us", "rate200_cpu_us", "rate50_cpu_us"),
                _cells(figures, "c1_added_p50_us"),
                _cells(figures, "rate50_added_p50_us", "rate50_added_p99_us"),
                _cells(figures, "rate200_added_p50_us", "rate200_added_p99_us"),
                _cells(figures, *(f"streams{n}_added_ttft_p50_us" for n in STREAMS)),
                _cells(figures, *(f"streams{n}_age_p99_us" for n in STREAMS)),
                _cells(figures, *(f"streams{n}_chunk_cpu_us" for n in STREAMS)),
                _streams_carried(figures),
                _cells(figures, "idle_rss_mb", "loaded_peak_rss_mb") + " · " + _cells(figures, "idle_pss_mb"),
                _cells(figures, "start_online_s", "start_offline_s") if name != "direct" else "–",
            ]
        )
    return _table(head, rows)


def _goal_rows(goals: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rows = []
    for index, goal in enumerate(GOALS):
        sign = "≤ " if goal.is_at_most else "≥ " if goal.unit != "bool" else ""
        row = [goal.what, sign + write_value(goal.limit, goal.unit)]
        for verdict in (verdicts_of[index] for verdicts_of in goals.values()):
            measured = verdict["measured"]
            text = _with_spread(measured, goal.unit) + ": " if measured else ""
            row.append(f"{text}**{verdict['verdict']}**")
        rows.append(row)
    return _table(["goal", "bound", *goals], rows)


def _section(key: str) -> int:
    """Where a figure stands in the long table; a stable sort keeps the order within a section."""
    order = ("saturated", "c1", "rate50", "rate200", "streams100_", "streams500_", "streams1000_", "idle", "loaded")
    return next((place for place, prefix in enumerate(order) if key.startswith(prefix)), len(order))


def _spread_rows(table: Mapping[str, Mapping[str, Spread]], unit_of: Callable[[str], str]) -> list[str]:
    keys = sorted(dict.fromkeys(key for figures in table.values() for key in figures), key=_section)
    rows = [[key, *(_with_spread(figures.get(key), unit_of(key)) for figures in table.values())] for key in keys]
    return _table(["figure", *table], rows)


def _ratio_rows(shares: Mapping[str, Mapping[str, Spread]]) -> list[str]:
    named = [ratio.name for ratio in RATIOS if any(ratio.name in rows for rows in shares.values())]
    rows = [[name, *(_with_spread(rows.get(name), "ratio") for rows in shares.values())] for name in named]
    return _table(["ratio", *shares], rows)


def _machine_lines(result: Mapping[str, Any]) -> list[str]:
    machine = result["machine"]
    loads = f"load average before {result['load_average_before']}, after {result['load_average_after']}"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, kernel {machine['kernel']}",
        f"Python {machine['python']}, gcc {machine['gcc']}",
        f"contender on core {machine['gateway_core']}, instruments on core {machine['instrument_core']}, loopback",
        f"disk {machine['disk']}: fdatasync of 512 bytes takes {machine['fdatasync_us_p50']} µs (median)",
        f"{loads}; took {result['took_s'] / 60:.1f} minutes, {len(result['rounds'])} round(s)",
    ]
    lines += [f"{name}: {version}" for name, version in result["versions"].items() if version != "-"]
    return [f"- {line}" for line in lines]


def _note_lines(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for number, this_round in enumerate(result["rounds"], 1):
        for name, block in this_round.items():
            lines += [f"- round {number}, {name}: {note}" for note in block["notes"]]
    shares = [
        (run["foreign_core_share"], f"round {number}, {name}, {what}")
        for number, this_round in enumerate(result["rounds"], 1)
        for name, block in this_round.items()
        for what, run in block["raw"].items()
    ]
    if shares:
        middle = statistics.median(share for share, _ in shares)
        most = max(shares)
        lines.append(
            f"- others' work on the contender's core (neighbours, stolen time): median {middle:.0%} of it, "
            f"most {most[0]:.0%} ({most[1]})"
        )
    return lines


def page(result: Mapping[str, Any]) -> str:
    """The whole report in Markdown."""
    parts = [f"# Gateway bench, {result['date']}{' (quick)' if result['is_quick'] else ''}", ""]
    parts += _machine_lines(result)
    if result["goals"]:
        parts += ["", "## Goals (RESEARCH-http.md)", "", *_goal_rows(result["goals"])]
    parts += ["", "## Side by side (medians; 'added' is against direct in the same round)", ""]
    parts += _side_by_side(result["summary"])
    shares = {name: rows for name, rows in result["ratios"].items() if name != "direct" and rows}
    if shares:
        parts += ["", "## Ratios (round by round; median, least – most)", "", *_ratio_rows(shares)]
    parts += ["", "## Every figure (median, least – most)", "", *_spread_rows(result["summary"], _unit)]
    notes = _note_lines(result)
    if notes:
        parts += ["", "## Notes", "", *notes]
    return "\n".join(parts) + "\n"
