"""What a report says: numbers, names of assets and stable codes. It is checked to be no more before it is kept."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ecotone.agent.outbox import Make
from ecotone.values.fleet import ASSETS_MAX, AssetReport, Report, decode_report

__all__ = ["arch", "codes", "merged", "written"]

TROUBLES_MAX: Final = 32
_NO_CODE: Final = re.compile(r"[^a-z0-9_.]+")
_PIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}@[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
_NO_ARCH: Final = re.compile(r"[^a-z0-9_]+")


def written(report: Report) -> Make:
    """Writes the report under the number that it gets.

    Args:
        report: All of it but `seq` and `dropped`.
    """

    def make(seq: int, dropped: int) -> bytes:
        # Somebody here typed them: one that is none must not keep the whole report here.
        pinned = tuple(pin for pin in report.pinned if _PIN.fullmatch(pin))
        raw = msgspec.json.encode(msgspec.structs.replace(report, seq=seq, dropped=dropped, pinned=pinned))
        decode_report(raw, report.site)  # what no hub would take, and what could hold words, is not kept
        return raw

    return make


def merged(wanted: Iterable[AssetReport], used: Iterable[AssetReport]) -> tuple[AssetReport, ...]:
    """All assets, each version once: what is used speaks for itself."""
    found = {(one.name, one.version): one for one in wanted}
    found.update({(one.name, one.version): one for one in used})
    return tuple(found[key] for key in sorted(found))[:ASSETS_MAX]


def codes(found: Sequence[str]) -> tuple[str, ...]:
    """What is wrong, as stable codes; a text that is none is made one, so that no words can pass."""
    clean = (_NO_CODE.sub("_", one.lower())[:64] for one in found)
    return tuple(dict.fromkeys(one for one in clean if one))[:TROUBLES_MAX]


def arch() -> str:
    """The processor's family, such as `x86_64`."""
    return _NO_ARCH.sub("_", platform.machine().lower())[:20]
