"""Invariants of a target's line, whatever comes, leaves and gives up, in whatever order."""

from __future__ import annotations

import heapq
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ecotone.flow.admission import RETRY_S_MAX, Load, Seat, Stand
from ecotone.values import Place, TargetSpec

keys = st.sampled_from("abcd")
steps = st.lists(
    st.tuples(st.sampled_from(("come", "come", "leave", "give up")), keys, st.integers(0, 99)), max_size=80
)
LATEST_S = RETRY_S_MAX - 1e-6
ROUNDED_UP_S = 1e-6
"""Less than `Retry-After` is rounded up by: no two events fall into the same instant."""
sizes = st.tuples(st.integers(1, 3), st.integers(0, 8))


class Played:
    """What became of everybody."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.spec = TargetSpec(name="edge", at=Place.EDGE, model="m", slots=size[0], queue_max=size[1])
        self.load = Load()
        self.seats: list[Seat] = []
        self.moves: list[Seat] = []
        self.now_s = 0.0

    def stand(self, stand: Stand) -> list[Seat]:
        return [seat for seat in self.seats if seat.stand is stand]

    def come(self, key: str) -> Seat:
        seat = self.load.ask(self.spec, key, self.now_s)
        seat.tell = lambda: self.moves.append(seat)
        self.seats.append(seat)
        return seat

    def leave(self, number: int) -> None:
        held = self.stand(Stand.HELD)
        if held:
            self.load.leave(held[number % len(held)], self.now_s, is_served=True)

    def step(self, what: str, key: str, number: int) -> None:
        self.now_s += 0.5
        if what == "come":
            self.come(key)
        elif what == "leave":
            self.leave(number)
        elif waiting := self.stand(Stand.WAITING):
            self.load.withdraw(waiting[number % len(waiting)])


@given(sizes, steps)
def test_slots_and_places_are_never_more_than_there_are_and_no_slot_is_idle_while_somebody_waits(
    size: tuple[int, int], script: list[tuple[str, str, int]]
) -> None:
    played = Played(size)
    for step in script:
        played.step(*step)
        held, waiting = len(played.stand(Stand.HELD)), len(played.stand(Stand.WAITING))
        assert held <= size[0]
        assert waiting <= size[1]
        assert waiting == 0 or held == size[0]
        assert waiting == played.load.waiting("edge")


@given(sizes, steps)
def test_who_goes_leaves_nothing_behind(size: tuple[int, int], script: list[tuple[str, str, int]]) -> None:
    played = Played(size)
    for step in script:
        played.step(*step)
    while played.stand(Stand.HELD):
        played.leave(0)
    assert played.load.left_over() == []
    assert not played.stand(Stand.WAITING)
    assert len(set(map(id, played.moves))) == len(played.moves)


@given(sizes, steps, st.integers(0, 200))
def test_a_key_that_floods_delays_the_first_request_of_another_by_no_more_than_one_turn_of_each(
    size: tuple[int, int], script: list[tuple[str, str, int]], flood: int
) -> None:
    played = Played((size[0], size[1] + 1))
    for step in script:
        played.step(*step)
    for _ in range(flood):
        played.come("flood")
    others = {seat.key for seat in played.stand(Stand.WAITING)}
    first = played.come("new")
    if first.stand is Stand.OUT:
        assert len(others) > size[1]  # as many keys as places, one each
        return
    turns = 0
    while first.stand is Stand.WAITING:
        played.leave(turns)
        turns += 1
        for _ in range(3):
            played.come("flood")
    assert first.stand is Stand.HELD
    assert turns <= len(others) + 1


@given(sizes, steps)
def test_no_key_holds_more_than_its_share_of_the_places_where_another_was_left_out(
    size: tuple[int, int], script: list[tuple[str, str, int]]
) -> None:
    played = Played(size)
    for step in script:
        played.step(*step)
        if played.seats and played.seats[-1].stand is Stand.OUT and step[0] == "come":
            held = Counter(seat.key for seat in played.stand(Stand.WAITING))
            assert max(held.values(), default=0) <= held[step[1]] + 1


@given(sizes, steps, keys)
def test_placement_sees_a_full_queue_exactly_where_there_is_no_place(
    size: tuple[int, int], script: list[tuple[str, str, int]], key: str
) -> None:
    played = Played(size)
    for step in script:
        played.step(*step)
    is_full = len(played.stand(Stand.HELD)) >= size[0] and played.load.ahead("edge", key) >= size[1]
    assert (played.come(key).stand is Stand.OUT) == is_full


@given(sizes, st.integers(1, 40), st.floats(0.1, 5.0), st.floats(0.5, 20.0))
def test_all_that_are_refused_are_served_if_they_come_back_when_told_and_nobody_else_comes(
    size: tuple[int, int], crowd: int, hold_s: float, limit_s: float
) -> None:
    played = Played(size)
    played.load = Load(limit_s)
    played.load.leave(played.come("a"), hold_s, is_served=True)
    events: list[tuple[float, int, Seat | None]] = [(hold_s, number, None) for number in range(crowd)]
    refused: list[float] = []
    count = 0
    while events:
        now_s, number, seat = heapq.heappop(events)
        played.now_s = now_s
        began = {id(one) for one in played.stand(Stand.HELD)}
        if seat is not None:
            played.load.leave(seat, now_s, is_served=True)
        elif (played.load.wait_s("edge", "a") or 0.0) <= limit_s and played.come("a").stand is not Stand.OUT:
            pass
        else:
            assert number < crowd, f"refused again at {now_s}"
            after_s = played.load.retry_s("edge", "a", limit_s, now_s)
            refused.append(after_s)
            # Those that are told the latest instant that is ever told may have to come again.
            if after_s < LATEST_S:
                heapq.heappush(events, (now_s + after_s + ROUNDED_UP_S * (number + 1), crowd + number, None))
        for one in played.stand(Stand.HELD):
            if id(one) not in began:
                count += 1
                heapq.heappush(events, (now_s + hold_s, -count, one))
    assert len(set(refused)) == len(refused) or max(refused) >= LATEST_S
