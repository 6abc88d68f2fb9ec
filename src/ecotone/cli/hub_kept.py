"""What `ecotone hub acts verify`, `reseal` and `carry` do, and say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecotone.assets import LineProgress, NoProgress
from ecotone.cli import extra
from ecotone.cli.failures import NotFoundError
from ecotone.cli.hub_asking import known
from ecotone.cli.output import show_json
from ecotone.values import ConfigError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub


def verified(folder: Path | None, file: Path | None, *, is_json: bool) -> int:
    """Verifies the ledger where it lies; the exit code."""
    from ecotone.cli import proof

    with _opened(folder, file) as hub:
        report = hub.acts.verify()
    is_good = report.is_whole and report.attested.is_signed
    if is_json:
        show_json({"whole": report.is_whole, "signed": report.attested.is_signed, "report": report})
    else:
        proof.show(report)
    return 0 if is_good else 1


def resealed(folder: Path | None, file: Path | None, *, is_json: bool) -> None:
    """Seals what is not sealed by the current key; that is an act."""
    from ecotone.hub.sealed import Sealed

    with _opened(folder, file) as hub:
        objects = hub.objects
        if not isinstance(objects, Sealed):
            raise ConfigError("hub.encrypt", "this hub does not encrypt: name a key under `encrypt` in its hub.yaml")
        hub.acts.write(f"local:{known()}", "objects.reseal", "hub")
        done = objects.reseal(NoProgress() if is_json else LineProgress())
    if is_json:
        show_json(done)
        return
    click.echo(f"{done.done} objects ({done.bytes / 1e6:.1f} MB) are sealed anew; {done.left} were sealed by this key")


def carried(folder: Path | None, file: Path | None, *, is_json: bool) -> None:
    """Carries the files of the folder to the store; that is an act."""
    from ecotone.delivery.hub_folder import Hub as Folders
    from ecotone.delivery.objects import Folder
    from ecotone.hub.carrying import carry

    with _opened(folder, file) as hub:
        source = Folder(hub.settings.folder)
        if hub.objects.local is not None and hub.objects.local.absolute() == source.path.absolute():
            raise ConfigError("hub.objects", "this hub lies in its folder: name another place under `objects.url`")
        if source.size("trust.json") is None:
            raise NotFoundError("hub.folder", f"{source.path} is no hub: `ecotone hub init` makes one")
        hub.acts.write(f"local:{known()}", "objects.carry", "hub")
        with Folders(source, time.time).locked(), hub.repositories.locked():
            done = carry(source, hub.objects, NoProgress() if is_json else LineProgress())
    if is_json:
        show_json(done)
        return
    click.echo(f"{done.done} objects ({done.bytes / 1e6:.1f} MB) are carried; {done.left} were there already")


@contextmanager
def _opened(folder: Path | None, file: Path | None) -> Iterator[Hub]:
    extra.server()
    from ecotone.hub import settings
    from ecotone.hub.serving import opened

    with opened(settings.load(folder, file)) as hub:
        if not hub.settings.folder.is_dir() and hub.settings.objects.url is None:
            raise NotFoundError("hub.folder", f"{hub.settings.folder} is no hub: `ecotone hub init` makes one")
        yield hub
