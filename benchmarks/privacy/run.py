"""`make bench-privacy`: what Ecotone's detectors find, miss and cost, beside Presidio, on labelled text, in one run.

The protocol stands in `scoring.py`. The text is measuring material that lies outside the repository (`--data`). For
whoever mends a detector:

    python benchmarks/privacy/run.py --systems patterns --sets eu_synth --no-speed --misses 20
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Read before numpy is loaded: one thread, so that CPU time is that of one request.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import reporting  # noqa: E402 - as above
import scoring  # noqa: E402 - as above
import systems  # noqa: E402 - as above
from scoring import Document, Predicted  # noqa: E402 - as above

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("ECOTONE_PRIVACY_DATA", ROOT.parent / "shared" / "data" / "privacy"))
TOPICS_SET = HERE / "topics_test.jsonl"
"""Written for this project and put aside before the last tuning; never trained on (`topics.py` says more)."""

OURS = ("patterns", "names", "topics")
ALL = (*OURS, "presidio")
SETS = ("en_presidio_dev", "eu_synth", "zh_synth", "argus_unit", "argus_realistic", "de_germeval", "negatives_en")
CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SIZES = (2048, 16384)
QUICK_EACH = 150


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(ALL), help=f"some of {','.join(ALL)} (default all)")
    parser.add_argument("--sets", default=",".join(SETS), help=f"some of {','.join(SETS)} (default all)")
    parser.add_argument("--data", type=Path, default=DATA, help=f"where the labelled text lies (default {DATA})")
    parser.add_argument("--quick", action="store_true", help=f"every set thinned to {QUICK_EACH} texts, fewer timings")
    parser.add_argument("--no-speed", action="store_true", help="only quality")
    parser.add_argument("--no-quality", action="store_true", help="only speed")
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="show N misses and alarms of each set")
    parser.add_argument("--out", type=Path, help=f"where the report goes (default {RESULTS}; partial runs: .work)")
    options = parser.parse_args(argv)
    options.systems = options.systems.split(",")
    options.sets = options.sets.split(",")
    for chosen, known in ((options.systems, ALL), (options.sets, SETS)):
        unknown = [name for name in chosen if name not in known]
        if unknown:
            parser.error(f"no such thing: {', '.join(unknown)} (there are {', '.join(known)})")
    if not options.data.is_dir():
        parser.error(f"no labelled text in {options.data}; give --data FOLDER")
    return options


def read(path: Path, quick: bool) -> list[Document]:
    """A set; thinned evenly where there is little time."""
    documents = [scoring.document(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return documents[:: max(1, len(documents) // QUICK_EACH)] if quick else documents


def build(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The systems that are there, and why the others are not."""
    makers: dict[str, Callable[[], Any]] = {
        "patterns": systems.Patterns,
        "names": lambda: systems.Dear("names"),
        "topics": lambda: systems.Dear("topics"),
        "presidio": systems.Presidio,
    }
    made, missing = {}, {}
    for name in names:
        began_s = time.monotonic()
        try:
            made[name] = makers[name]()
        except Exception as error:  # noqa: BLE001 - whatever keeps a system from starting is said, and the others run
            missing[name] = f"{type(error).__name__}: {error}"
            say(f"{name} is left out: {missing[name]}")
        else:
            say(f"{name} {made[name].version} is ready after {time.monotonic() - began_s:.1f} s")
    return made, missing


def variants(found: dict[str, list[list[Predicted]]]) -> Iterator[tuple[str, list[list[Predicted]]]]:
    """What is scored: our detectors one on the other, and Presidio at two scores."""
    stack: list[list[list[Predicted]]] = []
    title = ""
    for name in OURS:
        if name in found:
            stack.append(found[name])
            title = f"{title} + {name}" if title else name
            yield title, systems.together(*stack)
    if "names" in found and "patterns" not in found:
        return
    if "presidio" in found:
        yield "presidio", found["presidio"]
        yield "presidio, score 0.4", systems.at_least(found["presidio"], 0.4)


