"""What goes onto a stick, as the commands do it: a hub's for a site, and a site's for its hub."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click

from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.delivery import bundle, bundle_reports
from ecotone.delivery.hub_folder import Hub
from ecotone.values import ConfigError

__all__ = ["carried", "exported"]


def exported(where: Path, site: str, since: int, to: Path, *, is_json: bool) -> None:
    """Writes a bundle for a site."""
    with _hub(where, site) as (hub, acked_seq), hub.locked():
        made = bundle.export(hub, site, since, to, time.time(), acked_seq=acked_seq)
    if is_json:
        show_json(made)
        return
    what = ", ".join(f"{asset.name} {asset.version}" for asset in made.assets) or "nothing"
    click.echo(f"{to}: {what} for {site}, {made.bytes / 1e6:.1f} MB (generation {made.heading.generation})")


def carried(to: Path, config_path: Path | None, store: str | None, *, has_ledger: bool, is_json: bool) -> None:
    """Writes a site's reports."""
    tree = load(config_path, store)
    if tree.hub is not None and tree.hub.reports == "off":
        raise ConfigError("hub.reports", "`hub.reports` is off in the configuration: this site tells its hub nothing")
    done = bundle_reports.export(Path(tree.store.path).expanduser(), to, has_ledger=has_ledger)
    if is_json:
        show_json(done)
        return
    ledger = f", and its ledger ({done.ledger_bytes / 1e6:.1f} MB)" if has_ledger else ""
    click.echo(f"{to}: {done.reports} reports of {done.site}{ledger}; take them in with `ecotone hub receive`")


@contextlib.contextmanager
def _hub(where: Path, site: str) -> Iterator[tuple[Hub, int]]:
    """The hub's files, and the number up to which it has the site's reports; 0 where nobody has ever served it."""
    if where.is_file() or _was_served(where):
        from ecotone.cli.hub_receiving import settings_at
        from ecotone.hub.receiving import acked_seq
        from ecotone.hub.serving import opened

        with opened(settings_at(where)) as hub:
            yield hub.repositories, acked_seq(hub.database, site)
    else:
        yield Hub(where, time.time()), 0


def _was_served(folder: Path) -> bool:
    """Whether there is a database beside the folder, and what it takes to read it."""
    if find_spec("sqlalchemy") is None:
        return False
    from ecotone.hub import settings

    return (settings.load(folder, None).state / "hub.sqlite").exists()
