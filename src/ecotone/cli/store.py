"""`ecotone store`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared

KEY = click.option(
    "--key",
    "key_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the key that sealed it. Default: `store.key` in the store.",
)


@click.group()
def store() -> None:
    """Back up, restore and check the queue of jobs."""


@store.command()
@shared
@click.argument("to", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def backup(config_path: Path | None, is_json: bool, to: Path) -> None:
    """Copy the queue to a new FILE, also while the site runs.

    The copy is one instant of the queue: jobs, answers, files and batches. It is sealed as in the store and worth
    nothing without the store's key: keep a copy of `store.key` too, in another place. The ledger is not in it; it is
    plain files in the store's folder `ledger`.

    \b
    Examples:
      ecotone store backup /mnt/usb/jobs-monday.db
    """
    from ecotone.cli import storing

    copied = storing.backed_up(config_path, to)
    storing.show_copied(copied, is_json=is_json)


@store.command()
@shared
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@KEY
def restore(config_path: Path | None, is_json: bool, source: Path, key_path: Path | None) -> None:
    """Put the copy FILE into a store that has no queue.

    Refuses beside a running site and over a queue that is there. Jobs that ended after the copy was made are as they
    were then, so they run again. With --key the key is put into the store too, if it has none.

    \b
    Examples:
      ecotone store restore /mnt/usb/jobs-monday.db --key /media/safe/store.key
    """
    from ecotone.cli import storing

    copied = storing.restored(config_path, source, key_path)
    storing.show_copied(copied, is_json=is_json)


@store.command()
@shared
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@KEY
def check(config_path: Path | None, is_json: bool, file: Path | None, key_path: Path | None) -> None:
    """Read every page of the queue, or of a copy of it, and open every sealed piece.

    Leaves with 1 if anything is broken. It may run beside the site. A site checks its queue at every start too, as far
    as a moment allows, and mends what is broken by itself: the broken file is put aside and what can be read is kept.

    \b
    Examples:
      ecotone store check
      ecotone store check /mnt/usb/jobs-monday.db --key /media/safe/store.key
    """
    import sys

    from ecotone.cli import storing

    found = storing.checked(config_path, file, key_path)
    storing.show_condition(found, is_json=is_json)
    sys.exit(0 if found.is_whole else 1)
