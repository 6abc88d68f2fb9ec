"""One repository, verified as TUF's client workflow says, step by step: what is wanted goes out, bytes come in.

python-tuf's `TrustedMetadataSet` decides (it passes the conformance suite); this room gives it the documents in order,
a reference time that cannot be turned back, and two grades of timestamps.

Source: The Update Framework specification 1.0, 5.3-5.6; python-tuf 7.0.1, `tuf.ngclient.updater`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeAlias, TypeVar

import msgspec
from tuf.api.exceptions import BadVersionNumberError, EqualVersionNumberError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Signed, TargetFile
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from ecotone.trust import terms
from ecotone.trust.known import Known
from ecotone.trust.refusing import refusals
from ecotone.values import TrustError

__all__ = ["Reader", "Wanted", "Wants"]

_T = TypeVar("_T")


class Wanted(msgspec.Struct, frozen=True):
    """A document that is needed now.

    Attributes:
        path: Below the hub's folder.
        bytes_max: A longer one is refused.
        is_optional: It may well not be there: answer with None.
        sha256: What it must be, where that is known: whoever has it from earlier need not fetch it.
    """

    path: str
    bytes_max: int
    is_optional: bool = False
    sha256: str = ""


Wants: TypeAlias = Generator[Wanted, bytes | None, _T]
"""Gives what is wanted, takes its bytes (None: not there), returns what came of it."""


class Reader:
    """Verifies one repository. What held so far is in `known`, also when a later step is refused."""

    def __init__(self, repository: str, known: Known, now_s: float, *, is_import: bool) -> None:
        """Starts from what is known.

        Args:
            repository: `catalogue` or `director`.
            known: The root at least.
            now_s: Reference time, Unix seconds; never before the floor.
            is_import: Whether a bundle's timestamp will do.

        Raises:
            TrustError: `trust.malformed`, `trust.signature`, if the known root is none.
        """
        self._repository: Final = repository
        self._now: Final = datetime.fromtimestamp(now_s, UTC)
        self._is_import: Final = is_import
        self._root = known.root
        self._timestamp = known.timestamp
        self._snapshot = known.snapshot
        self._targets = dict(known.targets)
        with refusals(self._what("root")):
            self._set = self._started()

    @property
    def known(self) -> Known:
        """What to keep."""
        return Known(self._root, self._timestamp, self._snapshot, dict(self._targets))

    @property
    def issued_s(self) -> float:
        """The latest instant that was signed in what held."""
        return max((_issued_s(signed) for signed in self._set), default=0.0)

    @property
    def fresh(self) -> tuple[float, float]:
        """When the timestamp was signed, and until when it holds, Unix seconds; after `refreshed`."""
        timestamp = self._set.timestamp
        return _issued_s(timestamp), timestamp.expires.timestamp()

    def refreshed(self) -> Wants[None]:
        """Brings root, timestamp, snapshot and top targets up to date.

        Raises:
            TrustError: As `refusals` does; `trust.grade`; `trust.missing`.
        """
        yield from self._new_roots()
        yield from self._new_timestamp()
        yield from self._new_snapshot()
        yield from self._new_targets("targets", "root")

    def target(self, path: str) -> Wants[TargetFile | None]:
        """What the repository names under a path, by itself or by the publishers that it trusts with it; else None.

        Publishers delegate no further.
        """
        top = self._set.targets
        if path in top.targets:
            return top.targets[path]
        if top.delegations is None:
            return None
        for role, is_final in top.delegations.get_roles_for_target(path):
            if not terms.ROLE.fullmatch(role) or role in ("root", "timestamp", "snapshot", "targets"):
                raise TrustError("trust.malformed", f"{self._what('targets')} trusts a publisher whose name cannot be")
            publisher = yield from self._new_targets(role, "targets")
            if path in publisher:
                return publisher[path]
            if is_final:
                return None
        return None

    def document(self, path: str, target: TargetFile) -> Wants[bytes]:
        """The bytes of a target, which are those that were signed.

        Raises:
            TrustError: `trust.digest`, `trust.too_large`, `trust.missing`.
        """
        sha256 = target.hashes.get("sha256", "")
        if target.length > terms.DOCUMENT_BYTES_MAX or not sha256:
            raise TrustError("trust.too_large", f"{path} is longer than any manifest, or has no SHA-256")
        where = terms.target(self._repository, path, sha256)
        content = yield from self._fetched(Wanted(where, target.length, sha256=sha256))
        try:
            target.verify_length_and_hashes(content)
        except RepositoryError as error:
            raise TrustError("trust.digest", f"{where} is not what was signed: nothing of it is used") from error
        return content

    def _new_roots(self) -> Wants[None]:
        for _ in range(terms.ROOTS_MAX):
            path = terms.metadata(self._repository, f"{self._set.root.version + 1}.root.json")
            content = yield Wanted(path, terms.ROOT_BYTES_MAX, is_optional=True)
            if content is None:
                return
            with refusals(path):
                self._set.update_root(content)
            self._root = content
        raise TrustError("trust.too_large", f"{self._repository}: more than {terms.ROOTS_MAX} new roots at once")

    def _new_timestamp(self) -> Wants[None]:
        grade = terms.BUNDLE if self._is_import else "timestamp"
        path = terms.metadata(self._repository, f"{grade}.json")
        content = yield from self._fetched(Wanted(path, terms.TIMESTAMP_BYTES_MAX))
        with refusals(path):
            fresh = self._started()
            fresh.update_timestamp(content)
        self._graded(fresh.timestamp, path)
        earlier = self._started()
        with suppress(ExpiredMetadataError), suppress(RepositoryError):
            # One that was signed by a key which has been replaced does not bind: so a stolen key is outlived.
            if self._timestamp:
                earlier.update_timestamp(self._timestamp)
        with refusals(path):
            if "timestamp" in [signed.type for signed in earlier]:
                with suppress(EqualVersionNumberError):
                    earlier.update_timestamp(content)
                if earlier.timestamp.snapshot_meta.version != fresh.timestamp.snapshot_meta.version:
                    raise BadVersionNumberError("two timestamps of one version")
        self._set, self._timestamp = fresh, content

    def _graded(self, timestamp: Signed, path: str) -> None:
        """Refuses what is meant for a stick where a link is, or what was signed for longer than its grade allows."""
        grade = str(timestamp.unrecognized_fields.get(terms.GRADE))
        allowed = (terms.ONLINE, terms.BUNDLE) if self._is_import else (terms.ONLINE,)
        if grade not in allowed:
            raise TrustError(
                "trust.grade",
                f"{path} is meant for a bundle and says nothing of today: it is not taken from a link. Find out who "
                "put it there",
            )
        lifetime_s = timestamp.expires.timestamp() - _issued_s(timestamp)
        if not 0 <= lifetime_s <= terms.LIFETIME_S[grade] + terms.DAY_S:
            raise TrustError("trust.grade", f"{path} was signed for longer than its grade allows: nothing is used")

    def _new_snapshot(self) -> Wants[None]:
        with suppress(RepositoryError):
            if self._snapshot:
                self._set.update_snapshot(self._snapshot, trusted=True)
                return
        version = self._set.timestamp.snapshot_meta.version
        path = terms.metadata(self._repository, f"{version}.snapshot.json")
        content = yield from self._fetched(Wanted(path, terms.SNAPSHOT_BYTES_MAX))
        with refusals(path):
            self._set.update_snapshot(content)
        self._snapshot = content

    def _new_targets(self, role: str, delegator: str) -> Wants[dict[str, TargetFile]]:
        with suppress(RepositoryError):
            if role in self._targets:
                return self._set.update_delegated_targets(self._targets[role], role, delegator).targets
        meta = self._set.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise TrustError("trust.mixed", f"{self._repository}: the snapshot does not name {role}")
        path = terms.metadata(self._repository, f"{meta.version}.{role}.json")
        content = yield from self._fetched(Wanted(path, terms.TARGETS_BYTES_MAX))
        with refusals(path):
            found = self._set.update_delegated_targets(content, role, delegator).targets
        self._targets[role] = content
        return found

    def _fetched(self, wanted: Wanted) -> Wants[bytes]:
        content = yield wanted
        if content is None:
            raise TrustError(
                "trust.missing", f"{wanted.path} is announced and not there: the copy of the hub is incomplete"
            )
        if len(content) > wanted.bytes_max:
            raise TrustError(
                "trust.too_large", f"{wanted.path} is longer than {wanted.bytes_max} bytes: it is not read"
            )
        return content

    def _started(self) -> TrustedMetadataSet:
        started = TrustedMetadataSet(self._root, EnvelopeType.METADATA)
        started.reference_time = self._now
        return started

    def _what(self, role: str) -> str:
        return f"the {self._repository}'s {role}"


def _issued_s(signed: Signed) -> float:
    """When it was signed, as it says itself; 0: it does not."""
    issued_s = signed.unrecognized_fields.get(terms.ISSUED_AT, 0)
    return float(issued_s) if isinstance(issued_s, int | float) and 0 <= issued_s < 1e11 else 0.0
