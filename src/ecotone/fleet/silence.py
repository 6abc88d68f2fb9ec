"""What is known of a site from its last report and when it came. Nothing acts on it: silence is never a signal."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ecotone.values.fleet import Report

__all__ = ["SILENT_S", "Health", "health"]

SILENT_S: Final = 3600.0
"""A site that has not been heard for so long is unknown. Those with a link report at least every quarter of an hour."""


class Health(msgspec.Struct, frozen=True):
    """What is known of a site.

    Attributes:
        state: `unknown` is no trouble: nobody knows.
        since_s: For `unknown`: since when, Unix seconds by the hub's clock, 0 = it was never heard. Else: when it was
            heard last.
        why: Codes of its trouble. Of a site that is unknown: of what it told last.
    """

    state: Literal["fine", "trouble", "unknown"]
    since_s: float
    why: tuple[str, ...] = ()


def health(report: Report | None, heard_s: float, now_s: float, silent_s: float = SILENT_S) -> Health:
    """The health of a site.

    Args:
        report: Its last; None: there is none.
        heard_s: When the hub was given it, Unix seconds by the hub's clock: what the site's says does not matter.
        now_s: By the hub's clock.
        silent_s: Longest time without a report that says nothing.
    """
    if report is None:
        return Health("unknown", 0.0)
    why = troubles(report)
    if now_s - heard_s > silent_s:
        return Health("unknown", heard_s, why)
    return Health("trouble" if why else "fine", heard_s, why)


def troubles(report: Report) -> tuple[str, ...]:
    """Codes of what an operator should look at: the site's own, and versions that failed or were refused."""
    told = [f"{asset.state}.{asset.why}" for asset in report.assets if asset.state in ("failed", "refused")]
    return tuple(dict.fromkeys((*report.trouble, *told)))
