"""A command takes the variant that this machine runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from ecotone.agent import trials
from ecotone.delivery import choosing
from ecotone.delivery.choosing import Offered, one_of_each
from ecotone.engines.machine import Machine
from ecotone.transfer import Manifest, encode
from ecotone.transfer.manifest import Part, Requires
from ecotone.trust import Assigned
from ecotone.trust.agreeing import Asset
from ecotone.values import TrustError

GIB = 1 << 30


def offered(
    version: str, size: int, *, name: str = "m", tok_s: float = 0.0, needs: int = 0
) -> tuple[Assigned, Manifest]:
    part = Part(path="m.gguf", bytes=size, blake3="0" * 64, sha256="0" * 64, format="gguf", segments=())
    manifest = Manifest(
        name=name, version=version, kind="model", licence="MIT", packs=(), parts=(part,),
        requires=Requires(memory_bytes=needs),
    )  # fmt: skip
    raw = encode(manifest)
    asset = Asset(
        name=name, version=version, kind="model", sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw),
        decode_tok_s_min=tok_s,
    )  # fmt: skip
    return Assigned(asset, raw), manifest


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Machine(cores=2, memory_bytes=10 * GIB, cpu="x", flags=("avx2",), arch="x86_64")
    monkeypatch.setattr(choosing, "machine", lambda: made)


def chosen(store: Path, *some: Offered) -> list[str]:
    return [assigned.asset.version for assigned, _ in one_of_each(some, store)]


def test_the_first_that_fits_of_each_name(tmp_path: Path) -> None:
    both = [offered("1+q8", 8 * GIB), offered("1+q4", 4 * GIB)]
    assert chosen(tmp_path, *both, offered("7", 1, name="n")) == ["1+q4", "7"]
    assert chosen(tmp_path, offered("1+q8", 5 * GIB), offered("1+q4", 4 * GIB)) == ["1+q8"]
    assert chosen(tmp_path, offered("1+q8", GIB, needs=20 * GIB), offered("1+q4", GIB)) == ["1+q4"]


def test_one_alone_is_not_judged(tmp_path: Path) -> None:
    assert chosen(tmp_path, offered("1", 100 * GIB)) == ["1"]


def test_what_was_measured_here_counts(tmp_path: Path) -> None:
    both = [offered("1+q8", 2 * GIB, tok_s=10.0), offered("1+q4", GIB, tok_s=10.0)]
    trials.write(tmp_path, msgspec.structs.replace(trials.Kept(), read_bytes_s=15.0 * GIB))
    assert chosen(tmp_path, *both) == ["1+q4"]
    trials.write(tmp_path, trials.Kept(tok_s={both[0][0].asset.sha256: 11.0}))
    assert chosen(tmp_path, *both) == ["1+q8"]
    trials.file(tmp_path).write_text("nonsense")
    assert chosen(tmp_path, *both) == ["1+q8"]


def test_none_that_fits_is_told_with_what_each_lacks(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"1\+q8 \(memory\), 1\+q4 \(memory\)") as caught:
        one_of_each([offered("1+q8", 80 * GIB), offered("1+q4", 40 * GIB)], tmp_path)
    assert caught.value.code == "delivery.variant"
