"""What `ecotone hub send` does: sends files in pieces, compares what the hub made of them, and signs it here."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ecotone.cli.failures import UnreachableError
from ecotone.cli.hub_remote import Remote, exchange
from ecotone.cli.output import show_json
from ecotone.delivery import hub_keys
from ecotone.hub.publishing_signing import compare, next_signed
from ecotone.transfer import Requires, decode
from ecotone.values import ConfigError, RequestError, TrustError

PIECE_BYTES_MIN: Final = 64 << 10
PIECE_BYTES_MAX: Final = 8 << 20
PIECE_S: Final = 4.0
"""A piece is made so large that it takes about so long: what is cut off costs little."""
TRIES: Final = 8
POLL_S: Final = 0.5
ANNOUNCE_S: Final = 20.0
"""The hub announces within seconds what is written, if its online key is there."""
_READ_BYTES: Final = 1 << 20


class Sender:
    """One hub elsewhere."""

    def __init__(self, remote: Remote, say: Callable[[str], None]) -> None:
        """`say` tells a person how it goes."""
        self.remote: Final = remote
        self._say: Final = say
        self._piece = 4 * PIECE_BYTES_MIN

    def upload(self, path: Path) -> str:
        """All of a file is there; its upload's id. One that was begun before is gone on with.

        Raises:
            UnreachableError: The hub cannot be reached, after some tries.
        """
        size, sha256 = path.stat().st_size, _sha256(path)
        fields = {"file": path.name, "bytes": size, "sha256": sha256}
        begun = self.remote.get("/uploads")["uploads"]
        known = next((one for one in begun if all(one[key] == value for key, value in fields.items())), None)
        upload = known or self.remote.post("/uploads", fields)
        offset, failures = int(upload["offset"]), 0
        with path.open("rb") as content:
            while offset < size:
                try:
                    offset = self._append(upload["id"], offset, os.pread(content.fileno(), self._piece, offset))
                    failures = 0
                except UnreachableError:
                    failures += 1
                    if failures == TRIES:
                        raise
                    self._piece = max(PIECE_BYTES_MIN, self._piece // 4)
                    time.sleep(min(30.0, 0.25 * 2.0**failures))
                    offset = self._offset(upload["id"], offset)
                self._say(f"{path.name}: {offset} of {size} bytes")
        return str(upload["id"])

    def sign(self, publication: str, raw: bytes) -> dict[str, Any]:
        """Brings what was signed."""
        status, said = self._exchange("POST", f"/publications/{publication}/signed", raw, {})
        if status == 202:
            return dict(said)
        raise _error(status, said)

    def manifest(self, publication: str) -> bytes:
        """What the hub made of the files."""
        return _raw(self.remote.get(f"/publications/{publication}/manifest")["manifest"])

    def wait(self, publication: str, during: Sequence[str], most_s: float = float("inf")) -> dict[str, Any]:
        """The publication, once it is in none of these states any more, or after so many seconds."""
        until_s = time.monotonic() + most_s
        while True:
            said = self.remote.get(f"/publications/{publication}")
            if said["state"] not in during or time.monotonic() > until_s:
                return dict(said)
            time.sleep(POLL_S)

    def _append(self, upload: str, offset: int, piece: bytes) -> int:
        begun_s = time.monotonic()
        status, said = self._exchange("PATCH", f"/uploads/{upload}", piece, {"upload-offset": str(offset)})
        if status == 409:
            return self._offset(upload, offset)
        if status != 204:
            raise _error(status, said)
        took_s = time.monotonic() - begun_s
        grown = int(len(piece) * min(4.0, max(0.25, PIECE_S / max(took_s, 0.01))))
        self._piece = min(PIECE_BYTES_MAX, max(PIECE_BYTES_MIN, grown))
        return offset + len(piece)

    def _offset(self, upload: str, otherwise: int) -> int:
        try:
            mine = self.remote.get("/uploads")["uploads"]
        except UnreachableError:
            return otherwise
        return next((int(one["offset"]) for one in mine if one["id"] == upload), otherwise)

    def _exchange(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        told = {"content-type": "application/offset+octet-stream", **headers}
        if self.remote.key:
            told["authorization"] = f"Bearer {self.remote.key}"
        status, raw = exchange(method, f"{self.remote.url}/admin{path}", body, told)
        try:
            return status, msgspec.json.decode(raw) if raw else {}
        except msgspec.DecodeError:
            return status, {}


def send(url: str, paths: Sequence[Path], key: Path, given: Mapping[str, Any], *, is_json: bool) -> None:
    """All of it."""
    remote, signer = Remote.at(url), hub_keys.read(key)

    def say(text: str) -> None:
        click.echo(text, err=True)

    about, publisher = _about(given), str(given["publisher"])
    sender = Sender(remote, say)
    made = _begun(sender, about, publisher, paths)
    if made is None:
        uploads = [sender.upload(path) for path in paths]
        made = dict(remote.post("/publications", {"about": about, "publisher": publisher, "uploads": uploads}))
    say("the hub looks at the files and cuts them")
    made = sender.wait(made["id"], ("cutting",))
    if made["state"] == "refused":
        raise TrustError(made["why"], made["message"])
    manifest = sender.manifest(made["id"])
    compare(decode(manifest), {**about, **_as_manifest(about)}, paths, _reading)
    for number in range(TRIES):
        newest = _raw(remote.get(f"/publishers/{publisher}")["metadata"])
        try:
            sender.sign(made["id"], next_signed(newest, publisher, manifest, signer, time.time()))
            break
        except RequestError as error:
            if error.code != "hub.stale" or number + 1 == TRIES:
                raise
    sender.wait(made["id"], ("signed",))
    made = sender.wait(made["id"], ("written",), ANNOUNCE_S)
    if made["state"] == "unsigned":
        raise RequestError(made["why"], f"{made['message']}. Run the same command again", status=409)
    if made["state"] == "written":
        say("it is signed and waits for the online key: `ecotone hub sign` at the hub announces it")
    if is_json:
        show_json(made)
    else:
        click.echo(f"{made['name']} {made['version']} is {made['state']} at {remote.url}, published by {publisher}")


def _begun(sender: Sender, about: Mapping[str, Any], publisher: str, paths: Sequence[Path]) -> dict[str, Any] | None:
    """What the same command had begun with the same files before it was cut off; with other files it is given up."""
    for one in sender.remote.get("/publications")["publications"]:
        same = all(one["about"][field] == value for field, value in about.items())
        if one["state"] not in ("cutting", "unsigned") or one["publisher"] != publisher or not same:
            continue
        made = sender.wait(one["id"], ("cutting",))
        if made["state"] == "unsigned":
            parts = decode(sender.manifest(made["id"])).parts
            if [(part.path, part.sha256) for part in parts] == [(path.name, _sha256(path)) for path in paths]:
                return made
            sender.remote.delete(f"/publications/{made['id']}")
    return None


def _about(given: Mapping[str, Any]) -> dict[str, Any]:
    card = given["card"]
    try:
        text = card.read_text() if card else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("hub.card", f"{card} cannot be read as text: {error}") from error
    return {
        "name": given["name"],
        "version": given["version"],
        "kind": given["kind"],
        "licence": given["licence"],
        "card": text,
        "lineage": list(given["lineage"]),
        "requires": {"memory_bytes": given["needs_memory_mb"] << 20, "cpu": []},
        "residency": list(given["residency"]),
    }


def _as_manifest(about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "lineage": tuple(about["lineage"]),
        "residency": tuple(about["residency"]),
        "requires": msgspec.convert(about["requires"], Requires),
    }


def _reading(path: Path) -> Callable[[int, int], bytes]:
    def read(at: int, n: int) -> bytes:
        with path.open("rb") as content:
            content.seek(at)
            return content.read(n)

    return read


def _sha256(path: Path) -> str:
    known = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_READ_BYTES):
            known.update(piece)
    return known.hexdigest()


def _raw(text: str) -> bytes:
    return base64.b64decode(text)


def _error(status: int, said: Any) -> RequestError | UnreachableError:
    error = said.get("error", {}) if isinstance(said, dict) else {}
    code, words = str(error.get("code", "hub.answer")), str(error.get("message", f"the hub answers {status}"))
    return UnreachableError(code, words) if status in (429, 502, 503, 504) else RequestError(code, words, status=status)