def quality(made: dict[str, Any], sets: dict[str, list[Document]], misses: int) -> dict[str, Any]:
    """Scores of every variant on every set, and all predictions for the curve."""
    scores: dict[str, Any] = {}
    said: dict[str, dict[str, list[list[Predicted]]]] = {}
    for name, documents in sets.items():
        texts = [one.text for one in documents]
        said[name] = {}
        for system_name, system in made.items():
            began_s = time.monotonic()
            said[name][system_name] = system.find(texts)
            say(f"{name}: {system_name} looked at {len(texts)} texts in {time.monotonic() - began_s:.1f} s")
        scores[name] = {}
        for title, found in variants(said[name]):
            result = scoring.score(documents, found)
            scores[name][title] = reporting.shown(result)
            if misses:
                show_misses(name, title, documents, result.misses[:: max(1, len(result.misses) // misses)][:misses])
    return {"scores": scores, "curve": curve(sets, said)}


def show_misses(name: str, title: str, documents: Sequence[Document], some: Sequence[scoring.Miss]) -> None:
    """Misses and alarms with the words around them: made-up text, for whoever mends a detector."""
    texts = {one.id: one.text for one in documents}
    for miss in some:
        text = texts[miss.document]
        around = f"{text[max(0, miss.start - 30) : miss.start]}⟦{text[miss.start : miss.end]}⟧{text[miss.end :][:20]}"
        kind = "alarm" if miss.is_alarm else "miss "
        say(f"  {name} [{title}] {kind} {miss.label:12} {' '.join(around.split())}")


def curve(sets: dict[str, list[Document]], said: dict[str, dict[str, list[list[Predicted]]]]) -> list[dict[str, Any]]:
    """Prompt level: share of texts with something protected that is seen, against alarms on ordinary prompts."""
    ordinary = [name for name in sets if name == "negatives_en"]
    holding = [name for name in sets if name not in ("negatives_en", "de_germeval")]
    points = []
    titles = [title for title, _ in variants(said[next(iter(said))])] if said else []
    for title in titles:
        for confidence in CONFIDENCES:
            point: dict[str, Any] = {"system": title, "confidence": confidence, "recall": {}}
            for name in (*holding, *ordinary):
                found = systems.at_least(dict(variants(said[name]))[title], confidence)
                hits = [any(one.tier in scoring.HELD for one in each) for each in found]
                held = [bool(one.spans) and bool(one.holds & {"T1", "T2"}) for one in sets[name]]
                positive = [hit for hit, is_held in zip(hits, held, strict=True) if is_held]
                if name in ordinary:
                    point["alarms"] = sum(hits) / len(hits)
                elif positive:
                    point["recall"][name] = sum(positive) / len(positive)
            points.append(point)
    return points


def topics(made: dict[str, Any], ordinary: Sequence[Document], quick: bool) -> dict[str, Any]:
    """Topics on text of our own that no topic was trained on: by label, and the curve against alarms."""
    if not TOPICS_SET.is_file() or "topics" not in made:
        return {}
    rows = [json.loads(line) for line in TOPICS_SET.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = rows[:: max(1, len(rows) // QUICK_EACH)] if quick else rows
    found = made["topics"].find([row["text"] for row in rows])
    labels: dict[str, dict[str, int]] = {}
    for row, each in zip(rows, found, strict=True):
        seen = {one.label for one in each}
        for label in row["labels"] or ["none"]:
            count = labels.setdefault(label, {"texts": 0, "seen": 0, "any": 0})
            count["texts"] += 1
            count["seen"] += label in seen
            count["any"] += bool(seen)
    groups = {
        "English: seen": [at for at, row in enumerate(rows) if row["labels"] and row["lang"] == "en"],
        "English near misses: alarms": [at for at, row in enumerate(rows) if not row["labels"] and row["lang"] == "en"],
        "de fr es zh: seen": [at for at, row in enumerate(rows) if row["labels"] and row["lang"] != "en"],
        "de fr es zh near misses: alarms": [
            at for at, row in enumerate(rows) if not row["labels"] and row["lang"] != "en"
        ],
    }
    plain = made["topics"].find([one.text for one in ordinary])
    points = []
    for confidence in CONFIDENCES:
        kept = systems.at_least(found, confidence)
        point = {name: sum(bool(kept[at]) for at in group) / len(group) for name, group in groups.items() if group}
        point["ordinary prompts: alarms"] = sum(map(bool, systems.at_least(plain, confidence))) / len(plain)
        points.append({"confidence": confidence, "shares": point})
    return {"labels": labels, "curve": points}


def speed(made: dict[str, Any], sets: dict[str, list[Document]], quick: bool) -> list[dict[str, Any]]:
    """CPU time of one look at a prompt, by size and kind of text."""
    rows = []
    kinds = {
        "user prompts": [one.text for one in sets["negatives_en"] if "mt-bench" in one.source],
        "code": [one.text for one in sets["negatives_en"] if "mt-bench" not in one.source],
        "PII-dense": [one.text for one in sets["en_presidio_dev"]],
        "Chinese": [one.text for one in sets["zh_synth"]],
    }
    for size in SIZES:
        count = max(10, (40 if quick else 200) * 2048 // size)
        for kind, texts in kinds.items():
            prompts = list(systems.pieces(texts, size, count))
            for name, system in made.items():
                some = prompts if name == "patterns" else prompts[: max(5, count // 5)]
                times = sorted(system.cpu_us(some, 3 if quick else 7))
                row = {"size": size, "kind": kind, "system": name, "prompts": len(some)}
                row |= {"p50_us": times[len(times) // 2], "p95_us": times[min(len(times) - 1, len(times) * 95 // 100)]}
                rows.append(row)
                say(f"{kind}, {size // 1024} KB: {name} {row['p50_us']:.0f} µs, p95 {row['p95_us']:.0f} µs of CPU")
    return rows


def main() -> int:
    """Exit code 0: measured; 1: a system that was asked for could not be started."""
    options = parse_options(sys.argv[1:])
    began_s, load_before = time.monotonic(), os.getloadavg()
    sets = {name: read(options.data / f"{name}.jsonl", options.quick) for name in SETS}
    made, missing = build(options.systems)
    result: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "is_quick": options.quick,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load_average_before": load_before,
        "versions": {name: system.version for name, system in made.items()},
        "missing": missing,
        "texts": {name: len(sets[name]) for name in options.sets},
    }
    if not options.no_quality:
        result |= quality(made, {name: sets[name] for name in options.sets}, options.misses)
        result["topics"] = topics(made, sets["negatives_en"], options.quick)
    if not options.no_speed:
        result["speed"] = speed(made, sets, options.quick)
    result |= {"load_average_after": os.getloadavg(), "took_s": time.monotonic() - began_s}
    result["goals"] = reporting.goals(result)
    is_whole = set(options.systems) == set(ALL) and set(options.sets) == set(SETS)
    write(options, result, is_whole and not (options.no_speed or options.no_quality))
    for system in made.values():
        if isinstance(system, systems.Presidio):
            system.close()
    return 1 if missing else 0


def write(options: argparse.Namespace, result: dict[str, Any], is_whole: bool) -> None:
    """Writes the JSON and Markdown files and prints the page."""
    folder: Path = options.out or (RESULTS if is_whole and not options.quick else systems.WORK)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"privacy-{result['date']}" + ("-quick" if options.quick else "") + ("" if is_whole else "-partial")
    text = reporting.page(result)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (folder / f"{name}.md").write_text(text)
    print(text)
    say(f"written: {folder / name}.json and .md")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    sys.exit(main())
