"""How a site takes what a hub signed, as the commands do it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ecotone.assets import Progress, files
from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.cli.shelf import shown_progress
from ecotone.config import Config, LocalTarget
from ecotone.delivery import bundle_reports, site_trust, versions
from ecotone.delivery.bundle import BundleSource
from ecotone.delivery.install import collect
from ecotone.delivery.neighbour import mirror
from ecotone.delivery.site_trust import Delivered
from ecotone.delivery.sources import FolderSource, HttpSource, Rate, Source
from ecotone.trust import Memory, terms
from ecotone.values import ConfigError, TrustError

_ROOTS_BYTES_MAX = 2_000_000


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `ecotone trust`."""

    roots: Path
    site: str
    fingerprint: str | None
    is_replaced: bool


def pinned(pin: Pin, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Pins a hub's roots."""
    path = pin.roots / "trust.json" if pin.roots.is_dir() else pin.roots
    try:
        with path.open("rb") as file:
            raw = file.read(_ROOTS_BYTES_MAX)
    except OSError as error:
        raise ConfigError("hub.file", f"{path} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(raw).hexdigest()
    if pin.fingerprint is not None and pin.fingerprint.strip().lower() != found:
        raise TrustError(
            "trust.fingerprint", f"{path} has the fingerprint {found}, not the one given: it is not trusted"
        )
    memory = site_trust.pin(raw, pin.site, _store(load(config_path, store)), is_replaced=pin.is_replaced)
    if is_json:
        show_json(_status(memory))
        return
    click.echo(f"this site is '{memory.site}' and trusts the hub with the fingerprint {memory.pinned}")
    if pin.fingerprint is None:
        click.echo("compare it with what `ecotone hub show` says at the hub", err=True)


def show_trust(config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Says what is trusted, and how stale it is."""
    root = _store(load(config_path, store))
    status = _status(site_trust.memory(root))
    # Also what a joined site took by itself, and went back to; not what was removed since.
    names = dict.fromkeys(one.name for one in versions.versions(root))
    used = [found for name in names if (found := versions.in_force(root, name)) is not None]
    status["installed"] = {one.name: one.version for one in used}
    if is_json:
        show_json(status)
        return
    click.echo(
        f"site         {status['site']}\nfingerprint  {status['fingerprint']}\ngeneration   {status['generation']}"
    )
    heard = "never" if status["heard_days_ago"] is None else f"{status['heard_days_ago']:.1f} days ago"
    stale = " (no longer fresh: what is installed goes on)" if status["is_stale"] else ""
    click.echo(f"hub heard    {heard}{stale}")
    for name, installed in status["installed"].items():
        click.echo(f"installed    hub:{name} {installed}")


def imported(file: Path, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Takes a bundle in."""
    tree = load(config_path, store)
    root = _store(tree)
    site = site_trust.memory(root).site
    with BundleSource(file) as source, shown_progress(is_quiet=is_json) as progress:
        if source.heading.site != site:
            raise TrustError(
                "trust.other_site",
                f"{file} was made for '{source.heading.site}', and this is '{site}': nothing is used",
            )
        done = site_trust.deliver(source, [source], root, is_import=True, progress=progress)
        bundle_reports.acknowledged(root, source.heading.acked_seq)
        _tidied(tree, root, progress)
    _say(done, is_json=is_json)


def taken(tree: Config, names: Sequence[str], folders: Sequence[Path], progress: Progress) -> Delivered:
    """Takes what a hub wants here, or the named of it: from the folders first, then from the hub of the configuration.

    Args:
        tree: The configuration.
        names: `hub:NAME[@VERSION]`; none: everything.
        folders: Copies of the hub's folder, on a stick or a share.
        progress: Told of all steps.

    Raises:
        ConfigError: `hub.url`, if there is neither a folder nor an address.
        TrustError, FetchError, StoreError: As `site_trust.deliver`.
    """
    packs: list[Source] = [FolderSource(folder) for folder in folders]
    signed = packs[:1]
    if tree.hub is not None:
        rate = _rate(tree)
        hub = HttpSource(tree.hub.url, rate)
        packs += [*(mirror(url, rate) for url in tree.hub.mirrors), hub]
        signed.append(hub)
    if not signed:
        raise ConfigError(
            "hub.url", "there is no hub to ask: set `hub.url` in the configuration, or give --from FOLDER"
        )
    wanted = [name.removeprefix("hub:").partition("/")[0] for name in names]
    store = _store(tree)
    done = site_trust.deliver(signed[0], packs, store, is_import=bool(folders), names=wanted, progress=progress)
    _tidied(tree, store, progress)
    return done


def _rate(tree: Config) -> Rate:
    """How the configuration lets deliveries use the link."""
    assert tree.hub is not None, "the caller has a hub"
    kbit = tree.hub.kbit_per_s_max
    rate = Rate(bytes_per_s=None if kbit is None else kbit * 125)
    if not tree.hub.in_windows:
        return rate
    # Imported here: only who waits for windows needs the site's own reading of them.
    from ecotone.runtime.build import budgets

    windows = budgets(tree).windows
    return msgspec.structs.replace(rate, is_open=lambda: windows.is_open(time.time()))


def _tidied(tree: Config, store: Path, progress: Progress) -> None:
    """What no configuration and nothing that runs can need any more goes."""
    local = [target for target in tree.targets.values() if isinstance(target, LocalTarget)]
    named = [name for target in local for name in (target.model, target.adapter) if name is not None]
    named += [*(terms.file for terms in tree.privacy.terms), *filter(None, [tree.privacy.topic_examples])]
    if freed := collect(store, in_use=named):
        progress.step(f"removed versions that nothing needs any more: {freed / 1e6:.1f} MB")


def _say(done: Delivered, *, is_json: bool) -> None:
    if is_json:
        show_json(done)
        return
    click.echo(f"generation {done.generation} of '{done.site}' is here:")
    for asset in done.assets:
        click.echo(f"  {asset.name}  {asset.path}")
    if not done.assets:
        click.echo("  (the hub wants nothing here)")


def _store(tree: Config) -> Path:
    path = Path(tree.store.path).expanduser()
    with files.durably(f"using {path}"):
        return files.folder(path)


def _status(memory: Memory) -> dict[str, Any]:
    now_s = max(time.time(), memory.floor_s)
    is_heard = memory.issued_s > 0
    return {
        "site": memory.site,
        "fingerprint": memory.pinned,
        "generation": memory.generation,
        "heard_days_ago": round((now_s - memory.issued_s) / terms.DAY_S, 2) if is_heard else None,
        "is_stale": is_heard and now_s > memory.expires_s,
    }
