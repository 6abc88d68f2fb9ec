"""Whatever copy of a hub a site is shown: it refuses, or it has an honest state, and none that is older."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.trust.made_hub import DAY_S, NOW_S, Files, World, refused, walked

from ecotone.trust import Memory
from ecotone.values import TrustError

MOMENTS = 5


class Past:
    """A hub's files at each of some moments, a day apart; every moment has its own generation."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder) / "hub")
            self.memory = world.memory()
            self.files: list[Files] = []
            self.manifests: dict[int, bytes] = {}
            for moment in range(MOMENTS):
                world.now_s = NOW_S + moment * DAY_S
                world.publish("smol", str(moment))
                world.assign("harbour", "smol")
                self.files.append(world.files())
                state = world.hub.state("harbour")
                named = world.hub.find("smol", str(moment)).asset
                self.manifests[state.generation] = world.hub.catalogue.document(
                    f"models/smol@{moment}", world.hub.catalogue.publisher("models").targets[f"models/smol@{moment}"]
                )
                assert named == state.assets[0]


@pytest.fixture(scope="module")
def past() -> Past:
    return Past()


def shown(past: Past, moments: list[int], odd: dict[int, int]) -> Files:
    """The files of the newest of the moments, with some of those that change taken from another."""
    files = dict(past.files[max(moments)])
    moving = [name for name in sorted(files) if name.endswith(("timestamp.json", "bundle.json"))]
    for place, moment in odd.items():
        name = moving[place % len(moving)]
        files[name] = past.files[moment][name]
    return files


step = st.tuples(
    st.lists(st.integers(0, MOMENTS - 1), min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 3), st.integers(0, MOMENTS - 1), max_size=3),
    st.sampled_from([0.0, NOW_S - DAY_S, NOW_S + 4 * DAY_S, NOW_S + 40 * DAY_S, NOW_S + 1000 * DAY_S]),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(step, min_size=1, max_size=4))
def test_a_site_is_never_turned_back_and_never_has_what_no_moment_had(
    past: Past, steps: list[tuple[list[int], dict[int, int], float, bool]]
) -> None:
    memory: Memory = past.memory
    newest = 0
    for moments, odd, clock_s, is_import in steps:
        before = memory
        try:
            agreed, memory = walked(memory, shown(past, moments, odd), clock_s, is_import=is_import)
        except TrustError:
            # What held of it is remembered all the same, as a site does.
            _, memory = refused(before, shown(past, moments, odd), clock_s, is_import=is_import)
            assert memory.floor_s >= before.floor_s
            continue
        assert agreed.generation >= newest
        newest = agreed.generation
        assert [one.manifest for one in agreed.assets] == [past.manifests[newest]]
        assert memory.floor_s >= before.floor_s


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_bit_of_what_is_signed_can_change(past: Past, data: st.DataObject) -> None:
    files = dict(past.files[-1])
    honest, _ = walked(past.memory, files, NOW_S + 4 * DAY_S)
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name]) - 1))
    bit = data.draw(st.integers(0, 7))
    raw = bytearray(files[name])
    raw[at] ^= 1 << bit
    files[name] = bytes(raw)
    try:
        agreed, _ = walked(past.memory, files, NOW_S + 4 * DAY_S)
    except TrustError:
        return
    assert agreed == honest
