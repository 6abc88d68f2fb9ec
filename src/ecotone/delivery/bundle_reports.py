"""One file for a stick on its way back: a site's reports, and its ledger where asked, signed by the site's own key.

    reports.json     the heading: who, of which hub, and the SHA-256 of every other entry
    reports.sig      Ed25519 by the site's key over `ecotone-reports-v1\n` and the heading
    reports.jsonl    the reports, one a line, oldest first; as they would go over the link
    ledger/<file>    segments, checkpoints and public key of the ledger: what `ecotone evidence --file` reads

Reports are levels and numbered: a file that is brought twice, late or not at all harms nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.agent import joined_file
from ecotone.agent.identity import Identity
from ecotone.agent.outbox import BYTES_MAX, Outbox
from ecotone.assets import FetchError, files
from ecotone.delivery.bundle_file import Contents, Writing, malformed, new_file
from ecotone.store import CHECKPOINTS, FOLDER, PUBLIC, notes
from ecotone.store.segments import listed
from ecotone.values import ConfigError, EcotoneError, TrustError
from ecotone.values.fleet import Count, Report, SiteName, decode_report

__all__ = ["Brought", "Carried", "ReportsHeading", "acknowledged", "export"]

HEADING: Final = "reports.json"
SIGNATURE: Final = "reports.sig"
REPORTS: Final = "reports.jsonl"
SIGNED: Final = b"ecotone-reports-v1\n"
REPORTS_MAX: Final = 10_000
SKIP_MAX: Final = 1 << 20
"""So far a hub may be ahead of a site that was restored from an old copy."""
_LEDGER: Final = "ledger/"
_REMOVED: Final = "pruned"
_NAME: Final = re.compile(r"reports\.(?:json|sig|jsonl)|ledger/(?:[0-9]{16}\.jsonl|checkpoints|pruned|site\.pub)")
_HEADING_BYTES_MAX: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 20
_LINE_BYTES: Final = 1 << 20

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ReportsHeading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site signs of the file.

    Attributes:
        hub: Name of the hub that it is for, as the site has joined it.
        made_s: When, Unix seconds by the site's clock: for people, nothing rests on it.
        sha256: Of every other entry but the signature, by its name.
    """

    type: Literal["ecotone-site-reports"] = "ecotone-site-reports"
    format: Literal[1] = 1
    site: SiteName
    hub: Annotated[str, Meta(max_length=200)]
    made_s: Count
    sha256: dict[str, Digest]


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an export.

    Attributes:
        reports: How many; `first_seq` to `last_seq`, 0 where there is none.
        ledger_bytes: Of the ledger that is in it.
    """

    site: str
    hub: str
    reports: int
    first_seq: int
    last_seq: int
    ledger_bytes: int
    path: str
    bytes: int


def export(store: Path, to: Path, *, has_ledger: bool = False, now_s: Callable[[], float] = time.time) -> Carried:
    """Writes all reports of a site that its hub has not acknowledged; also beside the running site.

    They wait in the outbox until the hub's next bundle, or the link, says that it has them.

    Args:
        store: The site's store folder.
        to: A new file.
        has_ledger: Whether the ledger goes with them.

    Raises:
        ConfigError: `hub.joined`: the site has joined no hub; `hub.identity`; `hub.file`; `hub.reports`: there is
            nothing to carry.
        EcotoneError: `hub.outbox`.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    joined = joined_file.read(store)
    if joined is None:
        raise ConfigError("hub.joined", "this site has joined no hub: `ecotone enroll URL TOKEN` joins one")
    identity, outbox = Identity.load(store), Outbox(store / "hub" / "outbox.sqlite")
    waiting = outbox.unsent(BYTES_MAX)
    ledger = _ledger(store) if has_ledger else []
    if not waiting and not ledger:
        raise ConfigError(
            "hub.reports", "no report waits here: the hub has them all, or the site has not run since it joined"
        )
    lines = b"".join(one.raw + b"\n" for one in waiting)
    with new_file(to) as file:
        sha256 = {REPORTS: hashlib.sha256(lines).hexdigest()}
        sha256.update({name: _digest(path, length) for name, path, length in ledger})
        heading = msgspec.json.encode(
            ReportsHeading(site=joined.site, hub=joined.hub, made_s=int(now_s()), sha256=sha256)
        )
        writing = Writing(file)
        writing.put(HEADING, heading)
        writing.put(SIGNATURE, identity.sign(SIGNED + heading))
        writing.put(REPORTS, lines)
        for name, path, length in ledger:
            writing.pour(name, length, _pieces(path, length))
        writing.end()
    outbox.sending(waiting, now_s())
    return Carried(
        site=joined.site,
        hub=joined.hub,
        reports=len(waiting),
        first_seq=waiting[0].seq if waiting else 0,
        last_seq=waiting[-1].seq if waiting else 0,
        ledger_bytes=sum(length for _, _, length in ledger),
        path=str(to),
        bytes=to.stat().st_size,
    )


def acknowledged(store: Path, seq: int) -> None:
    """The hub has the site's reports up to this one, as a bundle from it says: they need not go again.

    Nobody has signed the number. One that is too high makes the site forget reports that its next one replaces, and
    skip some numbers: no more than `SKIP_MAX`.

    Raises:
        EcotoneError: `hub.outbox`.
    """
    path = store / "hub" / "outbox.sqlite"
    if seq and path.exists():
        outbox = Outbox(path)
        outbox.acked(min(seq, outbox.counts().last_seq + SKIP_MAX))


