"""A site and a hub that was restored from a copy, which knows no key but one before the site's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.agent.test_link import Clock, Hub

from ecotone.agent.identity import FORMER_MAX, Enrolment, Identity
from ecotone.agent.link import Link
from ecotone.values import TargetError


def changed(store: Path, times: int) -> tuple[Identity, list[bytes]]:
    """A site that has changed its key so often, and its keys, the first one first."""
    identity = Enrolment.begun(store, "eco1.a.b").done()
    keys = [identity.public]
    for number in range(times):
        identity.session_body("clinic-7", f"c{number}", is_changing=True)
        identity.promote()
        keys.append(identity.public)
    return identity, keys


@pytest.mark.parametrize("ago", range(1, FORMER_MAX + 1))
@pytest.mark.parametrize("is_changing", [False, True])
def test_the_hub_takes_the_site_back_and_its_key_of_now(tmp_path: Path, ago: int, is_changing: bool) -> None:
    identity, keys = changed(tmp_path, 3)
    if is_changing:
        identity.session_body("clinic-7", "c", is_changing=True)
    hub = Hub(keys[-1 - ago])
    hub.rotate = True
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)

    async def scene() -> None:
        await line.session()
        assert hub.keys == [keys[-1 - ago], keys[-1]]
        line.forget()
        hub.rotate = False
        await line.session()
        assert hub.keys[0] == keys[-1]
        assert len(hub.keys) == 1 + is_changing
        line.forget()
        before = len(hub.challenges)
        await line.session()
        assert len(hub.challenges) == before + 1, "all is as before"

    asyncio.run(scene())


def test_a_hub_that_knows_none_of_them_is_asked_so_often_and_no_more(tmp_path: Path) -> None:
    identity, keys = changed(tmp_path, 4)
    hub = Hub(keys[0])
    line = Link(hub.ask, identity, "clinic-7", Clock().now_s)

    async def scene() -> None:
        with pytest.raises(TargetError) as caught:
            await line.session()
        assert caught.value.code == "unauthorised"

    asyncio.run(scene())
    assert len(hub.challenges) == 1 + FORMER_MAX
    assert hub.keys == [keys[0]]
