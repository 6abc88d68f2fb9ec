"""What a ledger says of one request, put together: how it was placed, how it ended, and how its answers compared.

Entries of one request lie far apart, and a ledger may hold millions: a case is given out as soon as all is there that
is awaited, and only so many wait at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from ecotone.values import Ask, Candidate, Egress, Mode, Place, Placement
from ecotone.values.quality import Pair, Role
from ecotone.values.reasons import CLOUD_BETTER, EDGE_GOOD_ENOUGH, EDGE_PINNED

__all__ = ["KINDS", "WAITING_MAX", "Case", "Ended", "Joiner", "Placed"]

KINDS: Final = ("placed", "outcome", "compared")
"""The entries that a case is made of."""
WAITING_MAX: Final = 20_000
"""So many requests wait for their other entries; the oldest goes first."""
_MEANT: Final = frozenset({EDGE_GOOD_ENOUGH, CLOUD_BETTER})
"""Reasons of a placement that quality decides; whatever a rule or an outage decides is no sample of it."""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """What is needed of a `placed` entry.

    Attributes:
        needs: What the request asked for: `tools`, `json_schema` ...
        pending: Detectors that had not looked when it was decided.
        purpose: `''` for a caller's own request; else why the site asked by itself: `shadow`, `judge`.
    """

    request: str
    model: str
    ask: Ask
    candidates: tuple[Candidate, ...]
    placement: Placement
    endpoint: str = ""
    key: str = ""
    labels: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    purpose: str = ""

    def candidate(self, target: str) -> Candidate | None:
        """What was known of a target; None where it was not among the candidates."""
        return next((one for one in self.candidates if one.target == target), None)

    @property
    def is_promised(self) -> bool:
        """Whether the promise is about this request: the edge and the cloud might both answer it, and no rule chose."""
        if not self.ask.role or not {self.drawn_edge, self.reference} <= set(self.placement.order):
            return False
        cloud = self.candidate(self.reference)
        is_free = cloud is not None and cloud.limit.egress is Egress.FREE
        return is_free and self._is_meant(self.placement.reason)

    @property
    def drawn_edge(self) -> str:
        """The edge target that its pair is about, drawn by its seed; `''` without any."""
        edges = self._at(Place.EDGE)
        return edges[self.ask.seed % len(edges)] if edges else ""

    @property
    def reference(self) -> str:
        """The cloud target that edge answers are compared with; `''` without any."""
        return next(iter(self._at(Place.CLOUD)), "")

    def _at(self, place: Place) -> list[str]:
        return [one.target for one in self.candidates if one.at is place]

    def _is_meant(self, reason: str) -> bool:
        return reason in _MEANT or (self.ask.mode is Mode.EDGE and reason == EDGE_PINNED)

    @property
    def cloud(self) -> Candidate | None:
        """The cloud target that would answer: the first in the order, else the first that policy lets it go to."""
        rank = {name: place for place, name in enumerate(self.placement.order)}
        lost = {loss.target for loss in self.placement.lost if loss.obstacle in ("policy", "no_cloud", "wish")}
        able = [one for one in self.candidates if one.at is Place.CLOUD and one.target not in lost]
        return min(able, key=lambda one: rank.get(one.target, len(rank)), default=None)


class Ended(msgspec.Struct, frozen=True, gc=False):
    """What is needed of an `outcome` entry."""

    request: str
    ending: str
    reason: str = ""
    target: str = ""
    at: str = ""
    ttft_s: float | None = None
    total_s: float = 0.0
    cost_usd: float = 0.0
    egress_bytes: int = 0


class Case(msgspec.Struct, gc=False):
    """One request.

    Attributes:
        at_ms: When it was placed, milliseconds since the Unix epoch.
        ended: None where the ledger does not say (yet).
        pair: How its answers compared, or None.
        promised: Kept for `is_promised`.
    """

    at_ms: int
    placed: Placed
    ended: Ended | None = None
    pair: Pair | None = None
    promised: bool | None = None

    @property
    def is_promised(self) -> bool:
        """As `Placed.is_promised`; found out once."""
        if self.promised is None:
            self.promised = self.placed.is_promised
        return self.promised

    @property
    def is_moved(self) -> bool:
        """Whether the edge answered under the promise, or because its mode sends there all that may be moved."""
        is_meant = self.reason in (EDGE_GOOD_ENOUGH, EDGE_PINNED)
        return self.is_promised and self.answered_at == "edge" and is_meant

    @property
    def is_awaited(self) -> bool:
        """Whether a pair to certify with should come of it: it was drawn, and one of the two answered."""
        placed, ended = self.placed, self.ended
        if placed.ask.role != Role.CERTIFY or not self.is_promised or ended is None:
            return False
        return ended.ending == "answered" and ended.target in (placed.drawn_edge, placed.reference)

    @property
    def edge(self) -> str:
        """The edge target in question: the one that answered, else the one that would have; `''` without any."""
        if self.answered_at == "edge" and self.ended is not None:
            return self.ended.target
        edges = [one.target for one in self.placed.candidates if one.at is Place.EDGE]
        ordered = [name for name in self.placed.placement.order if name in edges]
        return next(iter(ordered or edges), "")

    @property
    def is_escalated(self) -> bool:
        """Whether the edge was asked under the promise and its answer was not given."""
        return self.is_promised and self.reason == "escalated.unsure"

    @property
    def reason(self) -> str:
        """Why it was answered where it was."""
        return self.ended.reason if self.ended is not None and self.ended.reason else self.placed.placement.reason

    @property
    def answered_at(self) -> str:
        """`edge`, `cloud`, or `''` where nobody answered."""
        return self.ended.at if self.ended is not None and self.ended.ending == "answered" else ""


_PLACED: Final = msgspec.json.Decoder(Placed)
_ENDED: Final = msgspec.json.Decoder(Ended)
_PAIR: Final = msgspec.json.Decoder(Pair)


class Joiner:
    """Entries in, cases out, each once.

    Attributes:
        unreadable: Entries of these kinds that are of another form than this version knows.
        besides: Further pairs of requests that have theirs: callers' feedback.
        late: Comparisons and endings whose request had been given out already, or was never placed here.
    """

    def __init__(
        self,
        is_awaited: Callable[[Case], bool],
        *,
        seen: Callable[[Placed], object] = bool,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        """Begins.

        Args:
            is_awaited: Whether a case that has ended, and has no pair, may yet get one that matters.
            seen: Is told of every decision, also of those that a later one of the same request replaces.
        """
        self.unreadable = 0
        self.besides = 0
        self.late = 0
        self._is_awaited = is_awaited
        self._seen = seen
        self._max = waiting_max
        self._open: OrderedDict[str, Case] = OrderedDict()

    def feed(self, kind: str, at_ms: int, body: bytes | msgspec.Raw) -> Iterator[Case]:
        """Takes the next entry; the cases that are whole now."""
        try:
            yield from self._take(kind, at_ms, body)
        except msgspec.DecodeError:
            self.unreadable += 1

    def rest(self) -> Iterator[Case]:
        """The cases that still waited at the end."""
        while self._open:
            yield self._open.popitem(last=False)[1]

    def _take(self, kind: str, at_ms: int, body: bytes | msgspec.Raw) -> Iterator[Case]:
        if kind == "placed":
            yield from self._placed(at_ms, _PLACED.decode(body))
        elif kind == "outcome":
            ended = _ENDED.decode(body)
            case = self._known(ended.request)
            if case is not None:
                case.ended = ended
                yield from self._closed(case)
        else:
            pair = _PAIR.decode(body)
            case = self._known(pair.request)
            if case is not None:
                # What a caller said of the answer is a pair too, to learn from, and not the one that was drawn.
                if case.placed.ask.role == pair.role and case.pair is None:
                    case.pair = pair
                else:
                    self.besides += 1
                yield from self._closed(case)

    def _placed(self, at_ms: int, placed: Placed) -> Iterator[Case]:
        """A request that is placed again (detectors have looked meanwhile) stays one case: the last word counts."""
        self._seen(placed)
        before = self._open.get(placed.request)
        if before is not None:
            before.placed, before.promised = placed, None
            return
        self._open[placed.request] = Case(at_ms, placed)
        if len(self._open) > self._max:
            yield self._open.popitem(last=False)[1]

    def _known(self, request: str) -> Case | None:
        case = self._open.get(request)
        self.late += case is None
        return case

    def _closed(self, case: Case) -> Iterator[Case]:
        if case.ended is not None and (case.pair is not None or not self._is_awaited(case)):
            del self._open[case.placed.request]
            yield case


def certifies(case: Case) -> bool:
    """Whether a pair to certify with should come of a case."""
    return case.is_awaited


def teaches(case: Case) -> bool:
    """Whether any pair may come of it."""
    return case.is_promised
