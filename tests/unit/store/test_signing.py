"""The site's key and its signatures."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from tests.unit.store.made import OTHER, SIGNER

from ecotone.store import notes, signing
from ecotone.store.disk import Disk
from ecotone.store.signing import Signer, Verifier, site_key, verifier_key
from ecotone.values import ConfigError


def test_a_key_is_made_once_and_for_its_user_only(tmp_path: Path) -> None:
    first, second = (site_key(tmp_path, Disk(), "clinic-7") for _ in range(2))
    assert first.public == second.public
    assert (tmp_path / "site.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "site.pub").read_bytes() == first.pem()
    (tmp_path / "site.pub").unlink()
    site_key(tmp_path, Disk(), "clinic-7")
    assert (tmp_path / "site.pub").read_bytes() == first.pem()


def test_a_damaged_key_is_told_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "site.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nplanted\n")
    with pytest.raises(ConfigError, match=r"store\.site_key") as caught:
        site_key(tmp_path, Disk(), "s")
    assert "planted" not in str(caught.value)


def test_a_key_may_come_from_elsewhere(tmp_path: Path) -> None:
    signer = site_key(tmp_path, Disk(), "clinic-7", b"\x01" * 32)
    assert signer.public == SIGNER.public
    assert [path.name for path in tmp_path.iterdir()] == ["site.pub"]
    with pytest.raises(ConfigError, match=r"the given site key"):
        site_key(tmp_path, Disk(), "clinic-7", b"short")


def test_only_ed25519_will_do(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ConfigError, match=r"store\.site_key"):
        Signer(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "s")
    for bad in (
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        b"",
        b"a+b",
        b"x+00000000+AAAA",
        verifier_key("s", SIGNER.public).replace("s/", "t/").encode(),
    ):
        with pytest.raises(ConfigError, match=r"store\.public_key"):
            Verifier([bad])


@pytest.mark.parametrize("key", [SIGNER.public, SIGNER.pem(), verifier_key("clinic-7", SIGNER.pem()).encode() + b"\n"])
def test_a_note_is_checked_with_any_form_of_the_key(key: bytes) -> None:
    note = notes.parse(SIGNER.note(7, b"r" * 32))
    assert note is not None
    assert Verifier([key]).is_signed(note)
    assert Verifier([OTHER.public, key]).is_signed(note)
    assert not Verifier([OTHER.public]).is_signed(note)
    assert not Verifier([]).is_signed(note)


def test_a_note_says_only_what_was_signed() -> None:
    raw, verifier = SIGNER.note(7, b"r" * 32), Verifier([SIGNER.public])
    for bent in (
        raw.replace(b"\n7\n", b"\n8\n"),
        raw.replace(b"clinic-7/", b"clinic-8/", 1),
        raw.replace(b"clinic-7/", b"clinic-8/"),
        SIGNER.note(7, b"r" * 32, about="#pruned"),
        OTHER.note(7, b"r" * 32).replace(OTHER.origin.encode(), SIGNER.origin.encode()),
    ):
        note = notes.parse(bent)
        assert note is not None
        assert not verifier.is_signed(note)
    pruned = notes.parse(SIGNER.note(7, b"r" * 32, about="#pruned"))
    assert pruned is not None
    assert verifier.is_signed(pruned, "#pruned")


def test_a_renamed_site_keeps_its_key() -> None:
    note = notes.parse(Signer(b"\x01" * 32, "Klinik Süd +1\n").note(1, b"r" * 32))
    assert note is not None
    assert note.origin == f"Klinik_S_d_1_/{signing.fingerprint(SIGNER.public)}"
    assert Verifier([SIGNER.public]).is_signed(note)
    assert Signer(b"\x01" * 32, "").origin.startswith("site/")


def test_the_key_id_and_the_signature_are_those_of_c2sp_and_openssl(tmp_path: Path) -> None:
    name, key_id, blob = verifier_key("clinic-7", SIGNER.pem()).split("+", 2)
    public = base64.b64decode(blob)
    assert public == b"\x01" + SIGNER.public
    assert hashlib.sha256(name.encode() + b"\n" + public).hexdigest()[:8] == key_id
    raw = SIGNER.note(7, b"r" * 32)
    text, _, rest = raw.partition(b"\n\n")
    signature = base64.b64decode(rest.split()[2])
    assert signature[:4].hex() == key_id
    (tmp_path / "text").write_bytes(text + b"\n")
    (tmp_path / "sig").write_bytes(signature[4:])
    (tmp_path / "pub").write_bytes(SIGNER.pem())
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in", "text", "-sigfile", "sig"]
    try:
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    assert told.returncode == 0, told.stderr
