"""What is done with a site, step by step, and what each step showed."""

from __future__ import annotations

import random
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud import PATH, Ahead, Record
from driving import Drive, Sample, Standing, ask, standing
from site_process import BenchError, Site, wait_for
from tasks import MODEL, Item

from ecotone.checking import auto
from ecotone.values import Endpoint
from ecotone.values.quality import Question, Reply

EDGE_ALONE = "edge-alone"
"""A second model name with the edge target only: what a site without a cloud would have said."""

FIRST_PART = 150
FOLLOW = 60
AFTER_CHANGE = 20
SAVED_S = 90.0
CHANGE_S = 60.0
DRAWS = 2_000

Say = Callable[[str], None]


@dataclass
class Shown:
    """What one site showed.

    Attributes:
        certified_after: Requests of callers until the first certificate; 0 = there was none.
        survived: What a restart kept, by kind of end: (before, after).
        held: Requests of the held-out part, with what cloud and edge alone say to each.
        change: What happened when the edge's model was replaced.
        steps: The ledger's steps.
        paid_usd: What comparing cost during the held-out part.
        tools: What the commands that read the ledger left with, and what `ecotone replay` said.
    """

    certified_after: int = 0
    learn_s: float = 0.0
    reached: Standing | None = None
    last: Standing | None = None
    survived: dict[str, tuple[str, str]] = field(default_factory=dict)
    held: list[Judged] = field(default_factory=list)
    change: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    paid_usd: float = 0.0
    tools: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """One held-out request.

    Attributes:
        cloud, edge: What each says to it.
        gap: The edge's loss against the cloud by the site's own checker; the promise is in this measure.
        cloud_usd: What the cloud's answer costs.
    """

    sample: Sample
    cloud: str
    edge: str
    gap: float
    cloud_usd: float

    @property
    def is_edge(self) -> bool:
        """Whether the site answered it at the edge."""
        return self.sample.place == "edge"

    @property
    def loss(self) -> float:
        """What the caller lost against the cloud, by the checker."""
        return self.gap if self.is_edge else 0.0

    def right(self) -> tuple[bool, bool, bool]:
        """Whether the site's, the cloud's and the edge's answer is the right one."""
        item = self.sample.item
        return item.is_right(self.sample.said), item.is_right(self.cloud), item.is_right(self.edge)


def learn(site: Site, traffic: Ahead, count: int, within_s: float, say: Say, *, restarts: bool) -> Shown:
    """Sends traffic until a certificate stands, or there was enough of it; with a restart in the middle."""
    shown = Shown()
    began_s = time.monotonic()
    drive = Drive(site, traffic)
    if restarts:
        before = drive.run(min(FIRST_PART, count), within_s=within_s)
        site.stop(signal.SIGTERM)
        site.start()
        shown.survived["SIGTERM, while it learns"] = _evidence(before), _evidence(standing(site))
        say(f"SIGTERM and a new start: {_evidence(before)} -> {_evidence(standing(site))}")
    left_s = within_s - (time.monotonic() - began_s)
    now = drive.run(count - len(drive.samples), enough=lambda now: now.number > 0, within_s=left_s)
    shown.learn_s = time.monotonic() - began_s
    shown.reached = now
    shown.certified_after = len(drive.samples) if now.number else 0
    say(f"after {len(drive.samples)} requests, {shown.learn_s:.0f} s: {_promise(now)}; {_evidence(now)}")
    if now.number and restarts:
        _killed(site, traffic, shown, say)
    return shown


def _killed(site: Site, traffic: Ahead, shown: Shown, say: Say) -> None:
    """Once what stands is on disk, the site is killed under load and started anew."""
    saved_s = time.time()
    wait_for(lambda: _last_saved_s(site.store) > saved_s, "what was learned is saved", SAVED_S)
    drive = Drive(site, traffic)
    before = drive.run(FOLLOW, within_s=SAVED_S)
    site.stop(signal.SIGKILL)
    site.start()
    after = standing(site)
    shown.survived["SIGKILL, with a certificate"] = _promise(before), _promise(after)
    say(f"SIGKILL and a new start: {_promise(before)} -> {_promise(after)}")


