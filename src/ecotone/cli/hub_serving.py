"""What `ecotone hub up` and `validate` do, and say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ecotone.cli.hub_asking import known
from ecotone.cli.output import show_json
from ecotone.hub import settings
from ecotone.values import ConfigError


def up(folder: Path | None, file: Path | None, flags: Mapping[str, Any], *, is_json: bool) -> None:
    """Serves a hub until SIGINT or SIGTERM."""
    from ecotone.hub import processes

    chosen = settings.load(folder, file)
    if flags["listen"] is not None:
        chosen = msgspec.structs.replace(chosen, listen=_listen(flags["listen"]))
    if flags["processes"] is not None:
        chosen = msgspec.structs.replace(chosen, processes=flags["processes"])
    if flags["is_open"]:
        chosen = msgspec.structs.replace(chosen, is_open=True)
    settings.check_exposure(chosen, is_insecure_meant=flags["insecure_http"])

    def started(url: str) -> None:
        if is_json:
            click.echo(msgspec.json.encode({"url": url}).decode())
        else:
            click.echo(f"hub: {url}", err=True)

    processes.run(chosen, started, "json" if is_json else flags["log_format"])


def restored(folder: Path | None, file: Path | None, *, is_json: bool) -> None:
    """Every site's next wish lies above what it can have seen; that is an act."""
    from ecotone.hub.serving import opened

    with opened(settings.load(folder, file)) as hub:
        hub.acts.write(f"local:{known()}", "hub.restored", "hub")
        count = hub.wishes.ahead()
    if is_json:
        show_json({"sites": count})
        return
    click.echo(f"the next wish of each site ({count}) lies above all that it can have seen")


def validate(file: Path, *, is_json: bool) -> None:
    """Says whether a file is right; no secret is read and nothing is opened."""
    found = settings.read_file(file)
    fields = {"file": str(file), "valid": True, "processes": found.processes}
    if is_json:
        show_json(fields)
        return
    database = "PostgreSQL" if (found.database.url or "").startswith("postgres") else "SQLite"
    if (found.database.url or "").startswith(("env:", "file:")):
        database = f"the database of {found.database.url}"
    click.echo(f"{file} is valid: {database}, objects in {found.objects.url or 'the folder'}")


def _listen(said: str) -> settings.Listen:
    host, _, port = said.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError("hub.listen", f"'{said[:80]}' is not ADDRESS:PORT")
    return settings.Listen(address=host.strip("[]"), port=int(port))
