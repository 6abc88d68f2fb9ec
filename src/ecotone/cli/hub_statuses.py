"""The fleet as a screen, or as JSON, as the command shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from ecotone.cli.hub_asking import Asked
from ecotone.cli.looks import json_lines, live, looks
from ecotone.cli.output import show_json
from ecotone.cli.screen import show as show_screen

__all__ = ["Watch", "is_trouble", "show"]

_PARTS: Final = ("good", "trying", "coming", "failed", "refused", "silent", "pinned")
_WAITING: Final = ("paused", "halted", "rolling_back")


class Watch(msgspec.Struct, frozen=True):
    """Look again every so many seconds; None: without an end."""

    every_s: float
    count: int | None


def show(
    asked: Asked, ask: Mapping[str, str | int | None], watch: Watch | None, *, is_check: bool, is_json: bool
) -> int:
    """Prints the fleet; what to leave with."""
    path = f"/status?{urlencode({name: value for name, value in ask.items() if value is not None})}"
    if watch is not None:
        seen = looks(lambda: asked.ask("GET", path), watch.every_s, watch.count)
        if is_json:
            json_lines(seen)
        else:
            live(_screen(said) if isinstance(said, dict) else said for said in seen)
        return 0
    said = asked.ask("GET", path)
    if is_json:
        show_json(said)
    else:
        show_screen(_screen(said))
    return 1 if is_check and is_trouble(said) else 0


def is_trouble(said: Mapping[str, Any]) -> bool:
    """Whether a person must look: a site in trouble, an alarm, a release that waits or was taken back."""
    waits = [one for one in said["releases"] if one["state"] in _WAITING and not one["ended_s"]]
    return bool(said["counts"]["trouble"] or said["alarms"] or waits)


def _screen(said: Mapping[str, Any]) -> dict[str, Any]:
    """What `screen.show` draws of it."""
    totals, now_s = said["totals"], said["now_s"]
    decided = totals["at_edge"] + totals["at_cloud"]
    shown: dict[str, Any] = {
        "hub": said["hub"],
        "as_of": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s)),
        **{f"sites_{how}": count for how, count in said["counts"].items() if count or how != "revoked"},
        "sites_behind": totals["behind"],
        "to_fetch_bytes": totals["bytes_left"],
        "requests": totals["requests"],
        "at_the_edge": f"{100 * totals['at_edge'] / decided:.0f} %" if decided else "-",
        "egress_bytes": totals["egress_bytes"],
        "cloud_usd": totals["cloud_usd"],
        "saved_usd": totals["saved_usd"],
    }
    if said["alarms"]:
        shown["look_at"] = [{"what": one["text"]} for one in said["alarms"]]
    if said["releases"]:
        shown["releases"] = [_release(one, now_s) for one in said["releases"]]
    if said["versions"]:
        shown["versions"] = [
            {"asset": one["name"], "version": one["version"], "kind": one["kind"], "sites": _counts(one["sites"])}
            for one in said["versions"]
        ]
    first = said["offset"] + 1
    if not said["sites"]:
        return shown
    rows = [_site(one, now_s) for one in said["sites"]]
    # A column in which nothing stands is left out: the table is to fit on the screen.
    columns = [name for name in rows[0] if any(row[name] not in ("", None, 0) for row in rows)]
    title = f"sites ({first} to {first - 1 + len(rows)} of {said['found']})"
    shown[title] = [{name: row[name] for name in columns} for row in rows]
    return shown


def _release(one: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    opened = [wave for wave in one["waves"] if wave["opened_s"]]
    tally = {part: one["tally"].get(part, 0) for part in _PARTS}
    return {
        "release": f"{one['name']} {one['version']}",
        "state": one["state"],
        "why": one["why"],
        "wave": f"{len(opened)} of {len(one['waves'])}" + (f" ({opened[-1]['label']})" if opened else ""),
        "open_s": now_s - opened[-1]["opened_s"] if opened else None,
        "sites": _counts({"of": one["tally"].get("sites", 0), **tally}),
        "kind_of_machine": one["tally"].get("shared", ""),
        "id": one["id"],
    }


def _site(one: Mapping[str, Any], now_s: float) -> dict[str, Any]:
    return {
        "site": one["site"],
        "health": one["health"],
        "heard_s": now_s - one["heard_s"] if one["heard_s"] else None,
        "versions": ", ".join(f"{asset['name']} {asset['version']} {asset['state']}" for asset in one["assets"]),
        "generation": f"{one['generation']}/{one['wanted']}",
        "stale_s": one["stale_s"],
        "left_bytes": one["bytes_left"],
        "link": "" if one["link"] in ("up", "unknown") else one["link"],
        "why": ", ".join(one["why"]),
    }


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.items() if count)