def _last_saved_s(store: Path) -> float:
    return max((file.stat().st_mtime for file in store.rglob("lessons-*")), default=0.0)


def _evidence(now: Standing) -> str:
    return f"{now.learned} pairs learned, {now.certifying} to certify, {now.missing} missing"


def _promise(now: Standing) -> str:
    if now.certificate is None:
        needed = "" if now.needed is None else f", about {now.needed} more pairs needed"
        return f"rung {now.rung}, no certificate {now.suspended}{needed}"
    shown = now.certificate
    return (
        f"rung {now.rung}, certificate {shown['number']}: {shown['edge_share']:.0%} at the edge, loss "
        f"{shown['loss']:.3f} (at most {shown['loss_bound']:.3f}) on {shown['pairs']:.0f} pairs"
    )


def hold_out(site: Site, record: Record, model_port: int, traffic: Ahead, count: int, within_s: float) -> list[Judged]:
    """Fresh items through the site; then the same ones, all in the cloud and all at the edge."""
    drive = Drive(site, traffic)
    drive.run(count, within_s=within_s)
    return [_judged(site, record, model_port, sample) for sample in drive.samples]


def _judged(site: Site, record: Record, model_port: int, sample: Sample) -> Judged:
    item = sample.item
    answer = record.answer(model_port, PATH, item.body())
    cloud = answer["choices"][0]["text"]
    edge = sample.said
    if sample.place != "edge":
        edge = ask(site, item, model=EDGE_ALONE).said
    usage = answer["usage"]
    usd = (
        usage["prompt_tokens"] * PRICE["input_usd_per_mtok"] + usage["completion_tokens"] * PRICE["output_usd_per_mtok"]
    )
    return Judged(sample, cloud, edge, _gap(item, edge, cloud), usd / 1e6)


PRICE: Mapping[str, float] = {"input_usd_per_mtok": 0.25, "output_usd_per_mtok": 2.0}
"""As of a small model in the cloud; only ratios are reported of it."""


def _gap(item: Item, edge: str, cloud: str) -> float:
    """As the site's own checker has it; 0 where it cannot tell (then no pair is made of it either)."""
    asked = Question(endpoint=Endpoint.COMPLETIONS, model=MODEL, asked=item.body()["prompt"])
    found = auto(asked, Reply(text=edge, finish="stop"), Reply(text=cloud, finish="stop"))
    return 0.0 if found is None else found.gap


def change_edge(site: Site, config: Mapping[str, Any], traffic: Ahead, say: Say) -> dict[str, Any]:
    """Another model behind the edge target, in the running site: the promise must go at once, and traffic with it."""
    before = standing(site)
    entries = len(site.ledger())
    began_s = time.monotonic()
    site.write(config)
    wait_for(lambda: standing(site).number == 0, "the promise is void", CHANGE_S)
    took_s = time.monotonic() - began_s
    drive = Drive(site, traffic)
    drive.run(AFTER_CHANGE, within_s=CHANGE_S * 4)
    steps = [entry["body"] for entry in site.ledger()[entries:] if entry["kind"] == "step"]
    places = [sample.place for sample in drive.samples]
    say(
        f"another edge model: void {took_s:.1f} s after the file was written; of {len(places)} requests then "
        f"{places.count('cloud')} in the cloud; steps {[(step['what'], step.get('why', '')) for step in steps]}"
    )
    return {
        "before": _promise(before),
        "after": _promise(standing(site)),
        "void_after_s": took_s,
        "requests": len(places),
        "cloud": places.count("cloud"),
        "reasons": sorted({sample.reason for sample in drive.samples}),
        "steps": steps,
    }


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % bootstrap interval (percentiles, with fixed dice)."""
    if not values:
        return 0.0, 0.0, 0.0
    dice = random.Random(7)
    means = sorted(statistics.fmean(dice.choices(values, k=len(values))) for _ in range(DRAWS))
    return statistics.fmean(values), means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS) - 1]


def expect(held: Sequence[Judged]) -> None:
    """Raises:
    BenchError: nothing was measured.
    """
    if not held:
        raise BenchError("no held-out request was answered")