class Brought:
    """Such a file, as a hub reads it. Nothing of it is used before `check` has found it to be the site's."""

    def __init__(self, path: Path) -> None:
        """Reads what is in it, and what it says of itself.

        Raises:
            ConfigError: `hub.file`, if it cannot be read.
            TrustError: `bundle.malformed`, `bundle.truncated`.
        """
        self._contents: Final = Contents(path, _NAME)
        try:
            self._raw: Final = self._contents.content(HEADING, _HEADING_BYTES_MAX)
            self.heading: Final = msgspec.json.decode(self._raw, type=ReportsHeading)
        except BaseException as error:
            self.close()
            if isinstance(error, msgspec.DecodeError | FetchError):
                raise malformed(path, "it is not a site's reports") from error
            raise

    def __enter__(self) -> Brought:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._contents.close()

    @property
    def name(self) -> str:
        """What a person reads."""
        return str(self._contents.path)

    @property
    def digest(self) -> str:
        """SHA-256 of what was signed."""
        return hashlib.sha256(self._raw).hexdigest()

    @property
    def has_ledger(self) -> bool:
        """Whether the site's ledger is in it."""
        return any(name.startswith(_LEDGER) for name in self._contents.places)

    def check(self, hub: str, keys: Sequence[bytes]) -> None:
        """Goes on only if the file is for this hub, signed by one of the keys, and whole.

        Args:
            hub: This hub's name.
            keys: Public keys of the site that the heading names, as it has enrolled them.

        Raises:
            TrustError: `bundle.signature`, `bundle.other_hub`, `bundle.digest`.
        """
        if not any(_is_signed(key, self._contents.content(SIGNATURE, 64), SIGNED + self._raw) for key in keys):
            raise TrustError(
                "bundle.signature",
                f"{self.name} says that it is of '{self.heading.site}', and that site's key did not sign it: nothing "
                "of it is used",
            )
        if self.heading.hub != hub:
            raise TrustError(
                "bundle.other_hub", f"{self.name} is for the hub '{self.heading.hub}', and this is '{hub}'"
            )
        signed = self.heading.sha256
        if signed.keys() != self._contents.places.keys() - {HEADING, SIGNATURE} or REPORTS not in signed:
            raise self._changed("an entry of it")
        for name, sha256 in signed.items():
            found = hashlib.sha256()
            for piece in self._pieces(name):
                found.update(piece)
            if found.hexdigest() != sha256:
                raise self._changed(name)

    def reports(self) -> list[Report]:
        """All of them, oldest first; after `check`.

        Raises:
            ConfigError: `hub.report`.
        """
        raw = self._contents.content(REPORTS, 2 * BYTES_MAX)
        return [decode_report(line, self.heading.site) for line in raw.splitlines()[:REPORTS_MAX]]

    def unpack(self, to: Path) -> Path:
        """Writes the ledger that is in it into a new folder; after `check`.

        Raises:
            ConfigError: `hub.file`, if there is something already.
            StoreError: `asset.disk_full`, `asset.io`.
        """
        if to.exists():
            raise ConfigError("hub.file", f"{to} is there already: give the name of a new folder")
        fresh = to.with_name(f".{to.name}.{os.getpid()}.new")
        try:
            with files.durably(f"writing {to}"):
                fresh.mkdir(parents=True)
                for name in self.heading.sha256:
                    if name.startswith(_LEDGER):
                        with (fresh / name.removeprefix(_LEDGER)).open("xb") as file:
                            file.writelines(self._pieces(name))
                fresh.rename(to)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return to

    def _pieces(self, name: str) -> Iterator[bytes]:
        at, length = self._contents.places[name]
        for start in range(0, length, _PIECE_BYTES):
            yield self._contents.read(at + start, min(_PIECE_BYTES, length - start))

    def _changed(self, what: str) -> TrustError:
        return TrustError("bundle.digest", f"{self.name}: {what} is not what the site signed. Nothing of it is used")


def _ledger(store: Path) -> list[tuple[str, Path, int]]:
    """(Name in the bundle, file, bytes of it that are whole lines). A running site only adds, behind these.

    Raises:
        StoreError: `asset.io`.
    """
    folder = store / FOLDER
    with files.durably(f"reading {folder}"):
        small = {f"{_LEDGER}{_REMOVED}": folder / _REMOVED, f"{_LEDGER}{PUBLIC}": store / PUBLIC}
        found = [(name, path, path.stat().st_size) for name, path in small.items() if path.exists()]
        # Checkpoints before segments: what they cover was in the segments first.
        if (signed := folder / CHECKPOINTS).exists():
            found.append((f"{_LEDGER}{CHECKPOINTS}", signed, notes.end_of(signed, lambda _: True)))
        segments = listed(folder) if folder.is_dir() else []
        return found + [(f"{_LEDGER}{path.name}", path, _whole_lines(path)) for path in segments]


def _whole_lines(path: Path) -> int:
    """Bytes up to the end of the last line that has one."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at > 0:
            step = min(_LINE_BYTES, at)
            at = file.seek(at - step)
            end = file.read(step).rfind(b"\n")
            if end >= 0:
                return at + end + 1
    return 0


def _digest(path: Path, length: int) -> str:
    found = hashlib.sha256()
    for piece in _pieces(path, length):
        found.update(piece)
    return found.hexdigest()


def _pieces(path: Path, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while length > 0:
            piece = file.read(min(_PIECE_BYTES, length))
            if not piece:
                raise EcotoneError("hub.ledger", f"{path} has become shorter while it was read: do it again")
            length -= len(piece)
            yield piece


def _is_signed(key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
