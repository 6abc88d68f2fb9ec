"""What left, and how far that is proved."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.store.made import DAY_MS, OTHER, SIGNER, made

from ecotone.store import Ledger, LedgerLimits, Question, Trust, answered, await_checkpoint, chain
from ecotone.values import Permit

KEYED = Trust((SIGNER.public,))


def counted(lines: list[bytes], **asked: object) -> int:
    """The plain way to the same figure."""
    rows = [msgspec.json.decode(text) for text in lines]
    return sum(
        row["kind"] == "egress"
        and asked.get("label", "person") in row["body"]["labels"]
        and ("to" not in asked or asked["to"] in (row["body"]["target"], row["body"]["region"]))
        and asked.get("since_ms", 0) <= row["at_ms"] < asked.get("until_ms", 1 << 60)
        for row in rows
    )


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"label": "contact"},
        {"label": "medical"},
        {"to": "eu"},
        {"to": "big"},
        {"to": "nowhere"},
        {"label": "contact", "to": "eu", "since_ms": DAY_MS, "until_ms": 3 * DAY_MS + 13_000},
    ],
)
def test_what_matches_is_counted_and_proved(tmp_path: Path, asked: dict[str, object]) -> None:
    lines = made(tmp_path, 22)
    answer = answered(tmp_path, Question(**asked), KEYED)  # type: ignore[arg-type]
    assert answer.count == counted(lines, **asked)
    assert answer.body_bytes == 100 * answer.count
    assert (answer.is_complete, answer.is_signed, answer.uncovered, answer.gaps) == (True, True, 0, [])
    for counts in (answer.by_target, answer.by_region, answer.by_transform):
        assert sum(counts.values()) == answer.count
    assert answer.report is not None
    assert answer.report.entries == 22


def test_the_figures_say_where_and_how(tmp_path: Path) -> None:
    made(tmp_path, 8, per_segment=100, every=100)
    answer = answered(tmp_path, Question(), KEYED)
    assert answer.by_target == {"small": 4, "big": 4}
    assert answer.by_region == {"-": 3, "eu": 5}
    assert answer.by_transform == {"none": 4, "pseudonymise": 4}
    person, contact = answer.by_label["person"], answer.by_label["contact"]
    assert (person.egresses, person.replaced, person.values) == (8, 4, 8)
    assert (contact.egresses, contact.replaced, contact.values) == (4, 0, 0)
    assert (answer.first_at_ms, answer.last_at_ms) == (0, 7000)


def appended(folder: Path, kind: bytes, body: bytes) -> None:
    """One more entry, which no checkpoint covers."""
    path = sorted(folder.glob("*.jsonl"))[-1]
    last = msgspec.json.decode(path.read_bytes().splitlines()[-1])
    text, _ = chain.line(last["seq"] + 1, last["at_ms"], kind, body, last["hash"].encode())
    path.write_bytes(path.read_bytes() + text)


def test_what_did_not_go_and_probes_are_told_apart(tmp_path: Path) -> None:
    made(tmp_path, 3)
    appended(tmp_path, b"voided", b'{"request":"req-9","target":"big","body_bytes":5,"labels":["person"]}')
    appended(tmp_path, b"egress", b'{"request":"probe","target":"big","body_bytes":0,"labels":[]}')
    answer = answered(tmp_path, Question(), KEYED)
    assert (answer.count, answer.voided, answer.probes) == (3, 1, 1)
    assert (answer.is_complete, answer.is_signed, answer.uncovered) == (True, False, 2)


def test_a_signature_need_not_reach_further_than_the_question(tmp_path: Path) -> None:
    made(tmp_path, 7)
    appended(tmp_path, b"placed", b"{}")
    assert answered(tmp_path, Question(), KEYED).is_signed is False
    assert answered(tmp_path, Question(until_ms=DAY_MS), KEYED).is_signed is True
    assert answered(tmp_path, Question(until_ms=DAY_MS), Trust()).is_signed is False
    bad = answered(tmp_path, Question(), Trust((OTHER.public,)))
    assert (bad.is_signed, bad.is_complete) == (False, False)


def test_gaps_are_named(tmp_path: Path) -> None:
    made(tmp_path, 9)
    paths = sorted(tmp_path.glob("*.jsonl"))
    answer = answered(paths[1:], Question(), KEYED)
    assert answer.gaps == ["the entries 0 to 3 are not among these files"]
    appended(tmp_path, b"egress", b"{}")
    assert "entry 9 is an egress" in answered(tmp_path, Question(), KEYED).gaps[0]
    paths[1].write_bytes(paths[1].read_bytes().replace(b'"big"', b'"bog"'))
    answer = answered(tmp_path, Question(), KEYED)
    assert answer.gaps[0].startswith("entry 5 (changed)")
    assert answer.is_complete is False


def test_it_waits_for_a_running_site_to_sign(tmp_path: Path) -> None:
    permit = Permit("req-1", "big", "https://cloud:443", "ab" * 32, "none", "rule", b"seal")
    limits = LedgerLimits(checkpoint_s=0.0, checkpoint_soon_s=0.01)

    async def run() -> None:
        ledger = Ledger.open(tmp_path, "s", limits=limits)
        await ledger.permit(permit, body_bytes=1, labels=(), region=None, replaced={"person": 3})
        as_of = await asyncio.to_thread(await_checkpoint, tmp_path / "ledger", 20.0)
        assert as_of is not None
        await ledger.permit(permit, body_bytes=1, labels=(), region=None)
        trust = Trust(((tmp_path / "site.pub").read_bytes(),))
        answer = answered(tmp_path / "ledger", Question(), trust, as_of)
        assert (answer.count, answer.is_signed) == (1, True)
        assert answer.by_label["person"].values == 3
        ledger.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    made(tmp_path, 4, every=100)
    assert await_checkpoint(tmp_path, 0.0) == 4
    appended(tmp_path, b"placed", b"{}")
    assert not await_checkpoint(tmp_path, 0.0)
    (tmp_path / "checkpoints").unlink()
    assert not await_checkpoint(tmp_path, 0.15)
    for path in tmp_path.iterdir():
        path.unlink()
    assert await_checkpoint(tmp_path, 1.0) is None


def test_names_that_callers_make_up_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.store.evidence._WORDS_MAX", 1)
    made(tmp_path, 8, per_segment=100, every=100)
    answer = answered(tmp_path, Question(), KEYED)
    assert answer.by_target == {"small": 4, "…": 4}
    assert sum(carried.egresses for carried in answer.by_label.values()) == 12
    assert len(answer.by_label) == 2
