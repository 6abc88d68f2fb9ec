"""What a site shall have, said without a release: asked of `access`, of where assets may rest, and written down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ecotone.access import Actor, Good, Subject, demand, demand_hold, demand_somewhere
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError, RefusalError, RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["assign"]


def assign(hub: Hub, actor: Actor, site: str, wanted: Sequence[tuple[str, str]]) -> int:
    """Says that an enrolled site shall have these assets and no others; the generation that says so.

    Args:
        wanted: (name, version) of each; with `''` for a version the one that was published last.

    Raises:
        ConfigError: `hub.unknown`, `hub.assign`.
        RequestError: `hub.unknown_site`.
        RefusalError: `hub.may`: it must hold for each asset, of those it has too; `hub.residency`, `hub.confined`,
            `hub.revoked`.
    """
    demand_somewhere(actor, "site.assign")
    known = hub.sites.get(site)
    if known is None:
        raise RequestError("hub.unknown_site", "no site of this name is enrolled here", status=404)
    if known.state != "enrolled":
        raise RefusalError("hub.revoked", f"'{site}' was revoked: it gets nothing")
    rules, assets = hub.sites.rules.all(), list[Asset]()
    for name, version in wanted:
        asset = hub.repositories.find(name, version).asset
        manifest = hub.repositories.manifest(asset)
        demand_hold(known.place, Good(_folder(asset), tuple(manifest.residency)), rules)
        assets.append(asset)
    if len({asset.name for asset in assets}) != len(assets):
        raise ConfigError("hub.assign", "one asset is named twice: a site has one version of each")
    state = hub.wishes.state(site)
    touched = {_folder(asset) for asset in (*assets, *(state.assets if state else ()))}
    demand(actor, "site.assign", *(Subject(asset, known.groups, known.region) for asset in sorted(touched)))
    said = msgspec.json.encode({"site": site, "assets": assets}, order="deterministic")
    hub.acts.write(actor.name, "site.assign", f"site:{site}", hashlib.sha256(said).hexdigest(), assets=len(assets))
    return hub.wishes.set({site: assets}, f"assigned by {actor.name}")[site]


def _folder(asset: Asset) -> str:
    return f"{terms.FOLDERS[asset.kind]}/{asset.name}"
