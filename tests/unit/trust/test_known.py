"""The file of a hub's roots."""

from __future__ import annotations

import pytest
from tests.unit.trust.made_hub import World

from ecotone.trust import Roots
from ecotone.values import TrustError


def test_a_file_of_roots_is_read_as_it_was_written(world: World) -> None:
    raw = world.hub.pins()
    roots = Roots.decode(raw)
    assert roots.encode() == raw
    assert bytes(roots.catalogue) == world.hub.catalogue.content("root")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"type": "other", "catalogue": {}, "director": {}}'])
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(TrustError, match=r"trust\.malformed"):
        Roots.decode(raw)
