"""What a site takes, what it remembers, which variant it chooses; what is known of one that is silent."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.fleet.made import NEW, OTHER, Wished, report, told

from ecotone.fleet.accepting import SKIPS, Here, Skip, Take, accept
from ecotone.fleet.memory import FAILURES_MAX, Failure, Memory, remember
from ecotone.fleet.silence import Health, health
from ecotone.fleet.variants import Variant, choose, predicted_tok_s
from ecotone.values.fleet import MachineReport

BIG = Variant(version="2+q8", sha256=NEW, bytes=8_000, decode_tok_s_min=5)
SMALL = Variant(version="2+q4", sha256=OTHER, bytes=4_000, decode_tok_s_min=5)


def failure(sha256: str = NEW, attempt: int = 0) -> Failure:
    return Failure(name="ward", version="2", sha256=sha256, attempt=attempt, why="errors")


def test_what_failed_is_refused_until_a_higher_attempt() -> None:
    memory = remember(Memory(), failure(attempt=2))
    assert memory.failed(NEW, 2) == memory.failed(NEW, 1) == failure(attempt=2)
    assert memory.failed(NEW, 3) is None
    assert memory.failed(OTHER, 0) is None


def test_of_one_version_the_highest_attempt_is_remembered() -> None:
    memory = remember(remember(Memory(), failure(attempt=2)), failure(attempt=1))
    assert memory.failures == (failure(attempt=2),)
    assert remember(memory, failure(attempt=4)).failures == (failure(attempt=4),)


def test_the_memory_is_bounded_and_the_oldest_goes() -> None:
    memory = Memory()
    for number in range(FAILURES_MAX + 2):
        memory = remember(memory, failure(sha256=f"{number:064x}"))
    assert len(memory.failures) == FAILURES_MAX
    assert memory.failed(f"{1:064x}", 0) is None
    assert memory.failed(f"{2:064x}", 0) is not None
    assert msgspec.json.decode(msgspec.json.encode(memory), type=Memory) == memory


@pytest.mark.parametrize(
    ("here", "verdict"),
    [
        (Here(), Take()),
        (Here(generation=7), Take()),
        (Here(generation=8), Skip("older")),
        (Here(pinned=("ward@1",)), Skip("pinned")),
        (Here(pinned=("ward@2", "other@1")), Take()),
        (Here(pinned=("other@1",)), Take()),
        (Here(memory=Memory(failures=(failure(),))), Skip("failed_before")),
        (Here(running=(NEW,)), Skip("running")),
    ],
)
def test_what_a_site_takes(here: Here, verdict: object) -> None:
    assert accept(Wished(), 7, here) == verdict


def test_a_pin_without_a_variant_holds_all_of_them() -> None:
    wish = Wished(version="2+q4")
    assert accept(wish, 1, Here(pinned=("ward@2",))) == Take()
    assert accept(wish, 1, Here(pinned=("ward@2+q8",))) == Skip("pinned")
    assert set(SKIPS) == {"older", "pinned", "failed_before", "running"}


@pytest.mark.parametrize(
    ("machine", "measured", "chosen", "why"),
    [
        (MachineReport(), {}, BIG, ()),
        (MachineReport(memory_bytes=9_000, read_bytes_s=50_000), {}, BIG, ()),
        (MachineReport(memory_bytes=9_000, read_bytes_s=30_000), {}, SMALL, (("2+q8", "speed"),)),
        (MachineReport(memory_bytes=90_000, models_bytes=7_000), {}, SMALL, (("2+q8", "memory"),)),
        (MachineReport(memory_bytes=100), {}, None, (("2+q8", "memory"), ("2+q4", "memory"))),
        (MachineReport(read_bytes_s=30_000), {NEW: 5.5}, BIG, ()),
        (MachineReport(read_bytes_s=90_000), {NEW: 4.5}, SMALL, (("2+q8", "speed"),)),
        (MachineReport(read_bytes_s=10_000), {}, None, (("2+q8", "speed"), ("2+q4", "speed"))),
    ],
)
def test_the_best_variant_that_the_machine_runs_fast_enough(
    machine: MachineReport, measured: dict[str, float], chosen: Variant | None, why: object
) -> None:
    found = choose([BIG, SMALL], machine, measured)
    assert (found.variant, found.why) == (chosen, why)


def test_a_variant_that_needs_more_than_its_weights_or_another_processor() -> None:
    needy = msgspec.structs.replace(BIG, memory_bytes=20_000, cpu=("avx512f",))
    assert choose([needy], MachineReport(memory_bytes=10_000), {}).why == (("2+q8", "memory"),)
    assert choose([needy], MachineReport(memory_bytes=30_000), {}, ("avx2",)).why == (("2+q8", "cpu"),)
    assert choose([needy], MachineReport(memory_bytes=30_000), {}, ("avx2", "avx512f")).variant == needy
    assert predicted_tok_s(msgspec.structs.replace(BIG, bytes=0), MachineReport(read_bytes_s=1)) is None


def test_a_silent_site_is_unknown_since_it_was_heard_and_nothing_else() -> None:
    fine = report()
    assert health(None, 5.0, 1e9) == Health("unknown", 0.0)
    assert health(fine, 1000.0, 1000.0 + 3600) == Health("fine", 1000.0)
    assert health(fine, 1000.0, 1000.0 + 3601) == Health("unknown", 1000.0)
    assert health(fine, 1000.0, 900.0) == Health("fine", 1000.0), "the hub's clock went back"


def test_a_site_in_trouble_says_why_each_once() -> None:
    bad = report(told("failed", why="errors"), told("refused", why="speed"), told("good"), trouble=("disk", "disk"))
    assert health(bad, 1.0, 2.0) == Health("trouble", 1.0, ("disk", "failed.errors", "refused.speed"))
    assert health(bad, 1.0, 1e6).state == "unknown"
