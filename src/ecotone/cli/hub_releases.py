"""What the commands of releases and garbage do, and say."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ecotone.cli.hub_asking import Asked
from ecotone.cli.output import show_json
from ecotone.values import RequestError

STATES = {
    "rolling": "a wave is being wished",
    "waiting": "it waits for what the sites of the open waves tell",
    "paused": "nothing more is wished until `ecotone hub release resume`",
    "rolling_back": "the version before is being wished everywhere",
    "halted": "it was bad: all that had it were wished the version before",
    "done": "it is through; who is enrolled later gets it too",
    "aborted": "it was ended",
}
WHYS = {
    "gate.reports": "too few sites have ended their trial",
    "gate.good": "too few of those that ended it are good",
    "gate.doubt": "the figures of all sites together are doubtful",
    "gate.decided": "sites still fetch it or are on trial",
    "gate.requests": "too few requests were answered with it",
    "gate.hours": "the wave is not open for long enough",
    "gate.refused": "too many sites cannot use it",
}


class Starting(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `hub release start`."""

    sites: Sequence[str]
    groups: Sequence[str]
    waves: Sequence[str]
    at_once: bool
    gate: Sequence[str]
    trial: Sequence[str]
    variants: Sequence[str]
    tok_s_min: float


def start(asked: Asked, name_version: str, given: Starting, *, is_json: bool) -> None:
    """Starts one."""
    name, _, version = name_version.partition("@")
    if not version:
        raise RequestError("hub.asked", f"which version of {name}? Give {name}@VERSION")
    body: dict[str, Any] = {
        "name": name,
        "version": version,
        "scope": {"sites": list(given.sites), "groups": list(given.groups)},
        "variants": list(given.variants),
        "decode_tok_s_min": given.tok_s_min,
        "gate": _numbers("--gate", given.gate),
        "terms": _numbers("--trial", given.trial),
    }
    if given.at_once and given.waves:
        raise RequestError("hub.asked", "--at-once has no waves: leave out --wave")
    if given.at_once or given.waves:
        body["waves"] = [{"share": 1.0}] if given.at_once else [wave(text) for text in given.waves]
    show(asked.ask("POST", "/releases", body), is_json=is_json)


def wave(text: str) -> dict[str, Any]:
    """A wave as it is written on a command line.

    Raises:
        RequestError: `hub.asked`.
    """
    if text.startswith("group:"):
        return {"group": text.removeprefix("group:")}
    try:
        if text.endswith("%"):
            return {"share": float(text[:-1]) / 100}
        return {"count": int(text)}
    except ValueError as error:
        raise RequestError("hub.asked", f"--wave {text}: give 5%, 20 or group:NAME") from error


def show_all(asked: Asked, name: str, limit: int, *, is_json: bool) -> None:
    """Lists them."""
    said = asked.ask("GET", f"/releases?limit={limit}&name={name}")
    if is_json:
        show_json(said)
        return
    for one in said["releases"]:
        tally = one["tally"]
        what, told = f"{one['name']}@{one['version']}", f"{tally['good']} good, {tally['failed']} failed"
        click.echo(f"{one['id']}  {what:24} {one['state']:12} {_waves(one):10} {told:24} {one['by']}")
    if not said["releases"]:
        click.echo("there is no release yet: `ecotone hub release start`")


def show(one: dict[str, Any], *, is_json: bool) -> None:
    """Shows one."""
    if is_json:
        show_json(one)
        return
    tally, standing = one["tally"], one["standing"]
    click.echo(f"{one['id']}  {one['name']}@{one['version']}  {one['state']}: {STATES.get(one['state'], '')}")
    click.echo(f"  started by {one['by']} at {_time(one['created_s'])}; {_waves(one)}")
    if one["why"] and one["why"] not in ("wave", "asked"):
        click.echo(f"  why: {one['why']}: {WHYS.get(one['why'], 'see `ecotone hub release show --json`')}")
    counts = ("wished", "coming", "trying", "good", "failed", "refused", "silent", "pinned")
    click.echo("  sites: " + ", ".join(f"{tally[name]} {name}" for name in counts))
    if tally["shared"]:
        click.echo(f"  all that failed are of one kind of machine: {tally['shared']}")
    for code, count in tally["whys"]:
        click.echo(f"    {count} x {code}")
    if standing["state"] == "draft" or not one["looked_s"]:
        click.echo("  the hub has not looked at it yet: is `ecotone hub up` running?")


def pin(asked: Asked, site: str, name_version: str, *, is_json: bool) -> None:
    """Pins."""
    name, _, version = name_version.partition("@")
    said = asked.ask("POST", "/pins/{site}/{name}", {"version": version}, site=site, name=name)
    if is_json:
        show_json(said)
    else:
        click.echo(f"{said['name']} {said['version']} is held at {said['site']} until `ecotone hub unpin`")


def unpin(asked: Asked, site: str, name: str, *, is_json: bool) -> None:
    """Unpins."""
    said = asked.ask("DELETE", "/pins/{site}/{name}", site=site, name=name)
    if is_json:
        show_json(said)
    else:
        click.echo(f"{name} at {site}: {'releases may change it again' if said['was_pinned'] else 'it was not pinned'}")


def garbage(asked: Asked, *, is_collected: bool, is_json: bool) -> None:
    """Shows the garbage, and has it removed."""
    said = asked.ask("GET", "/garbage")
    if is_collected:
        asked.ask("POST", "/garbage/collect")
    if is_json:
        show_json(said)
        return
    click.echo(f"{said['objects']} objects, {_mb(said['bytes'])}, are needed by nobody")
    click.echo(f"{said['ripe_objects']} of them, {_mb(said['ripe_bytes'])}, may go: nobody needed them for 7 days")
    for folder, count, size in said["kinds"]:
        click.echo(f"  {folder:10} {count:8} {_mb(size):>12}")
    if is_collected:
        click.echo("the hub removes what may go as soon as `ecotone hub up` runs")


def _numbers(option: str, given: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in given:
        key, _, number = text.partition("=")
        try:
            found[key] = int(number) if number.isdecimal() else float(number)
        except ValueError as error:
            raise RequestError("hub.asked", f"{option} {text}: give KEY=NUMBER") from error
    return found


def _waves(one: dict[str, Any]) -> str:
    return f"wave {one['standing']['wave'] + 1} of {len(one['plan']['waves'])}"


def _time(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
