"""Lines of targets: who has a slot, who waits, who is told to come back. No loop, no clock."""

from __future__ import annotations

import pytest

from ecotone.flow.admission import JOBS_SHARE, RETRY_S_MAX, Load, Seat, Stand
from ecotone.values import Place, TargetSpec


def spec(slots: int = 1, queue_max: int = 8) -> TargetSpec:
    return TargetSpec(name="edge", at=Place.EDGE, model="m", slots=slots, queue_max=queue_max)


class Scene:
    """One target, and seats in the order in which they got a slot."""

    def __init__(self, slots: int = 1, queue_max: int = 8, hold_s: float | None = None) -> None:
        self.load = Load(30.0)
        self.spec = spec(slots, queue_max)
        self.told: list[tuple[Seat, Stand]] = []
        if hold_s is not None:
            self.leave(self.come("before", now_s=-hold_s), now_s=0.0)

    def come(self, key: str, now_s: float = 0.0) -> Seat:
        seat = self.load.ask(self.spec, key, now_s)
        seat.tell = lambda: self.told.append((seat, seat.stand))
        return seat

    def leave(self, seat: Seat, now_s: float = 0.0, **how: bool) -> None:
        self.load.leave(seat, now_s, **{"is_served": True, **how})

    def turns(self) -> str:
        return "".join(seat.key for seat, stand in self.told if stand is Stand.HELD)


def test_a_free_slot_is_given_at_once_and_the_next_one_waits() -> None:
    scene = Scene(slots=2)
    seats = [scene.come("a") for _ in range(3)]
    assert [seat.stand for seat in seats] == [Stand.HELD, Stand.HELD, Stand.WAITING]
    assert (scene.load.waiting("edge"), scene.load.waiting("other")) == (1, 0)
    scene.leave(seats[0], now_s=3.0)
    assert seats[2].stand is Stand.HELD
    assert seats[2].since_s == 3.0
    for seat in seats[1:]:
        scene.leave(seat)
    assert scene.load.left_over() == []


def test_keys_take_turns_whoever_came_first() -> None:
    scene = Scene()
    first = scene.come("a")
    for key in "aaaabbc":
        scene.come(key)
    scene.leave(first)
    while scene.load.waiting("edge"):
        scene.leave(scene.told[-1][0])
    assert scene.turns() == "abcabaa"


def test_a_full_queue_leaves_out_who_has_as_much_as_others() -> None:
    scene = Scene(queue_max=2)
    scene.come("a")
    scene.come("a")
    scene.come("b")
    assert scene.come("c").stand is Stand.OUT
    assert scene.come("a").stand is Stand.OUT
    assert scene.told == []


def test_the_newest_of_who_has_most_makes_room_for_who_has_less() -> None:
    scene = Scene(queue_max=3)
    scene.come("a")
    waiting = [scene.come("a") for _ in range(3)]
    assert scene.load.ahead("edge", "b") < 3
    newcomer = scene.come("b")
    assert newcomer.stand is Stand.WAITING
    assert scene.told == [(waiting[-1], Stand.OUT)]
    assert scene.load.ahead("edge", "b") == 3


def test_no_queue_means_that_nobody_waits() -> None:
    scene = Scene(queue_max=0)
    scene.come("a")
    assert scene.come("b").stand is Stand.OUT
    assert scene.load.strain() == 1.0


def test_who_waits_no_more_is_forgotten_and_twice_does_no_harm() -> None:
    scene = Scene()
    first, second, third = scene.come("a"), scene.come("a"), scene.come("a")
    scene.load.withdraw(second)
    scene.load.withdraw(second)
    assert scene.load.waiting("edge") == 1
    scene.leave(first)
    assert [seat for seat, _ in scene.told] == [third]
    last = scene.come("b")
    scene.load.withdraw(last)
    scene.leave(third)
    assert scene.load.left_over() == []


def test_a_slot_that_a_reload_adds_is_used_and_one_that_it_takes_is_not() -> None:
    scene = Scene(slots=2)
    seats = [scene.come("a") for _ in range(3)]
    scene.spec = spec(slots=1)
    scene.come("b")
    scene.leave(seats[0])
    assert scene.told == []
    scene.spec = spec(slots=3)
    scene.come("c")
    scene.leave(seats[1])
    assert scene.turns() == "abc"


def test_a_wait_is_told_from_what_slots_were_held_for_and_who_goes_before() -> None:
    scene = Scene(slots=2)
    assert scene.load.wait_s("edge", "a") == 0.0
    held = [scene.come("a"), scene.come("a")]
    assert scene.load.wait_s("edge", "a") is None
    scene.leave(held[0], now_s=4.0)
    assert scene.load.wait_s("edge", "a") == 0.0
    scene.come("a")
    assert scene.load.wait_s("edge", "a") == 4.0 / 2
    scene.come("a")
    scene.come("a")
    assert scene.load.ahead("edge", "a") == 2
    assert scene.load.ahead("edge", "b") == 1
    assert (scene.load.wait_s("edge", "a"), scene.load.wait_s("edge", "b")) == (6.0, 4.0)


