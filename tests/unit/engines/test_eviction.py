"""Who is unloaded for whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecotone.engines.eviction import Loaded, Room, idle, make_room


def loaded(name, size, requests=0, used=0.0, **more):
    return Loaded(name=name, bytes=size, requests=requests, used_at_s=used, **more)


MODELS = st.lists(
    st.builds(
        Loaded,
        name=st.uuids().map(str),
        bytes=st.integers(1, 100),
        requests=st.integers(0, 2),
        used_at_s=st.integers(0, 20).map(float),
        is_settled=st.booleans(),
        is_going=st.booleans(),
    ),
    max_size=6,
)


@given(MODELS, st.integers(1, 150), st.integers(1, 400), st.booleans())
def test_a_plan_never_costs_a_request_and_never_breaks_the_budget(models, needed, budget, is_starving):
    room = make_room(needed, budget, models, is_starving=is_starving)
    by_name = {model.name: model for model in models}
    assert all(by_name[name].is_free for name in room.unload)
    assert all(by_name[name].is_settled and by_name[name].requests for name in room.hold_back)
    if room.fits:
        kept = sum(model.bytes for model in models if model.name not in room.unload)
        going = sum(model.bytes for model in models if model.is_going)
        assert kept + needed - going <= budget
        assert not room.hold_back
    if room.hold_back:
        assert is_starving


@given(MODELS, st.integers(1, 150), st.integers(1, 400))
def test_nothing_is_unloaded_in_vain_or_without_need(models, needed, budget):
    models = [model for model in models if not model.is_going]
    room = make_room(needed, budget, models, is_starving=False)
    if not room.fits:
        assert not room.unload
    for name in room.unload:
        rest = sum(model.bytes for model in models if model.name not in room.unload or model.name == name)
        assert rest + needed > budget, "this one could have stayed"


def test_the_longest_unused_goes_first_and_a_small_one_stays_where_a_large_one_suffices():
    old, new = loaded("old", 10, used=1), loaded("new", 10, used=2)
    assert make_room(10, 20, [new, old], is_starving=False) == Room(True, ("old",))
    small, large = loaded("small", 5, used=1), loaded("large", 50, used=2)
    assert make_room(50, 60, [small, large], is_starving=False) == Room(True, ("large",))


def test_what_fits_costs_nothing_and_what_goes_is_waited_for():
    assert make_room(10, 20, [loaded("a", 10)], is_starving=False) == Room(True)
    draining = loaded("a", 15, requests=1, is_settled=False, is_going=True)
    assert make_room(10, 20, [draining], is_starving=True) == Room(False)


def test_busy_ones_are_held_back_for_one_that_starves_and_only_where_that_helps():
    busy, free = loaded("busy", 15, requests=1), loaded("free", 3)
    assert make_room(15, 20, [busy, free], is_starving=False) == Room(False)
    assert make_room(15, 20, [busy, free], is_starving=True) == Room(False, ("free",), ("busy",))
    starting = loaded("starting", 15, is_settled=False)
    assert make_room(15, 20, [starting, free], is_starving=True) == Room(False)


def test_the_idle_are_those_past_their_time():
    models = [
        loaded("old", 1, used=0.0, idle_unload_s=10.0),
        loaded("new", 1, used=95.0, idle_unload_s=10.0),
        loaded("busy", 1, requests=1, used=0.0, idle_unload_s=10.0),
        loaded("kept", 1, used=0.0, idle_unload_s=0.0),
        loaded("starting", 1, used=0.0, idle_unload_s=10.0, is_settled=False),
    ]
    assert idle(models, 100.0) == ("old",)
