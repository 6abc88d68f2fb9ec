"""What the commands of a hub do, and say."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from securesystemslib.signer import CryptoSigner

from ecotone.access import demand_rest, owner
from ecotone.assets import LineProgress, NoProgress
from ecotone.cli import extra
from ecotone.cli.hub_asking import known
from ecotone.cli.output import show_json
from ecotone.delivery import hub_keys, packs
from ecotone.delivery.hub_folder import Hub
from ecotone.transfer import Manifest, Requires
from ecotone.trust import terms
from ecotone.trust.agreeing import SiteState
from ecotone.values import ConfigError

_SOON_DAYS: Final = {"timestamp": 2.0, "snapshot": 30.0, "root": 90.0}
_SOON_DAYS_ELSE: Final = 60.0
_CARD_BYTES_MAX: Final = 1 << 16


class Publishing(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `hub publish`. `file`: the hub's configuration."""

    keys: Path | None
    key: Path
    file: Path | None
    about: Mapping[str, Any]


class Assigning(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `hub assign`. `file`: the hub's configuration. `region`: where the site stands."""

    keys: Path | None
    file: Path | None
    region: str


class Rotating(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `hub rotate` and `hub revoke`."""

    keys: Path | None
    root_keys: Sequence[Path]
    name: str


def init(folder: Path, publishers: Sequence[str], *, is_json: bool) -> None:
    """Makes a hub."""
    hub = _hub(folder)
    with hub.locked():
        paths = hub.create(publishers)
    if is_json:
        show_json({"hub": str(folder), "keys": [str(path) for path in paths], "fingerprint": _fingerprint(hub)})
        return
    click.echo(f"{folder} is a hub. Its keys are in {hub_keys.beside(folder)}, readable by you alone:\n")
    for path in paths:
        click.echo(f"  {path.name:28} {_destiny(path.stem)}")
    click.echo(
        f"\nPin {folder / 'trust.json'} at each site: ecotone trust trust.json --site NAME\n"
        f"Its fingerprint, to be compared there: {_fingerprint(hub)}\n"
        "Keys are not encrypted: what protects them is where they lie."
    )


def publish(folder: Path, paths: Sequence[Path], given: Publishing, *, is_json: bool) -> None:
    """Publishes a version, and announces it where the online key is at hand."""
    about, signer = given.about, hub_keys.read(given.key)
    what = packs.About(
        name=about["name"],
        version=about["version"],
        kind=about["kind"],
        licence=about["licence"],
        card=_card(about["card"]),
        lineage=tuple(about["lineage"]),
        requires=Requires(memory_bytes=about["needs_memory_mb"] << 20),
        residency=tuple(about["residency"]),
    )
    with _publishing(folder, given, what) as (hub, keys), hub.locked():
        earlier = [(named, hub.manifest(named.asset)) for named in hub.assets()]
        same = [manifest for named, manifest in earlier if named.asset.name == what.name]
        manifest = packs.publish(
            paths,
            hub.objects,
            what,
            earlier=[manifest for _, manifest in earlier],
            base=same[-1] if same else None,
            progress=NoProgress() if is_json else LineProgress(),
        )
        publisher = hub.publish(manifest, signer)
        is_announced = _announced(hub, keys, "online")
    _say_published(manifest, publisher, is_announced=is_announced, is_json=is_json)


@contextmanager
def _publishing(folder: Path, given: Publishing, what: packs.About) -> Iterator[tuple[Hub, Path]]:
    """The hub in a folder, or wherever its configuration says that it lies, where it is an act; and its keys."""
    if given.file is None:
        yield _hub(folder), _keys(folder, given.keys)
        return
    extra.server()
    from ecotone.hub import settings
    from ecotone.hub.serving import opened

    with opened(settings.load(folder, given.file)) as served:
        named = f"{what.name}@{what.version}"
        if region := served.settings.objects.region:
            demand_rest(what.residency, region, f"{named} at this hub")
        served.acts.write(f"local:{known()}", "publish.here", named)
        yield served.repositories, given.keys or served.settings.keys


def assign(folder: Path, site: str, assets: Sequence[str], given: Assigning, *, is_json: bool) -> None:
    """Says what a site shall have."""
    state = _assigned_here(folder, site, assets, given) or _assigned(folder, site, assets, given)
    if is_json:
        show_json(state)
        return
    what = ", ".join(f"{asset.name} {asset.version}" for asset in state.assets) or "nothing"
    click.echo(f"{site} shall have {what} (generation {state.generation})")


def _assigned(folder: Path, site: str, assets: Sequence[str], given: Assigning) -> SiteState:
    """By the director's key alone: a hub that knows no people and sites."""
    hub = _hub(folder)
    with hub.locked():
        wanted = [hub.find(*_split(text)).asset for text in assets]
        if len({asset.name for asset in wanted}) != len(wanted):
            raise ConfigError("hub.assign", "one asset is named twice: a site has one version of each")
        for asset in wanted:
            what = f"{asset.name} {asset.version} at {site} (`--region` says where the site stands)"
            demand_rest(hub.manifest(asset).residency, given.region, what)
        signer = hub_keys.read(_keys(folder, given.keys) / "director.key")
        state = hub.assign(site, wanted, signer)
        hub.refresh([signer])
    return state


def _assigned_here(folder: Path, site: str, assets: Sequence[str], given: Assigning) -> SiteState | None:
    """By a hub that has enrolled the site: it also asks where assets may rest, and writes the act. None: it has not."""
    if find_spec("sqlalchemy") is None:
        return None
    from ecotone.cli.hub_asking import known
    from ecotone.hub import settings
    from ecotone.hub.serving import opened
    from ecotone.hub.sites_assigning import assign as assigned

    chosen = settings.load(folder, given.file)
    if given.file is None and not (chosen.state / "hub.sqlite").exists():
        return None
    if given.keys is not None:
        chosen = msgspec.structs.replace(chosen, keys=given.keys)
    with opened(chosen) as hub:
        if hub.sites.get(site) is None:
            return None
        assigned(hub, owner(f"local:{known()}"), site, [_split(text) for text in assets])
        return hub.wishes.state(site)


def sign(folder: Path, keys: Path | None, *, is_json: bool) -> None:
    """Announces what is newest."""
    hub = _hub(folder)
    with hub.locked():
        done = hub.refresh(_present(_keys(folder, keys), ["online.key", "director.key"]))
    if is_json:
        show_json({"signed": done})
    else:
        click.echo(f"signed for 7 days on links and 180 days in bundles: {', '.join(done)}")


def rotate(folder: Path, role: str, given: Rotating, *, is_json: bool) -> None:
    """Makes new keys, and has the old ones' place taken by them."""
    hub, keys = _hub(folder), _keys(folder, given.keys)
    with hub.locked():
        roots = _roots(keys, given)
        fresh = [hub_keys.made() for _ in range(3 if role == "root" else 1)]
        stem = f"publisher-{given.name}" if role == "publisher" else role
        names = [f"root-{n}" for n in (1, 2, 3)] if role == "root" else [stem]
        # Under their final names the new ones come last: after a crash the old ones are still there.
        paths = [hub_keys.written(signer, keys / f"{name}.new.key") for signer, name in zip(fresh, names, strict=True)]
        try:
            _rotated(hub, role, given.name, roots, fresh)
        except ConfigError:
            # Refused before anything was written. After any other failure they may be the ones that count: they stay.
            for path in paths:
                path.unlink()
            raise
        paths = [_in_place(path) for path in paths]
        hub.refresh(_present(keys, ["online.key", "director.key"]))
    if is_json:
        show_json({"keys": [str(path) for path in paths], "fingerprint": _fingerprint(hub)})
        return
    for path in paths:
        click.echo(f"{path}  {_destiny(path.stem)}")
    click.echo("The former key counts for nothing any more; where it lay here it was kept as *.old.")


def revoke(folder: Path, what: str, given: Rotating, *, is_json: bool) -> None:
    """Takes trust back."""
    hub, keys = _hub(folder), _keys(folder, given.keys)
    with hub.locked():
        if what == "publisher":
            hub.revoke_publisher(given.name, _roots(keys, given))
        else:
            if len(given.root_keys) != 1:
                raise ConfigError("hub.keys", "a version is withdrawn by its publisher: give its key with --key")
            hub.withdraw(*_split(given.name), hub_keys.read(given.root_keys[0]))
        is_announced = _announced(hub, keys, "online")
    if is_json:
        show_json({"revoked": given.name, "is_announced": is_announced})
    else:
        click.echo(f"{given.name} is revoked{'' if is_announced else _UNANNOUNCED}")


def show(folder: Path, *, is_json: bool) -> None:
    """Shows a hub."""
    hub = _hub(folder)
    now_s = time.time()
    found = {
        "fingerprint": _fingerprint(hub),
        "publishers": hub.catalogue.publishers,
        "assets": [
            {"name": one.asset.name, "version": one.asset.version, "kind": one.asset.kind, "publisher": one.publisher}
            for one in hub.assets()
        ],
        "sites": [
            {
                "site": state.site,
                "generation": state.generation,
                "assets": [f"{asset.name}@{asset.version}" for asset in state.assets],
            }
            for state in hub.sites()
        ],
        "signed": _signed(hub, now_s),
    }
    if is_json:
        show_json(found)
        return
    from ecotone.cli.screen import show as show_screen

    click.echo(f"fingerprint of trust.json: {found['fingerprint']}\n")
    show_screen({key: found[key] for key in ("assets", "sites", "signed")})


_UNANNOUNCED: Final = "; it counts after `ecotone hub sign`, which has the online key"


def _rotated(hub: Hub, role: str, name: str, roots: Sequence[CryptoSigner], fresh: Sequence[CryptoSigner]) -> None:
    if role == "root":
        hub.rotate_root(roots, fresh)
    elif role == "publisher":
        hub.trust_publisher(name, roots, fresh[0])
    else:
        hub.rotate_online(role, roots, fresh[0])


def _roots(keys: Path, given: Rotating) -> list[CryptoSigner]:
    """The keys of the root: those that were named, else those that are here."""
    return hub_keys.every(given.root_keys or sorted(keys.glob("root-[0-9].key")))


def _in_place(path: Path) -> Path:
    final = path.with_name(path.name.replace(".new.key", ".key"))
    if final.exists():
        final.rename(final.with_name(f"{final.stem}.{int(time.time())}.old"))
    return path.rename(final)


def _hub(folder: Path) -> Hub:
    return Hub(folder, time.time())


def _keys(folder: Path, keys: Path | None) -> Path:
    return hub_keys.beside(folder) if keys is None else keys


def _present(keys: Path, names: Sequence[str]) -> list[CryptoSigner]:
    return hub_keys.every(path for name in names if (path := keys / name).exists())


def _announced(hub: Hub, keys: Path, name: str) -> bool:
    signers = _present(keys, [f"{name}.key"])
    if signers:
        hub.refresh(signers)
    return bool(signers)


def _say_published(manifest: Manifest, publisher: str, *, is_announced: bool, is_json: bool) -> None:
    if is_json:
        fields = {"name": manifest.name, "version": manifest.version, "publisher": publisher, "bytes": manifest.bytes}
        show_json({**fields, "is_announced": is_announced})
        return
    told = "" if is_announced else _UNANNOUNCED
    click.echo(f"{manifest.name} {manifest.version} is published by {publisher} ({manifest.bytes / 1e6:.1f} MB){told}")


def _signed(hub: Hub, now_s: float) -> list[dict[str, Any]]:
    rows = []
    for repository in (hub.catalogue, hub.director):
        roles = ["root", "timestamp", "targets", *(repository.publishers if repository is hub.catalogue else [])]
        for role in roles:
            content = {"root": lambda at: at.root, "timestamp": lambda at: at.timestamp()}.get(role)
            signed = content(repository) if content else repository.publisher(role)
            days = (signed.expires.timestamp() - now_s) / terms.DAY_S
            is_due = days < _SOON_DAYS.get(role, _SOON_DAYS_ELSE)
            row = {"repository": repository.name, "role": role, "version": signed.version, "days_left": round(days, 1)}
            rows.append({**row, "note": "sign soon" if is_due else ""})
    return rows


def _destiny(stem: str) -> str:
    if stem.startswith("root-"):
        return "offline: carry each to another place; two of three change everything"
    if stem.startswith("publisher-"):
        return "to the publisher, who signs with it and keeps it"
    what = "what is newest in the catalogue" if stem == "online" else "what each site shall have"
    return f"stays here: says {what}"


def _fingerprint(hub: Hub) -> str:
    return hashlib.sha256(hub.pins()).hexdigest()


def _split(text: str) -> tuple[str, str]:
    name, _, version = text.partition("@")
    return name, version


def _card(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            return file.read(_CARD_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("hub.card", f"the card {path} cannot be read as text (UTF-8)") from error