def test_what_is_learned_is_a_mean_of_late_and_forgets() -> None:
    scene = Scene()
    for hold_s in (1.0, 3.0):
        scene.leave(scene.come("a"), now_s=hold_s)
    held = scene.come("a")
    assert scene.load.wait_s("edge", "a") == 2.0
    scene.leave(held, now_s=99.0, is_served=False)
    for _ in range(100):
        scene.leave(scene.come("a"), now_s=8.0)
    scene.come("a")
    assert scene.load.wait_s("edge", "a") == pytest.approx(8.0, rel=0.01)


def test_each_that_is_told_to_come_back_gets_an_instant_of_its_own() -> None:
    scene = Scene(hold_s=2.0, queue_max=4)
    held = [scene.come("a") for _ in range(5)]
    times = [scene.load.retry_s("edge", "a", 8.0, 0.0) for _ in range(3)]
    assert times == [12.0, 14.0, 16.0]
    assert scene.load.retry_s("edge", "b", 8.0, 0.0) == 4.0
    assert [scene.load.retry_s("edge", "a", 8.0, 0.0) for _ in range(40)][-1] == RETRY_S_MAX
    for seat in held:
        scene.leave(seat, is_served=False)
    again = scene.come("a", now_s=0.0)
    assert scene.load.retry_s("edge", "a", -1.0, 0.0) == 4.0
    scene.leave(again)


def test_where_nothing_was_measured_a_second_is_as_good_as_any() -> None:
    scene = Scene(queue_max=0)
    assert scene.load.retry_s("edge", "a", 8.0, 0.0) == 1.0
    scene.come("a")
    assert scene.load.retry_s("edge", "a", 8.0, 0.0) == 1.0


def test_shadows_stop_first_then_hedges_then_jobs_and_only_then_new_requests() -> None:
    scene = Scene(hold_s=1.0, queue_max=4)
    seen = []
    for _ in range(6):
        load = scene.load
        may = load.allows_shadows(), load.allows_hedges(), load.allows_jobs()
        seen.append((*may, scene.come("a").stand is not Stand.OUT))
    assert seen == [
        (True, True, True, True),
        (False, True, True, True),
        (False, False, True, True),
        (False, False, False, True),
        (False, False, False, True),
        (False, False, False, False),
    ]


def test_shadows_leave_half_of_every_target_to_whoever_asks() -> None:
    scene = Scene(slots=4, queue_max=4)
    seen, seats = [], []
    for _ in range(4):
        seats.append(scene.come("a"))
        seen.append(scene.load.allows_shadows())
    assert seen == [True, False, False, False]
    assert scene.load.allows_hedges(), "nobody waits yet"
    for seat in seats:
        scene.leave(seat)
    assert scene.load.allows_shadows()


def test_a_long_wait_strains_as_much_as_a_full_queue() -> None:
    scene = Scene(hold_s=10.0, queue_max=1000)
    scene.come("a")
    scene.come("a")
    assert scene.load.strain() == pytest.approx(1 / 3)
    scene.come("a")
    assert scene.load.strain() >= JOBS_SHARE


def test_a_site_that_nobody_has_asked_is_idle() -> None:
    load = Load()
    assert (load.strain(), load.ahead("edge", "a"), load.wait_s("edge", "a")) == (0.0, 0, 0.0)


def test_who_is_not_listening_may_be_moved_too() -> None:
    load = Load()
    first, second = load.ask(spec(), "a", 0.0), load.ask(spec(), "a", 0.0)
    load.leave(first, 1.0, is_served=True)
    assert second.stand is Stand.HELD


def test_who_presses_is_told_from_work_that_can_wait() -> None:
    load = Load()
    spec = TargetSpec(name="small", at=Place.EDGE, model="m", slots=1, queue_max=4)
    assert load.pressing("small") == 0
    held = load.ask(spec, "ann", 0.0)
    assert load.pressing("small") == 0
    jobs = load.for_jobs()
    assert not load.is_inside
    assert not jobs.is_inside
    waiting = [jobs.ask(spec, "", 0.0), load.ask(spec, "bob", 0.0), jobs.ask(spec, "bob", 0.0)]
    assert (load.waiting("small"), load.pressing("small"), jobs.pressing("small")) == (3, 1, 1)
    for seat in waiting:
        load.withdraw(seat)
    load.leave(held, 1.0, is_served=True)
    inside = jobs.ask(spec, "", 1.0)
    assert jobs.is_inside
    jobs.leave(inside, 2.0, is_served=True)
    assert not jobs.is_inside
    assert load.left_over() == jobs.left_over() == []
