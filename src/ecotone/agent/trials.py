"""What a site remembers of its versions: which is used, on which terms, what to go back to, and what failed here.

<store>/hub/trials.json    replaced whole, and durable before anything that it speaks of is done
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.estimate.counts import Count
from ecotone.fleet import memory, trial
from ecotone.values import ConfigError
from ecotone.values.fleet import AssetState, Figures, Terms

__all__ = ["Kept", "Standing", "Used", "Wish", "file", "named", "read", "replaced", "write"]

FILE_BYTES_MAX: Final = 64 << 20
NAMES_MAX: Final = 4096
"""Assets that are remembered. A hub may want 256 at once; those of before stay until they are removed."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub wants here of one asset, verified: `trust.agreeing.Asset` as far as a running site needs it."""

    name: str
    version: str
    kind: str
    sha256: str
    attempt: int = 0
    terms: Terms | None = None
    decode_tok_s_min: float = 0.0


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """One version at this site, and where it stands.

    Attributes:
        sha256, attempt: Of the wish that brought it; `''` and 0 for one that came otherwise.
        since_s: Of the last change of `state`, by the site's reckoning.
        why: See `values.fleet.AssetReport`.
        figures: What it did, as far as that was kept.
        before: What the one did that it was compared with.
    """

    version: str
    sha256: str = ""
    attempt: int = 0
    state: AssetState = "good"
    since_s: float = 0.0
    why: str = ""
    figures: Figures | None = None
    before: Figures | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One asset at this site.

    Attributes:
        used: What `hub:NAME` leads to, or is about to; its version is `''` where nothing is used.
        is_led: Whether `hub:NAME` leads there already. Where it does not, the site was killed in between.
        former: What it goes back to; None: there is nothing.
        trial: While one goes on.
        ready: A version that is here whole and waits to be used.
        lost: The last version that failed or was refused here.
        counts, hours: What the version in use did since it is used, up to the last time that this was kept.
        orders: How many orders of the local administrator were carried out.
    """

    kind: str
    used: Used = Used(version="")
    is_led: bool = True
    former: Used | None = None
    trial: trial.Trial | None = None
    ready: Wish | None = None
    lost: Used | None = None
    counts: Count = Count()
    hours: float = 0.0
    orders: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered.

    Attributes:
        tok_s: Tokens a second that a version really wrote here, by the SHA-256 of its manifest.
        read_bytes_s: Bytes of weights that this machine reads a second while it writes an answer; 0: not measured.
    """

    version: Literal[1] = 1
    assets: Annotated[dict[str, Standing], Meta(max_length=NAMES_MAX)] = {}
    memory: memory.Memory = memory.Memory()
    tok_s: Annotated[dict[str, float], Meta(max_length=1024)] = {}
    read_bytes_s: float = 0.0


def file(store: Path) -> Path:
    """Where it is kept."""
    return store / "hub" / "trials.json"


def read(store: Path) -> Kept:
    """What was kept; nothing where nothing was.

    Raises:
        ConfigError: `hub.trials`, for a damaged file, or one that cannot be read.
    """
    path = file(store)
    try:
        with path.open("rb") as content:
            return msgspec.json.decode(content.read(FILE_BYTES_MAX), type=Kept)
    except FileNotFoundError:
        return Kept()
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "hub.trials",
            f"{path} cannot be read ({error}). Move it away: what is used stays so, and what failed here may be tried "
            "again",
        ) from error


def write(store: Path, kept: Kept) -> None:
    """Keeps it: durable when this returns.

    Raises:
        OSError: The disk refused; what was kept before is still there.
    """
    replaced(file(store), msgspec.json.encode(kept))


def named(store: Path) -> set[str]:
    """NAME@VERSION of all that is used, gone back to, or about to be used.

    Raises:
        ConfigError: As `read`.
    """
    found = set()
    for name, standing in read(store).assets.items():
        some = (standing.used, standing.former, standing.ready)
        found |= {f"{name}@{one.version}" for one in some if one is not None and one.version}
    return found


def replaced(path: Path, content: bytes) -> None:
    """The file holds `content`; after a crash it holds what it held before, or this.

    Raises:
        OSError: The disk refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
