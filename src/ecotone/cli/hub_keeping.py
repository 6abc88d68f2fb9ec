"""`ecotone hub acts`, `ecotone hub reseal`: what a hub keeps, on its own machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from ecotone.cli.hub import at_hub


@click.group()
def acts() -> None:
    """Verify and export the hub's ledger: who did what, on which, chained and signed."""


@acts.command()
@at_hub
def verify(folder: Path | None, config_path: Path | None, is_json: bool) -> None:
    """Recompute the chain and the tree of the hub's ledger, and check its signatures.

    Leaves with 1, and names the first bad entry, if anything was changed, dropped, reordered or cut off. Against
    somebody who has the database and the hub's key only a checkpoint that was kept elsewhere helps: `checkpoints` of
    an export.

    \b
    Examples:
      ecotone hub acts verify /srv/hub
    """
    import sys

    from ecotone.cli import hub_kept

    sys.exit(hub_kept.verified(folder, config_path, is_json=is_json))


@acts.command()
@at_hub
@click.option(
    "--to", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="A new folder."
)
def export(folder: Path | None, config_path: Path | None, is_json: bool, to: Path) -> None:
    """Write the hub's ledger into a new folder, as `ecotone ledger verify` and `ecotone evidence` read it.

    With it go the signed checkpoints and the hub's public key, site.pub. Whoever checks it should have the key from
    elsewhere.

    \b
    Examples:
      ecotone hub acts export /srv/hub --to /mnt/usb/acts
      ecotone ledger verify /mnt/usb/acts --key hub.pub
    """
    from ecotone.cli import hub_kept

    hub_kept.exported(folder, config_path, to, is_json=is_json)


@click.command()
@at_hub
def reseal(folder: Path | None, config_path: Path | None, is_json: bool) -> None:
    """Encrypt by the key of `encrypt.key` all that is not: what was plain, and what an earlier key has encrypted.

    It may be cut off and called again, and the hub may serve meanwhile if it was started with the new key and the old
    one under `encrypt.earlier`. Afterwards the old key is needed no more.

    \b
    Examples:
      ecotone hub reseal -c hub.yaml
    """
    from ecotone.cli import hub_kept

    hub_kept.resealed(folder, config_path, is_json=is_json)


COMMANDS: Final = {"acts": acts, "reseal": reseal}
