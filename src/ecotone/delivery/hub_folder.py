"""A hub's files: what publishers have signed, what each site shall have, and the keys that say so.

    HUB/catalogue, HUB/director     two signed repositories
    HUB/packs                       the weights
    HUB/trust.json                  the roots, to be pinned at every site
    HUB.keys/                       private keys, beside the folder and never in it

Everything in HUB is public and may be copied, served and mirrored by anything: it is worth what its signatures are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile, Targets

from ecotone.assets import files
from ecotone.delivery import hub_keys
from ecotone.delivery.assigning import Assigning
from ecotone.delivery.objects import Folder, Objects, placed
from ecotone.delivery.repository import Repository
from ecotone.transfer import Manifest, decode, encode
from ecotone.trust import terms, writing
from ecotone.trust.agreeing import Asset, SiteState
from ecotone.trust.known import Roots
from ecotone.values import ConfigError

__all__ = ["Hub", "Named"]

LOCK_WAIT_S: Final = 30.0


class Named(msgspec.Struct, frozen=True):
    """One published version, as the catalogue names it."""

    asset: Asset
    publisher: str
    published_s: int


class Hub:
    """Everything that an operator does with a hub's files. One process at a time writes (`locked`)."""

    def __init__(
        self,
        where: Path | Objects,
        now_s: float | Callable[[], float],
        lock: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """Looks at nothing yet.

        Args:
            where: The hub's folder, or what else its files lie in.
            now_s: Unix seconds, or what gives them; what is signed says so.
            lock: What else is held by who writes; a bucket needs one, a folder has its own.
        """
        self.objects: Final = placed(where)
        self.catalogue: Final = Repository(self.objects, terms.CATALOGUE)
        self.director: Final = Repository(self.objects, terms.DIRECTOR)
        self._assigning: Final = Assigning(self.director)
        self._clock: Final = now_s
        self._lock: Final = lock

    @property
    def folder(self) -> Path:
        """The hub's folder.

        Raises:
            ConfigError: `hub.folder`: it lies in none.
        """
        if isinstance(self.objects, Folder):
            return self.objects.path
        raise ConfigError("hub.folder", f"this hub lies in {self.objects.where}, and not in a folder of this machine")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes meanwhile.

        Raises:
            StoreError: `asset.busy`, `hub.busy`.
        """
        with ExitStack() as held:
            if self._lock is not None:
                held.enter_context(self._lock())
            if (local := self.objects.local) is not None:
                with files.durably(f"locking {local}"):
                    keys = files.folder(hub_keys.beside(local))
                held.enter_context(files.locked(keys / ".lock", LOCK_WAIT_S))
            assert self._lock is not None or local is not None, "a bucket has no lock of its own"
            yield

    def create(self, publishers: Sequence[str], root_keys: int = 3, keys: Path | None = None) -> list[Path]:
        """Makes the first files, and the keys in a folder (beside a hub's own); gives the files of the keys.

        Raises:
            ConfigError: `hub.folder`, if there is something; `hub.name`.
        """
        local = self.objects.local
        if (local is not None and local.exists() and any(local.iterdir())) or next(
            iter(self.objects.list("")), None
        ) is not None:
            raise ConfigError("hub.folder", f"{self.objects.where} is not empty: a new hub takes a new folder")
        for publisher in publishers:
            _named(publisher, "publisher")
        roots = [hub_keys.made() for _ in range(root_keys)]
        online, director = hub_keys.made(), hub_keys.made()
        people = {publisher: hub_keys.made() for publisher in publishers}
        keys = keys or hub_keys.beside(self.folder)
        named = [(f"root-{n}", signer) for n, signer in enumerate(roots, 1)]
        named += [("online", online), ("director", director)]
        named += [(f"publisher-{publisher}", signer) for publisher, signer in people.items()]
        paths = [hub_keys.written(signer, keys / f"{name}.key") for name, signer in named]

        catalogue = Targets(version=1)
        for publisher, signer in people.items():
            writing.delegated(catalogue, publisher, signer.public_key, terms.FOLDERS)
        offline = [signer.public_key for signer in roots]
        self._first(self.catalogue, roots, {"timestamp": online, "snapshot": online}, offline, catalogue)
        for publisher, signer in people.items():
            self.catalogue.write(publisher, Targets(version=1), [signer], self._now(), self.catalogue.targets)
        wants = {"timestamp": director, "snapshot": director, "targets": director}
        self._first(self.director, [*roots, director], wants, offline, Targets(version=1))
        self._pin()
        self.refresh([online, director])
        return paths

    def publish(self, manifest: Manifest, signer: CryptoSigner) -> str:
        """Signs a manifest as the publisher whose key it is; gives who that is. It counts after `refresh`.

        Raises:
            ConfigError: `hub.version`, if that version is another already; `hub.kind`; `hub.keys`, if no publisher has
                the key.
        """
        self.demand_kind(manifest.name, manifest.kind)
        path = terms.asset_path(manifest.kind, manifest.name, manifest.version)
        role = self._holder(signer, path)
        raw = encode(manifest)
        targets = self.catalogue.publisher(role)
        known = self._every().get(path)
        if known is not None and known.asset.sha256 != hashlib.sha256(raw).hexdigest():
            raise ConfigError(
                "hub.version",
                f"{manifest.name} {manifest.version} is published already, and is another: a version is "
                "never changed. Give it a new one",
            )
        targets.targets[path] = self.catalogue.add_document(path, raw, self._now())
        targets.version = self._next(self.catalogue.version(role))
        self.catalogue.write(role, targets, [signer], self._now(), self.catalogue.targets)
        return role

    def demand_kind(self, name: str, kind: str) -> None:
        """Goes on only if no asset of another kind has that name: sites know assets by name alone.

        Raises:
            ConfigError: `hub.kind`.
        """
        others = {one.asset.kind for one in self._every().values() if one.asset.name == name} - {kind}
        if others:
            raise ConfigError(
                "hub.kind",
                f"'{name}' is the name of a {min(others)} here, and sites say hub:{name}: give this {kind} another one",
            )

    def withdraw(self, name: str, version: str, signer: CryptoSigner) -> None:
        """The publisher no longer stands by a version: no site installs it any more. It counts after `refresh`.

        Raises:
            ConfigError: `hub.unknown`, `hub.keys`.
        """
        named = self.find(name, version)
        path = _path(named.asset)
        role = self._holder(signer, path)
        targets = self.catalogue.publisher(role)
        if targets.targets.pop(path, None) is None:
            raise ConfigError("hub.keys", f"{name} {version} was published by {named.publisher}: its key is needed")
        targets.version = self._next(self.catalogue.version(role))
        self.catalogue.write(role, targets, [signer], self._now(), self.catalogue.targets)

    def assign(self, site: str, wanted: Iterable[Asset], signer: CryptoSigner) -> SiteState:
        """What the site shall have from now on: these and nothing else. It counts after `refresh`.

        Raises:
            ConfigError: `hub.name`, `hub.keys`.
        """
        return self.assign_many({site: tuple(wanted)}, signer)[site]

    def assign_many(
        self,
        wanted: Mapping[str, Sequence[Asset]],
        signer: CryptoSigner,
        floors: Mapping[str, int] = MappingProxyType({}),
    ) -> dict[str, SiteState]:
        """What each of these sites shall have from now on, in one new version. It counts after `refresh`.

        Args:
            wanted: Site -> all that it shall have.
            signer: The director's key.
            floors: Site -> a generation that it knows: the new one is above it.

        Raises:
            ConfigError: `hub.name`, `hub.keys`.
        """
        for site in wanted:
            _named(site, "site")
        return self._assigning.set(wanted, signer, floors, self._now())

    def renew(self, signer: CryptoSigner) -> list[str]:
        """Signs anew what the director has to say and what ends soon; gives those roles. It counts after `refresh`.

        Raises:
            ConfigError: `hub.keys`.
        """
        return self._assigning.renew(signer, self._now())

    def refresh(self, signers: Iterable[CryptoSigner]) -> list[str]:
        """Announces what is newest, in each repository whose online key is given; gives their names.

        Raises:
            ConfigError: `hub.keys`, if none is.
        """
        done = []
        for repository in (self.catalogue, self.director):
            ids = repository.root.roles["timestamp"].keyids
            for signer in signers:
                if signer.public_key.keyid in ids:
                    repository.refresh(signer, self._now())
                    done.append(repository.name)
                    break
        if not done:
            raise ConfigError(
                "hub.keys", "neither the online key nor the director's key was given: nothing is announced"
            )
        return done

    def assets(self) -> list[Named]:
        """All published versions, oldest first."""
        return sorted(
            self._every().values(), key=lambda named: (named.published_s, named.asset.name, named.asset.version)
        )

    def find(self, name: str, version: str = "") -> Named:
        """A version; without `version` the one that was published last.

        Raises:
            ConfigError: `hub.unknown`.
        """
        found = [one for one in self.assets() if one.asset.name == name and version in ("", one.asset.version)]
        if not found:
            what = f"{name}@{version}" if version else name
            raise ConfigError("hub.unknown", f"'{what}' is not published here: `ecotone hub show` lists what is")
        return found[-1]

    def manifest(self, asset: Asset) -> Manifest:
        """The manifest of a version.

        Raises:
            TrustError: `trust.digest`, `trust.missing`, `delivery.manifest`.
        """
        path = _path(asset)
        return decode(self.catalogue.document(path, self._target(path, asset)))

    def state(self, site: str) -> SiteState:
        """What a site shall have.

        Raises:
            ConfigError: `hub.unknown`.
            TrustError: `trust.digest`, `trust.missing`.
        """
        return msgspec.json.decode(
            self.director.document(terms.site_path(site), self.site_target(site)), type=SiteState
        )

    def site_target(self, site: str) -> TargetFile:
        """What is signed of the document of a site.

        Raises:
            ConfigError: `hub.unknown`.
        """
        target = self._assigning.target(site)
        if target is None:
            raise ConfigError("hub.unknown", f"nothing is assigned to a site '{site}': `ecotone hub assign` does")
        return target

    def director_roles(self, site: str) -> list[str]:
        """Whose metadata a site must read to find its own document, in order."""
        return self._assigning.roles(site)

    def generations(self) -> dict[str, int]:
        """Of every site, without a look into its document."""
        return self._assigning.generations()

    def has_unannounced(self) -> bool:
        """Whether the director has signed something that `refresh` has yet to announce."""
        return self._assigning.has_unannounced()

    def earlier_state(self, site: str, generation: int) -> SiteState:
        """What a site had to have in an earlier generation.

        Raises:
            ConfigError: `hub.unknown`.
        """
        for one in self.objects.list(f"{terms.DIRECTOR}/targets/sites/"):
            if one.name.endswith(f".{site}.json"):
                state = msgspec.json.decode(self.objects.get(one.name), type=SiteState)
                if state.generation == generation and state.site == site:
                    return state
        raise ConfigError("hub.unknown", f"the hub knows no generation {generation} of '{site}'")

    def sites(self) -> list[SiteState]:
        """What every site shall have."""
        return [self.state(site) for site in sorted(self.generations())]

    def pins(self) -> bytes:
        """The file to be pinned at sites."""
        try:
            return self.objects.get("trust.json")
        except FileNotFoundError as error:
            raise ConfigError(
                "hub.folder", f"{self.objects.where} is no hub's folder (trust.json): `ecotone hub init` makes one"
            ) from error

    def rotate_root(self, old: Sequence[CryptoSigner], new: Sequence[CryptoSigner]) -> None:
        """New keys for both roots and the list of publishers. It counts after `refresh`.

        Raises:
            ConfigError: `hub.keys`, if too few of the old ones are given.
        """
        offline = [signer.public_key for signer in new]
        signed = []
        for repository in (self.catalogue, self.director):
            before = repository.root
            roles: dict[str, list[Any]] = {
                role: [before.keys[key] for key in one.keyids] for role, one in before.roles.items() if role != "root"
            }
            if repository is self.catalogue:
                roles["targets"] = offline
            after = writing.root(before.version + 1, offline, roles)
            data = repository.signed("root", after, [*old, *new], self._now(), before, after)
            signed.append((repository, after, data))
        for repository, after, data in signed:
            repository.put(f"{after.version}.root.json", data)
        targets = self.catalogue.targets
        targets.version = self._next(targets.version)
        self.catalogue.write("targets", targets, new, self._now(), self.catalogue.root)
        self._pin()

    def rotate_online(self, role: str, roots: Sequence[CryptoSigner], new: CryptoSigner) -> None:
        """A new key in place of the catalogue's `online` or the `director` one. It counts after `refresh`.

        Raises:
            ConfigError: `hub.keys`.
        """
        repository = self.catalogue if role == "online" else self.director
        before = repository.root
        offline = [before.keys[keyid] for keyid in before.roles["root"].keyids]
        public = [new.public_key]
        targets = offline if role == "online" else public
        wants = {"timestamp": public, "snapshot": public, "targets": targets}
        after = writing.root(before.version + 1, offline, wants)
        repository.write("root", after, roots, self._now(), before, after)
        if role == "director":
            self._assigning.rekeyed(new, self._now(), after)
        self._pin()

    def trust_publisher(self, publisher: str, roots: Sequence[CryptoSigner], new: CryptoSigner) -> None:
        """The publisher's key is this one from now on; one that is new is added. It counts after `refresh`.

        What the publisher had published is signed anew: look at it first, if the old key was stolen.

        Raises:
            ConfigError: `hub.keys`, `hub.name`.
        """
        _named(publisher, "publisher")
        number = self.catalogue.version(publisher)
        content = self.catalogue.publisher(publisher) if number else Targets(version=1)
        content.version = self._next(number)
        targets = self.catalogue.targets
        writing.delegated(targets, publisher, new.public_key, terms.FOLDERS)
        targets.version = self._next(targets.version)
        data = self.catalogue.signed("targets", targets, roots, self._now(), self.catalogue.root)
        self.catalogue.write(publisher, content, [new], self._now(), targets)
        self.catalogue.put(f"{targets.version}.targets.json", data)

    def revoke_publisher(self, publisher: str, roots: Sequence[CryptoSigner]) -> None:
        """Nothing of the publisher is trusted any more, its former versions included. It counts after `refresh`.

        Raises:
            ConfigError: `hub.unknown`, `hub.keys`.
        """
        if publisher not in self.catalogue.publishers:
            raise ConfigError("hub.unknown", f"there is no publisher '{publisher}'")
        targets = self.catalogue.targets
        writing.undelegated(targets, publisher)
        targets.version = self._next(targets.version)
        self.catalogue.write("targets", targets, roots, self._now(), self.catalogue.root)

    def _now(self) -> float:
        return self._clock() if callable(self._clock) else self._clock

    def _next(self, newest: int) -> int:
        return writing.next_version(newest, self._now())

    def _first(
        self,
        at: Repository,
        signers: Sequence[CryptoSigner],
        wants: dict[str, CryptoSigner],
        offline: list[Any],
        top: Targets,
    ) -> None:
        roles = {role: [signer.public_key] for role, signer in wants.items()}
        root = writing.root(1, offline, {"targets": offline, **roles})
        at.write("root", root, signers, self._now(), root)
        at.write("targets", top, signers, self._now(), root)

    def _pin(self) -> None:
        roots = Roots(
            Roots.TYPE, msgspec.Raw(self.catalogue.content("root")), msgspec.Raw(self.director.content("root"))
        )
        self.objects.put("trust.json", roots.encode())

    def _holder(self, signer: CryptoSigner, path: str) -> str:
        delegations = self.catalogue.targets.delegations
        for role in (delegations.roles or {}).values() if delegations else ():
            if signer.public_key.keyid in role.keyids and role.is_delegated_path(path):
                return role.name
        raise ConfigError(
            "hub.keys", f"no publisher that may publish {path} has this key: `ecotone hub show` lists them"
        )

    def _target(self, path: str, asset: Asset) -> TargetFile:
        return TargetFile(asset.bytes, {"sha256": asset.sha256}, path)

    def _every(self) -> dict[str, Named]:
        found: dict[str, Named] = {}
        for publisher in self.catalogue.publishers:
            for path, target in self.catalogue.publisher(publisher).targets.items():
                found.setdefault(path, _named_asset(path, target, publisher))
        return found


def _path(asset: Asset) -> str:
    return terms.asset_path(asset.kind, asset.name, asset.version)


def _named_asset(path: str, target: TargetFile, publisher: str) -> Named:
    folder, _, full = path.partition("/")
    name, _, version = full.partition("@")
    kind = next(kind for kind, place in terms.FOLDERS.items() if place == folder)
    fields = {"name": name, "version": version, "kind": kind, "sha256": target.hashes["sha256"], "bytes": target.length}
    custom = target.custom if isinstance(target.custom, dict) else {}
    return Named(msgspec.convert(fields, Asset), publisher, int(custom.get("published_s", 0)))


def _named(name: str, what: str) -> None:
    if not terms.ROLE.fullmatch(name) or name in ("root", "targets", "snapshot", "timestamp", "bundle"):
        raise ConfigError(
            "hub.name", f"'{name[:80]}' cannot be the name of a {what}: give small letters, digits and '-', at most 40"
        )
