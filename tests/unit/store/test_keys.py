"""Keys at rest, and who presents one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ecotone.store.disk import Disk
from ecotone.store.keys import KeyRing, digest_key, new_key
from ecotone.values import ConfigError


def test_a_new_key_is_known_by_its_digest_alone() -> None:
    secret, digest = new_key("research")
    assert secret.startswith("eco_research_")
    assert digest == "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
    ring = KeyRing({"research": digest, "ward": "a-plain-secret"})
    assert ring.check(secret) == "research"
    assert ring.check("a-plain-secret") == "ward"
    assert len(ring) == 2
    assert secret not in repr(vars(KeyRing)) + repr(ring._names)


@pytest.mark.parametrize("presented", ["", "eco_", "a-plain-secret ", "sha256:" + "0" * 64, "\udcff", "é" * 1000])
def test_nothing_else_opens(presented: str) -> None:
    assert KeyRing({"ward": "a-plain-secret"}).check(presented) is None


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"a": ""}, "keys.empty"),
        ({"a": "  "}, "keys.empty"),
        ({"a": "sha256:abc"}, "keys.digest"),
        ({"a": "sha256:" + "A" * 64}, "keys.digest"),
        ({"a": "same", "b": "same"}, "keys.twice"),
    ],
)
def test_a_bad_ring_is_refused_by_name_and_not_by_secret(keys: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyRing(keys)
    assert caught.value.code == code
    assert "same" not in caught.value.message.replace("the same key", "")


def test_a_name_that_no_header_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keys\.name"):
        new_key("two words")


def test_the_digest_key_stays_the_same_and_private(tmp_path: Path) -> None:
    key = digest_key(tmp_path, Disk())
    assert len(key) == 32
    assert digest_key(tmp_path, Disk()) == key
    assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "ledger.key").write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"store\.key"):
        digest_key(tmp_path, Disk())
