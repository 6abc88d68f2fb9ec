"""`ecotone hub acts verify`, `reseal`, `carry`: what a hub keeps, on its own machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from ecotone.cli.hub import at_hub
from ecotone.cli.hub_people import acts


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


@click.command()
@at_hub
def carry(folder: Path | None, config_path: Path | None, is_json: bool) -> None:
    """Carry a hub's files from its folder DIR to the store that `objects.url` names, encrypted if `encrypt` says so.

    Sites see the old state or the new, never a mixture: what announces the newest goes last. What is there already is
    not carried again, so that it may be cut off and called again. The folder stays as it is.

    
    Examples:
      ecotone hub init /srv/hub
      ecotone hub carry -c hub.yaml
      ecotone hub up -c hub.yaml
    """
    from ecotone.cli import hub_kept

    hub_kept.carried(folder, config_path, is_json=is_json)


COMMANDS: Final = {"reseal": reseal, "carry": carry}
