"""Releases, pins, uploads, publications and the hub's own work over `/admin`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ecotone.access import ALL, Actor, Subject, demand, demand_somewhere, may
from ecotone.hub import work_jobs
from ecotone.hub.collecting import COLLECT
from ecotone.hub.publications import Ask
from ecotone.hub.releases_fleet import folder
from ecotone.hub.releases_values import Release, Start, asked
from ecotone.hub.resigning import RESIGN, due
from ecotone.hub.uploads import PIECE_BYTES_MAX, Begin, Upload
from ecotone.trust.terms import TARGETS_BYTES_MAX
from ecotone.values import ConfigError, RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["DOORS", "UPLOADS"]

Texts = dict[str, str]
Answer = tuple[int, Any]
Door = Callable[["Hub", Actor, Texts, dict[str, Any], Texts], Answer]
UploadDoor = Callable[["Hub", Actor, Texts, Texts, Iterator[bytes]], tuple[int, Mapping[str, str], Any]]

_MOST: Final = 1000


def _start(hub: Hub, actor: Actor, _path: Texts, body: dict[str, Any], _query: Texts) -> Answer:
    return 201, hub.releases.start(actor, asked(Start, body))


def _list(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], query: Texts) -> Answer:
    demand_somewhere(actor, "fleet.read")
    limit, offset = _number(query, "limit", 50, _MOST), _number(query, "offset", 0, 1 << 31)
    found = hub.releases.list(limit, offset, query.get("name", ""))
    return 200, {"releases": [one for one in found if _sees(hub, actor, one)]}


def _show(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand_somewhere(actor, "fleet.read")
    found = hub.releases.show(path["id"])
    if not _sees(hub, actor, found):
        raise ConfigError("hub.unknown", f"there is no release '{found.id}' that you may see")
    return 200, found


def _pause(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, hub.releases.pause(actor, path["id"])


def _resume(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, hub.releases.resume(actor, path["id"])


def _abort(hub: Hub, actor: Actor, path: Texts, body: dict[str, Any], _query: Texts) -> Answer:
    is_back = body.get("is_back", True)
    if not isinstance(is_back, bool):
        raise RequestError("hub.asked", "is_back is true or false: whether the version before is wished again")
    return 200, hub.releases.abort(actor, path["id"], is_back=is_back)


def _pins(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand_somewhere(actor, "fleet.read")
    pins = hub.releases.pins()
    if not _sees_all(actor):
        sites = hub.sites.named(sorted({pin.site for pin in pins}))
        mine = {name for name, site in sites.items() if may(actor.person, "fleet.read", site.subject)}
        pins = [pin for pin in pins if pin.site in mine]
    return 200, {"pins": pins}


def _pin(hub: Hub, actor: Actor, path: Texts, body: dict[str, Any], _query: Texts) -> Answer:
    return 200, hub.releases.pin(actor, path["site"], path["name"], str(body.get("version", "")))


def _unpin(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, {"was_pinned": hub.releases.unpin(actor, path["site"], path["name"])}


def _changes(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], query: Texts) -> Answer:
    demand(actor, "fleet.read", hub.fleet.site(path["site"]).subject)
    return 200, {"changes": hub.reports.changes(path["site"], _number(query, "limit", 50, 200))}


def _assets(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand_somewhere(actor, "asset.read")
    found = [
        one
        for one in hub.repositories.assets()
        if may(actor.person, "asset.read", Subject(folder(one.asset.kind, one.asset.name)))
    ]
    return 200, {"assets": found, "publishers": hub.repositories.catalogue.publishers}


def _upload(hub: Hub, actor: Actor, _path: Texts, body: dict[str, Any], _query: Texts) -> Answer:
    return 201, hub.uploads.begin(actor, asked(Begin, body))


def _uploads(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, {"uploads": hub.uploads.list(actor)}


def _drop_upload(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    hub.uploads.drop(actor, path["id"])
    return 204, None


def _publish(hub: Hub, actor: Actor, _path: Texts, body: dict[str, Any], _query: Texts) -> Answer:
    return 202, hub.publications.begin(actor, asked(Ask, body))


def _publications(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], query: Texts) -> Answer:
    return 200, {"publications": hub.publications.list(actor, _number(query, "limit", 50, _MOST))}


def _publication(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, hub.publications.show(actor, path["id"])


def _manifest(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, {"manifest": _base64(hub.publications.manifest(actor, path["id"]))}


def _newest(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    return 200, {"metadata": _base64(hub.publications.newest(actor, path["name"]))}


def _drop(hub: Hub, actor: Actor, path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    hub.publications.drop(actor, path["id"])
    return 204, None


def _work(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand_somewhere(actor, "fleet.read")
    # What is due is named by releases and publications, of whatever group.
    return 200, {
        "tasks": hub.tasks.every() if _sees_all(actor) else [],
        "signatures": due(hub.repositories, hub.clock()),
    }


def _garbage(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand(actor, "hub.collect")
    return 200, work_jobs.collecting(hub).look()


def _collect(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand(actor, "hub.collect")
    hub.acts.write(actor.name, "hub.collect", "now")
    hub.tasks.wake(COLLECT, "")
    return 202, {}


def _sign(hub: Hub, actor: Actor, _path: Texts, _body: dict[str, Any], _query: Texts) -> Answer:
    demand(actor, "hub.sign")
    hub.acts.write(actor.name, "hub.sign", "now")
    hub.tasks.wake(RESIGN, "")
    return 202, {}


DOORS: Final[Mapping[tuple[str, str], Door]] = {
    ("POST", "/releases"): _start,
    ("GET", "/releases"): _list,
    ("GET", "/releases/{id}"): _show,
    ("POST", "/releases/{id}/pause"): _pause,
    ("POST", "/releases/{id}/resume"): _resume,
    ("POST", "/releases/{id}/abort"): _abort,
    ("GET", "/pins"): _pins,
    ("POST", "/pins/{site}/{name}"): _pin,
    ("DELETE", "/pins/{site}/{name}"): _unpin,
    ("GET", "/sites/{site}/changes"): _changes,
    ("GET", "/assets"): _assets,
    ("GET", "/uploads"): _uploads,
    ("POST", "/uploads"): _upload,
    ("DELETE", "/uploads/{id}"): _drop_upload,
    ("POST", "/publications"): _publish,
    ("GET", "/publications"): _publications,
    ("GET", "/publications/{id}"): _publication,
    ("GET", "/publications/{id}/manifest"): _manifest,
    ("DELETE", "/publications/{id}"): _drop,
    ("GET", "/publishers/{name}"): _newest,
    ("GET", "/work"): _work,
    ("GET", "/garbage"): _garbage,
    ("POST", "/garbage/collect"): _collect,
    ("POST", "/sign"): _sign,
}
"""(method, path below `/admin`) -> what is done there."""


def _at(hub: Hub, actor: Actor, path: Texts, _headers: Texts, _body: Iterator[bytes]) -> tuple[int, Texts, None]:
    return 204, _told(hub.uploads.at(actor, path["id"])), None


def _append(hub: Hub, actor: Actor, path: Texts, headers: Texts, body: Iterator[bytes]) -> tuple[int, Texts, None]:
    said = headers.get("upload-offset", "")
    if not said.isdecimal() or len(said) > 15:
        raise RequestError("hub.asked", "a piece says in the header Upload-Offset at which byte it begins")
    hub.uploads.append(actor, path["id"], int(said), body)
    return 204, _told(hub.uploads.at(actor, path["id"])), None


def _signed(hub: Hub, actor: Actor, path: Texts, _headers: Texts, body: Iterator[bytes]) -> tuple[int, Texts, Any]:
    raw = bytearray()
    for piece in body:
        raw += piece
        if len(raw) > TARGETS_BYTES_MAX:
            raise RequestError("hub.asked", f"signed metadata has at most {TARGETS_BYTES_MAX} bytes", status=413)
    return 202, {}, hub.publications.sign(actor, path["id"], bytes(raw))


UPLOADS: Final[Mapping[tuple[str, str], UploadDoor]] = {
    ("HEAD", "/uploads/{id}"): _at,
    ("PATCH", "/uploads/{id}"): _append,
    ("POST", "/publications/{id}/signed"): _signed,
}
"""The same, for bodies that are taken as they come: at most `PIECE_BYTES_MAX`."""


def _sees_all(actor: Actor) -> bool:
    return bool(may(actor.person, "fleet.read", ALL))


def _sees(hub: Hub, actor: Actor, release: Release) -> bool:
    """Whether somebody may see all the sites that a release goes over."""
    if _sees_all(actor):
        return True
    sites = [site for name, site in hub.sites.named().items() if release.scope.has(name, site.groups)]
    return bool(sites) and all(may(actor.person, "fleet.read", site.subject) for site in sites)


def _told(upload: Upload) -> Texts:
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.bytes),
        "Ecotone-Piece-Max": str(PIECE_BYTES_MAX),
        "Cache-Control": "no-store",
    }


def _number(query: Texts, name: str, default: int, most: int) -> int:
    said = query.get(name, str(default))
    if not said.isdecimal() or int(said[:12]) > most:
        raise RequestError("hub.asked", f"{name} is a number up to {most}")
    return int(said)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
