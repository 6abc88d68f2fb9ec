"""`ecotone ledger`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.group()
def ledger() -> None:
    """Verify the ledger."""


@ledger.command()
@shared
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--head", "heads", metavar="SEQ:HASH", multiple=True, help="A head from an earlier run, kept elsewhere.")
def verify(config_path: Path | None, is_json: bool, files: tuple[Path, ...], heads: tuple[str, ...]) -> None:
    """Recompute the whole chain of the ledger, or of a copy of it: a folder, or single segments.

    Leaves with 1, and names the first bad entry, if anything was changed, dropped or reordered. That the end was cut
    off or all was rewritten shows only with --head. It may run beside the site.

    \b
    Examples:
      ecotone ledger verify
      ecotone ledger verify /mnt/usb/ledger
      ecotone ledger verify --head 8112:9f86d081884c7d65...
    """
    import sys

    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    report = proof.verified(config_path, files, heads)
    if is_json:
        show_json({"whole": report.is_whole, "report": report})
    else:
        proof.show(report)
    sys.exit(0 if report.is_whole else 1)
