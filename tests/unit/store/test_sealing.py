"""What lies on the disk encrypted."""

from __future__ import annotations

import base64
import sys
import types
from pathlib import Path

import pytest

from ecotone.store.sealing import KEY, Sealer, UnsealError, keep_key, key
from ecotone.values import ConfigError

MASTER = bytes(range(32))


def test_only_the_same_key_and_place_open_a_piece() -> None:
    sealer = Sealer(MASTER)
    sealed = sealer.seal(b"words", "jobs", "job-1", "ask")
    assert b"words" not in sealed
    assert sealer.unseal(sealed, "jobs", "job-1", "ask") == b"words"
    assert Sealer(MASTER).unseal(sealed, "jobs", "job-1", "ask") == b"words"
    assert sealer.seal(b"words", "jobs", "job-1", "ask") != sealed
    for other, piece, about in (
        (sealer, sealed, ("jobs", "job-2", "ask")),
        (sealer, sealed, ("jobs", "job-1", "answer")),
        (Sealer(bytes(32)), sealed, ("jobs", "job-1", "ask")),
        (sealer, sealed[:-1] + bytes([sealed[-1] ^ 1]), ("jobs", "job-1", "ask")),
        (sealer, sealed[:20], ("jobs", "job-1", "ask")),
        (sealer, b"", ("jobs", "job-1", "ask")),
    ):
        with pytest.raises(UnsealError):
            other.unseal(piece, *about)


def test_places_are_not_mixed_up_by_their_words() -> None:
    sealer = Sealer(MASTER)
    with pytest.raises(UnsealError):
        sealer.unseal(sealer.seal(b"x", "ab", "c"), "a", "bc")


def test_digests_say_only_whether_words_are_equal() -> None:
    sealer = Sealer(MASTER)
    assert sealer.digest("a") == Sealer(MASTER).digest("a") != sealer.digest("b")
    assert sealer.digest("a") != Sealer(bytes(32)).digest("a")
    assert len(sealer.digest("\ud800")) == 16


def test_a_key_is_made_once_for_its_user_only(tmp_path: Path) -> None:
    made = key(tmp_path, None)
    assert len(made) == 32
    assert key(tmp_path, None) == made == (tmp_path / KEY).read_bytes()
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert not keep_key(tmp_path, MASTER)
    assert key(tmp_path, None) == made


def test_a_missing_key_is_not_made_where_it_may_not_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        key(tmp_path, None, may_make=False)
    assert keep_key(tmp_path, MASTER)
    assert key(tmp_path, None, may_make=False) == MASTER


@pytest.mark.parametrize(
    "given",
    [MASTER, MASTER.hex().encode(), base64.b64encode(MASTER) + b"\n", base64.urlsafe_b64encode(bytes(31) + b"\xff")],
)
def test_a_key_may_be_given_in_several_forms(tmp_path: Path, given: bytes) -> None:
    assert len(key(tmp_path, given)) == 32
    assert not (tmp_path / KEY).exists()


@pytest.mark.parametrize("given", [b"", b"short", b"g" * 64, b"\xff" * 64, base64.b64encode(bytes(16)), b"not base64!"])
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, given: bytes) -> None:
    with pytest.raises(ConfigError) as told:
        key(tmp_path, given)
    assert told.value.code == "store.key"
    assert "openssl rand" in told.value.message
    assert len(given) < 3 or given.decode("latin-1") not in told.value.message


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEY).write_bytes(b"x" * 31)
    with pytest.raises(ConfigError, match="restore it"):
        key(tmp_path, None)


class KeyringError(Exception):
    pass


def keyring(monkeypatch: pytest.MonkeyPatch, kept: dict[tuple[str, str], str], *, is_locked: bool = False) -> None:
    """A system's keyring."""

    def get(service: str, name: str) -> str | None:
        if is_locked:
            raise KeyringError("the user said no")
        return kept.get((service, name))

    made = types.ModuleType("keyring")
    made.get_password = get
    made.set_password = lambda service, name, secret: kept.update({(service, name): secret})
    made.errors = types.SimpleNamespace(KeyringError=KeyringError)
    monkeypatch.setitem(sys.modules, "keyring", made)


def test_a_key_may_lie_in_the_keyring_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}
    keyring(monkeypatch, kept)
    with pytest.raises(ConfigError, match="has no key"):
        key(tmp_path, b"keyring:ecotone/site-7", may_make=False)
    made = key(tmp_path, b"keyring:ecotone/site-7")
    assert list(kept) == [("ecotone", "site-7")]
    assert key(tmp_path, b"keyring:ecotone/site-7") == made
    assert key(tmp_path, b"keyring:ecotone/an/other") != made
    assert kept["ecotone", "an/other"], "the name may hold a slash, the service not"
    assert not (tmp_path / KEY).exists()


def test_a_keyring_that_is_locked_or_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring(monkeypatch, {}, is_locked=True)
    with pytest.raises(ConfigError, match="unlock it") as told:
        key(tmp_path, b"keyring:ecotone/site-7")
    assert told.value.code == "store.keyring"
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="pip install keyring"):
        key(tmp_path, b"keyring:ecotone/site-7")


def test_a_keyring_with_something_else_at_this_place_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring(monkeypatch, {("ecotone", "site-7"): "a word"})
    with pytest.raises(ConfigError, match=r"the system's keyring: (not a key|. bytes long)") as told:
        key(tmp_path, b"keyring:ecotone/site-7")
    assert "a word" not in told.value.message
