"""How a site gives to its neighbours, as the command does it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click
import msgspec

from ecotone.cli.settings import load
from ecotone.delivery.neighbour import SCHEME
from ecotone.delivery.neighbour_server import NeighbourServer
from ecotone.values import ConfigError


def up(config_path: Path | None, store: str | None, listen: str, mbit_per_s: float | None, *, is_json: bool) -> None:
    """Serves segments until SIGINT or SIGTERM."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError("hub.listen", f"'{listen[:80]}' is not ADDRESS:PORT")
    root = Path(load(config_path, store).store.path).expanduser()
    rate = None if mbit_per_s is None else mbit_per_s * 125_000
    server = NeighbourServer(root, host.strip("[]"), int(port), rate)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    thread = threading.Thread(target=server.serve_forever, name="neighbour", daemon=True)
    thread.start()
    url = f"{SCHEME}://{host}:{server.server_address[1]}"
    if is_json:
        click.echo(msgspec.json.encode({"url": url, "segments": len(server.segments)}).decode())
    else:
        click.echo(f"neighbour: {url} ({len(server.segments)} segments)", err=True)
    done.wait()
    server.shutdown()
    server.server_close()
