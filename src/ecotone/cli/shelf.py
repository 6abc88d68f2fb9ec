"""The local models, as the commands show them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ecotone import assets
from ecotone.cli import extra
from ecotone.cli.progress import BarProgress, is_terminal
from ecotone.cli.settings import load
from ecotone.config import Config, LocalTarget
from ecotone.values import ConfigError


def open_shelf(config_path: Path | None, store: str | None) -> assets.AssetStore:
    """The store of the configuration, or of `--store`."""
    return assets.open_store(load(config_path, store).store.path)


def removed(store: assets.AssetStore, name: str) -> assets.Asset:
    """Removes a model; of a hub's, every version and all their files that nothing else names.

    Raises:
        ConfigError: `asset.unknown`, if it is not here.
        StoreError: `asset.in_use`, `asset.index`, `asset.io`, `asset.busy`.
    """
    if not name.startswith("hub:"):
        return store.rm(name)
    from ecotone.delivery.install import remove

    asset = store.resolve(name)
    bare = name.removeprefix("hub:")
    if asset is None or "@" in bare or "/" in bare:
        raise ConfigError("asset.unknown", f"'{name[:200]}' is not here: give hub:NAME as `ecotone models list` has it")
    remove(store.root.parent, bare)
    return asset


def rows(store: assets.AssetStore) -> list[dict[str, Any]]:
    """What is here, then what the catalogue has besides."""
    here = {asset.name: asset for asset in store.list()}
    found: list[dict[str, Any]] = [{"here": True, **_row(asset)} for asset in here.values()]
    found += [{"here": False, **_entry(entry)} for name, entry in assets.entries().items() if name not in here]
    return found


def show(found: list[dict[str, Any]]) -> None:
    """Prints the rows as a table."""
    from ecotone.cli.screen import show as show_screen

    columns = ("name", "here", "bytes", "context_tokens", "licence", "description")
    show_screen({"models": [{column: row.get(column) for column in columns} for row in found]})


def pulled(
    tree: Config, names: tuple[str, ...], sha256: str | None, folders: tuple[Path, ...] = (), *, is_quiet: bool
) -> list[dict[str, Any]]:
    """Fetches the models into the store of the configuration, and gives a row for each.

    Args:
        tree: The configuration.
        names: Which; none: all local ones of the configuration.
        sha256: What the one that is named must have.
        folders: Copies of the hub's folder, for `hub:NAME`.
        is_quiet: Whether nothing is shown meanwhile.
    """
    store = assets.open_store(tree.store.path)
    wanted: list[tuple[str, str | None]] = [(name, sha256) for name in names]
    if not names:
        local = [target for target in tree.targets.values() if isinstance(target, LocalTarget)]
        wanted = list(dict.fromkeys((target.model, target.sha256) for target in local))
    done = []
    with shown_progress(is_quiet=is_quiet) as progress:
        if signed := [name for name, _ in wanted if name.startswith("hub:")]:
            extra.signed_delivery()
            from ecotone.cli.delivering import taken

            done += [_row(asset) for asset in taken(tree, signed, folders, progress).assets]
        for name, digest in wanted:
            if name.startswith("hub:"):
                continue
            asset = store.pull(name, digest, progress)
            done.append(_row(asset))
            if not is_quiet:
                progress.step(f"{asset.name}: {asset.path}")
    if not wanted and not is_quiet:
        click.echo("the configuration has no local models", err=True)
    return done


@contextlib.contextmanager
def shown_progress(*, is_quiet: bool) -> Iterator[assets.Progress]:
    """A bar on a terminal, one line per step without one, nothing where it shall be quiet."""
    if is_quiet:
        yield assets.NoProgress()
    elif is_terminal():
        with BarProgress() as bar:
            yield bar
    else:
        yield assets.LineProgress()


def _row(asset: assets.Asset) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(asset)
    return row


def _entry(entry: assets.Entry) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(entry)
    return row
