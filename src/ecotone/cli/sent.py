"""What went to the hub, word by word, for the site's owner to read. Needs no running site."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from ecotone.agent.outbox import Outbox
from ecotone.cli.output import show_json
from ecotone.cli.settings import load

__all__ = ["show"]


def show(config_path: Path | None, *, is_json: bool) -> None:
    """Prints the last reports, the newest last, each with where its entry stands in the ledger."""
    path = Path(load(config_path).store.path).expanduser() / "hub" / "outbox.sqlite"
    box = Outbox(path) if path.is_file() else None
    sent = [] if box is None else box.sent()
    waiting = 0 if box is None else box.counts().waiting
    if is_json:
        rows: list[dict[str, Any]] = [
            {"sent_s": one.sent_s, "ledger_entry": one.entry, "report": msgspec.json.decode(one.raw)} for one in sent
        ]
        show_json({"sent": rows, "waiting": waiting})
        return
    for one in sent:
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(one.sent_s))
        entry = "no answer came" if one.entry is None else f"entry {one.entry} of the ledger"
        click.echo(f"# {at}, report {one.seq}, {entry}")
        click.echo(msgspec.json.format(one.raw, indent=2).decode())
    click.echo(f"# {len(sent)} sent, {waiting} waiting; this is all that a report holds", err=True)
