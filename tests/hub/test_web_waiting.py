"""Long-polls: woken by what changes, bounded, ended when the caller leaves or all stops. And how often one may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.hub.limits import Buckets
from ecotone.hub.web_waiting import Waiting
from ecotone.values import EcotoneError, RefusalError


class Log:
    """A database with one counter."""

    def __init__(self) -> None:
        self.news: list[tuple[str, int]] = []
        self.is_broken = False
        self.looks = 0

    async def changed(self, mark: int) -> tuple[int, Iterable[tuple[str, int]]]:
        self.looks += 1
        if self.is_broken:
            raise EcotoneError("hub.database", "gone")
        return len(self.news), self.news[max(mark, 0) :]


async def never() -> None:
    await asyncio.Event().wait()


async def now() -> None:
    return


def test_who_waits_hears_of_its_own_news_only() -> None:
    async def main() -> None:
        log = Log()
        log.news.append(("a", 1))
        waiting = Waiting(log.changed, 10)
        assert not waiting.is_ready
        await waiting.look()
        assert waiting.is_ready
        assert (waiting.generation("a"), waiting.generation("b")) == (1, 0)
        # Who knows less is answered at once; who knows more, of a hub that was restored, waits like all.
        assert await waiting.wait("a", 0, 9, never()) == 1
        assert await waiting.wait("a", 5, 0.01, never()) == 1
        assert await waiting.wait("a", 1, 0, never()) == 1
        mine = asyncio.ensure_future(waiting.wait("a", 1, 60, never()))
        other = asyncio.ensure_future(waiting.wait("b", 0, 60, never()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(waiting) == 2
        log.news.append(("a", 2))
        await waiting.look()
        assert await mine == 2
        assert not other.done()
        waiting.end()
        assert await other == 0
        assert len(waiting) == 0
        assert await waiting.wait("b", 0, 60, never()) == 0

    asyncio.run(main())


def test_time_passes_or_the_caller_leaves() -> None:
    async def main() -> None:
        waiting = Waiting(Log().changed, 10)
        assert await waiting.wait("a", 0, 0.01, never()) == 0
        assert await waiting.wait("a", 0, 60, now()) == 0
        assert len(waiting) == 0

    asyncio.run(main())


def test_only_so_many_wait() -> None:
    async def main() -> None:
        waiting = Waiting(Log().changed, 1)
        first = asyncio.ensure_future(waiting.wait("a", 0, 60, never()))
        await asyncio.sleep(0)
        with pytest.raises(RefusalError) as caught:
            await waiting.wait("b", 0, 60, never())
        assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("hub.waiting", 503, 30.0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(waiting) == 0

    asyncio.run(main())


def test_of_one_site_only_so_many_wait_and_the_oldest_goes_first() -> None:
    async def main() -> None:
        waiting = Waiting(Log().changed, 100, 2)
        mine = [asyncio.ensure_future(waiting.wait("a", 0, 60, never())) for _ in range(5)]
        other = asyncio.ensure_future(waiting.wait("b", 0, 60, never()))
        await asyncio.wait(mine, timeout=0.1)
        assert [each.done() for each in mine] == [True, True, True, False, False]
        assert len(waiting) == 3
        assert not other.done()
        waiting.end()
        assert await asyncio.gather(*mine, other) == [0] * 6
        assert len(waiting) == 0
        assert waiting._waiters == {}

    asyncio.run(main())


def test_a_generation_never_goes_back() -> None:
    async def main() -> None:
        log = Log()
        log.news += [("a", 7), ("a", 3)]
        waiting = Waiting(log.changed, 1)
        await waiting.look()
        assert waiting.generation("a") == 7

    asyncio.run(main())


def test_a_database_that_is_away_leaves_everybody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ecotone.hub.web_waiting.LOOK_EVERY_S", 0.001)

    async def main() -> None:
        log = Log()
        waiting = Waiting(log.changed, 5)
        log.is_broken = True
        living = asyncio.ensure_future(waiting.live())
        mine = asyncio.ensure_future(waiting.wait("a", 0, 60, never()))
        while log.looks < 5:
            await asyncio.sleep(0.001)
        assert waiting.is_behind
        log.is_broken = False
        log.news.append(("a", 1))
        assert await mine == 1
        assert not waiting.is_behind
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)

    asyncio.run(main())
    assert [record.message for record in caplog.records if "looked up" in record.message] == [
        "what sites shall have cannot be looked up (EcotoneError)"
    ]


def test_a_bucket_gives_back_evenly() -> None:
    buckets = Buckets(60)
    taken = 0
    while buckets.take("a", 0.0) == 0.0:
        taken += 1
    assert taken == 12
    wait_s = buckets.take("a", 0.0)
    assert 0 < wait_s <= 1.0
    assert buckets.is_empty("a", 0.0) == pytest.approx(wait_s)
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", wait_s) == 0.0
    assert buckets.is_empty("nobody", 0.0) == 0.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20)), max_size=200), st.floats(1, 600))
def test_nobody_gets_more_than_the_bucket_and_what_flows_in(asked: list[tuple[str, float]], per_minute: float) -> None:
    buckets, now_s = Buckets(per_minute, keys_max=5), 0.0
    taken: dict[str, int] = {}
    for key, passed_s in asked:
        now_s += passed_s
        wait_s = buckets.take(key, now_s)
        if wait_s == 0.0:
            taken[key] = taken.get(key, 0) + 1
        else:
            # Who comes again when it was told is let in.
            assert Buckets.take(buckets, key, now_s + wait_s + 1e-6) == 0.0
            now_s += wait_s + 1e-6
            taken[key] = taken.get(key, 0) + 1
    for count in taken.values():
        assert count <= max(10.0, per_minute / 5) + now_s * per_minute / 60 + 1


def test_made_up_keys_push_out_only_the_longest_unseen() -> None:
    buckets = Buckets(60, keys_max=3)
    for number in range(100):
        buckets.take(f"k{number}", float(number))
    assert len(buckets) == 3
