"""One entry is proved without the rest of the ledger."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.unit.store.made import DAY_MS, OTHER, SIGNER, made
from tests.unit.store.test_retention import pruned

from ecotone.store import Trust, checked, proofs
from ecotone.store.inclusion import Proof

KEYED = Trust((SIGNER.public,))


def test_every_entry_is_proved(tmp_path: Path) -> None:
    lines = made(tmp_path, 22)
    found, report = proofs(tmp_path, lambda _text, _link: True, KEYED)
    assert report.is_whole
    assert [proof.entry.encode() + b"\n" for proof in found] == lines
    for proof in msgspec.json.decode(msgspec.json.encode(found), type=list[Proof]):
        assert checked(proof, [SIGNER.pem()]) == ""
        assert checked(proof, [OTHER.pem()]) == "the checkpoint is not signed by the given key"


def test_it_works_after_retention(tmp_path: Path) -> None:
    lines = made(tmp_path, 22)
    pruned(tmp_path, 2)
    found, _ = proofs(tmp_path, lambda _text, link: link.at_ms >= 3 * DAY_MS, KEYED)
    assert [proof.index for proof in found] == list(range(12, 22))
    assert all(checked(proof, [SIGNER.public]) == "" for proof in found)
    assert found[0].entry.encode() + b"\n" == lines[12]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": "x"}, "not a proof"),
        ({"checkpoint": "x"}, "not a proof"),
        ({"entry": "x"}, "not a proof"),
        ({"index": 4}, "the entry was changed"),
        ({"path": ("x",)}, "does not lead"),
        ({"path": ()}, "does not lead"),
    ],
)
def test_a_changed_proof_does_not_hold(tmp_path: Path, change: dict[str, object], why: str) -> None:
    made(tmp_path, 9)
    (proof,), _ = proofs(tmp_path, lambda _text, link: link.seq == 5, KEYED)
    assert why in checked(msgspec.structs.replace(proof, **change), [SIGNER.public])
    entry = proof.entry.replace('"big"', '"bog"')
    assert checked(msgspec.structs.replace(proof, entry=entry), [SIGNER.public]) == "the entry was changed"


def test_there_is_no_proof_without_a_whole_ledger_and_a_checkpoint(tmp_path: Path) -> None:
    made(tmp_path, 2, every=100)
    (tmp_path / "checkpoints").unlink()
    assert proofs(tmp_path, lambda _text, _link: True, KEYED)[0] == []
    made(tmp_path, 9)
    path = tmp_path / f"{0:016d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"big"', b'"bog"'))
    found, report = proofs(tmp_path, lambda _text, _link: True, KEYED)
    assert found == []
    assert not report.is_whole
