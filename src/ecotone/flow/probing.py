"""Finds out whether an unreachable target is back, so that no caller has to wait for it.

Only failures that cost a wait (`breaker.UNREACHABLE`) are probed; others are cheap to find out with real traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ecotone.flow.breaker import MISLED
from ecotone.flow.site import Site
from ecotone.flow.verdict import is_elsewhere
from ecotone.ports import Target
from ecotone.values import Egress, Limit, Permit, Place, Receipt, RefusalError, TargetError

LOOK_EVERY_S: Final = 0.1
PROBE_S_MAX: Final = 5.0
AGAIN_S: Final = 1.5
"""What nothing is heard of for so long is asked beside it once more: on a path that swallowed the first question, whole
again meanwhile, no answer to that one would ever come."""
_LIMIT: Final = Limit(Egress.FREE, "probe: an empty body")


class _Echo:
    """A sink that only wants to know whether anything comes back, and where told so: whether the target said it."""

    def __init__(self, *, is_wary: bool) -> None:
        self._is_wary = is_wary
        self.heard: asyncio.Future[TargetError | None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        is_false = self._is_wary and is_elsewhere(status, headers)
        self._set(TargetError("captive_portal", "a page answers the probe") if is_false else None)

    def data(self, chunk: bytes) -> None:
        pass

    def ended(self) -> None:
        self._set(None)

    def failed(self, error: TargetError) -> None:
        self._set(error)

    def _set(self, error: TargetError | None) -> None:
        if not self.heard.done():
            self.heard.set_result(error)


async def probe_forever(
    current: Callable[[], Site], is_back: Callable[[], object] = bool, look: Callable[[], object] = bool
) -> None:
    """Looks at all breakers some times a second and probes those that are due, each at most once at a time.

    Args:
        current: Gives the site as it is now; a reload replaces it.
        look: Called in each round.
        is_back: Called when a probe found that a target is back: what waits for it need not wait any longer.
    """
    under_way: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            site = current()
            for name, target in site.targets.items():
                task = under_way.get(name)
                if (task is None or task.done()) and is_due(site, target):
                    under_way[name] = group.create_task(probe(site, target, is_back))
            look()
            await asyncio.sleep(LOOK_EVERY_S)


def is_due(site: Site, target: Target) -> bool:
    """Whether this target should be asked now."""
    if site.is_cloud_off and target.spec.at is Place.CLOUD:
        return False
    return site.breakers[target.spec.name].probe_due(site.clock.now_s())


async def probe(site: Site, target: Target, is_back: Callable[[], object] = bool) -> None:
    """Asks one target once and tells its breaker."""
    spec, breaker = target.spec, site.breakers[target.spec.name]
    found_before = breaker.last_failure
    ticket = breaker.begin_probe()
    failure: TargetError | None = None
    try:
        async with asyncio.timeout_at(site.clock.now_s() + PROBE_S_MAX):
            failure = await _ask_again(site, target, is_wary=found_before in MISLED)
    except TimeoutError:
        failure = TargetError("first_byte_timeout", "no answer to a probe")
    except BaseException:
        breaker.left(ticket)
        raise
    now_s = site.clock.now_s()
    if failure is None:
        breaker.hear()
        breaker.worked(ticket)
        is_back()
    else:
        # A probe that was not let out says nothing new about the target: a caller must not pay for that.
        code = found_before if failure.code == "egress_refused" else failure.code
        breaker.failed(ticket, code, now_s)
    site.telemetry.condition(spec.name, breaker.condition(now_s, in_flight=0, waiting=0))


async def _ask_again(site: Site, target: Target, *, is_wary: bool) -> TargetError | None:
    """What the first that is told anything is told; asks until then, and stops all others."""
    asked: set[asyncio.Task[TargetError | None]] = set()
    done: set[asyncio.Task[TargetError | None]] = set()
    try:
        while not done:
            asked.add(asyncio.ensure_future(_ask(site, target, is_wary=is_wary)))
            done, _ = await asyncio.wait(asked, timeout=AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        told = [task.result() for task in done]
        return None if None in told else told[0]
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _ask(site: Site, target: Target, *, is_wary: bool) -> TargetError | None:
    permit: Permit | None = None
    receipt: Receipt | None = None
    if target.spec.at is Place.CLOUD:
        permit = site.mint.permit(request="probe", spec=target.spec, origin=target.origin, body=b"", limit=_LIMIT)
        try:
            receipt = await site.journal.permit(permit, body_bytes=0, labels=(), region=target.spec.region)
        except RefusalError as error:
            return TargetError("egress_refused", error.message)
    echo = _Echo(is_wary=is_wary)
    stream = target.probe(echo, permit, receipt)
    try:
        return await echo.heard
    finally:
        stream.abort()
