"""Works on the queue of jobs: after interactive work, within deadlines, each to exactly one end (invariant 5).

`jobs.dispatch` says whether it is time for a job, from what is known without its content; then the job is leased and
goes the way of every request, through `serve`. It ends here once, or waits again. Where somebody at the edge has to
wait for a job that is not urgent, the job gives way.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ecotone.flow.serving import serve
from ecotone.flow.site import ModelName, Site
from ecotone.jobs import Backoff, Chances, Expire, Facts, Patience, Run, Wait, decide, pause_ms
from ecotone.jobs.dispatch import ASKED, OFFLINE
from ecotone.jobs.order import Dice
from ecotone.policy import constrain
from ecotone.ports import Queue
from ecotone.values import EcotoneError, Egress, Findings, Mode, Outcome, Place, Request, RequestError, Wish
from ecotone.values.job import Ending, Job, JobState, Leased
from ecotone.wire.errors import encode_error
from ecotone.wire.request import Head, decode, mint_id

LOOK_EVERY_S: Final = 0.2
GIVE_WAY_EVERY_S: Final = 0.05
DUE_MAX: Final = 64
"""So many jobs are looked at in one round."""

LASTING: Final = frozenset({"refused.policy", "refused.no_cloud", "refused.wish"})
RETRIED_ENDINGS: Final = frozenset({"failed", "broken", "deadline", "internal", "left"})
RETRIED_STATUSES: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Drains(msgspec.Struct, frozen=True):
    """How the queue is worked on.

    Attributes:
        concurrent: Jobs under way at a time.
        lease_s: A job whose holder is not heard of for so long is anybody's again.
        answer_bytes_max: Largest answer that is kept.
    """

    concurrent: int = 2
    lease_s: float = 30.0
    answer_bytes_max: int = 16 * 1024 * 1024
    patience: Patience = Patience()
    backoff: Backoff = Backoff()


class Ended(msgspec.Struct, frozen=True):
    """What is told of a job that has ended, to whoever waits for it (batches, webhooks)."""

    job: Job
    ending: Ending


class Drain:
    """The worker on one queue."""

    def __init__(
        self,
        current: Callable[[], Site],
        queue: Queue,
        dice: Dice,
        *,
        drains: Drains | None = None,
        ended: Callable[[Ended], object] | None = None,
    ) -> None:
        """Args:
        current: Gives the site as it is now; a reload replaces it.
        dice: For jitter.
        ended: Told of each job that ended here.
        """
        self._current = current
        self._queue = queue
        self._dice = dice
        self._drains = drains or Drains()
        self._ended = ended
        self._running: dict[str, _Work] = {}
        self._counter = 0
        self._was_down = False

    async def forever(self) -> None:
        """Until cancelled; jobs under way are then left to the next start, which finds their leases lapsed."""
        async with asyncio.TaskGroup() as group:
            while True:
                # A store that refuses is tried again at the next look; nothing that was accepted is lost meanwhile.
                with contextlib.suppress(EcotoneError):
                    await self._look(group)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """One round: what has expired, what was put off and is possible again, what may begin."""
        site, queue = self._current(), self._queue
        waiting = queue.status().states.get(JobState.WAITING, 0)
        now_ms = self._now_ms()
        if waiting or queue.status().states.get(JobState.RUNNING, 0) > len(self._running):
            await queue.expire_due(now_ms=now_ms)
        if not waiting:
            return
        is_down = any(_is_open(site, name) for name, target in site.targets.items() if target.spec.at is Place.CLOUD)
        if self._was_down and not is_down:
            await queue.hasten(OFFLINE)
        self._was_down = is_down
        if self._is_edge_idle(site):
            await queue.hasten(ASKED)
        room = self._drains.concurrent - len(self._running)
        if room <= 0:
            return
        for job in await queue.due(DUE_MAX, now_ms=now_ms):
            if room <= 0:
                return
            room -= await self._consider(site, job, group)

    async def _consider(self, site: Site, job: Job, group: asyncio.TaskGroup) -> int:
        """Begins a job (1), puts it off or ends it (0)."""
        now_ms = self._now_ms()
        said = decide(self._facts(site, job, now_ms), self._drains.patience)
        if isinstance(said, Wait):
            await self._queue.defer([job.id], not_before_ms=said.until_ms, reason=said.reason)
            return 0
        lease_ms = int(self._drains.lease_s * 1e3)
        for leased in await self._queue.lease(1, now_ms=now_ms, lease_ms=lease_ms, ids=[job.id]):
            if isinstance(said, Expire):
                await self._end(leased, _refused(JobState.EXPIRED, said.reason, "It could not end by its deadline."))
                return 0
            work = self._running[job.id] = _Work(leased, said)
            task = group.create_task(self._work(work))
            task.add_done_callback(lambda _: self._running.pop(job.id, None))
            return 1
        return 0

    # What is known of a job without its content.

    def _facts(self, site: Site, job: Job, now_ms: int) -> Facts:
        name = site.names.get(job.model)
        names = name.targets if name is not None else ()
        mode = name.mode if name is not None else Mode.AUTO
        is_cloud_wanted = job.wish is Wish.CLOUD or mode in (Mode.CLOUD, Mode.SHADOW)
        return Facts(
            now_ms=now_ms,
            deadline_at_ms=job.deadline_at_ms,
            edge=self._chances(site, job, [one for one in names if site.targets[one].spec.at is Place.EDGE]),
            cloud=self._chances(site, job, [one for one in names if site.targets[one].spec.at is Place.CLOUD]),
            is_edge_last=is_cloud_wanted,
        )

    def _chances(self, site: Site, job: Job, names: Sequence[str]) -> Chances:
        """What the targets of one place offer, the best of each."""
        permitted = [name for name in names if self._is_permitted(site, job, name)]
        estimates = [
            site.speeds.predict(
                name, prompt_tokens=256, output_tokens_max=None, price=site.targets[name].spec.price, queue=(0, 0, 1)
            )
            for name in permitted
        ]
        p50_s = min((one.total_s_p50 for one in estimates if one.total_s_p50 is not None), default=0.0)
        p95_s = min((one.total_s_p95 for one in estimates if one.total_s_p95 is not None), default=0.0)
        is_free = any(self._is_free(site, name) for name in permitted)
        return Chances(bool(permitted), is_free, p50_s * 1e3, p95_s * 1e3)

    @staticmethod
    def _is_permitted(site: Site, job: Job, name: str) -> bool:
        spec = site.targets[name].spec
        if spec.at is Place.EDGE:
            return job.endpoint.value in spec.endpoints
        limit = constrain(site.policy, Findings(job.labels), spec, key=job.key, model=job.model)
        is_held = site.is_cloud_off or job.wish is Wish.EDGE or limit.egress is Egress.NEVER
        return not is_held and job.endpoint.value in spec.endpoints

    def _is_free(self, site: Site, name: str) -> bool:
        if _is_open(site, name):
            return False
        active, waiting = site.targets[name].load()
        if site.targets[name].spec.at is Place.EDGE:
            mine = sum(work.at is Place.EDGE for work in self._running.values())
            return active <= mine and not waiting
        usd_left, bytes_left = site.spend.left(site.budgets)
        return active < site.targets[name].spec.slots and (usd_left is None or usd_left > 0) and bytes_left != 0

    def _is_edge_idle(self, site: Site) -> bool:
        return any(self._is_free(site, name) for name, target in site.targets.items() if target.spec.at is Place.EDGE)

    # One job.

    async def _work(self, work: _Work) -> None:
        """A leased job, to its end or back into the queue."""
        leased, site = work.leased, self._current()
        keeping = asyncio.ensure_future(self._keep(work, site))
        try:
            request = self._request(leased, site)
            caller = Caller(self._drains.answer_bytes_max)
            work.serving = asyncio.ensure_future(serve(request, caller, _only(site, leased.job.model, work.run.at)))
            outcome = await work.serving
            await self._judge(work, outcome, caller)
        except RequestError as error:
            await self._end(leased, _ending(JobState.FAILED, error))
        except EcotoneError:
            return  # the store refuses: the lease lapses, and the job is found again
        except asyncio.CancelledError:
            if work.gave_way and not work.is_lost:
                await self._back(leased, ASKED, pause=0, is_attempt=False)
                return
            if not work.is_lost:
                raise
        except Exception:  # noqa: BLE001 - a supervisor: a defect costs a job one of its attempts, never the site
            with contextlib.suppress(EcotoneError):
                await self._back(leased, ASKED, pause=self._drains.backoff.first_ms, is_attempt=True)
        finally:
            keeping.cancel()
            if work.serving is not None:
                work.serving.cancel()

    def _request(self, leased: Leased, site: Site) -> Request:
        """The request that a job asks for, as if it came now."""
        job, now_s = leased.job, site.clock.now_s()
        self._counter += 1
        left_s = max(0.0, (job.deadline_at_ms - self._now_ms()) / 1e3)
        head = Head(
            id=mint_id(self._now_ms(), "0b0b0b", self._counter),
            received_at_s=now_s,
            seed=self._counter,
            key=job.key,
            wish=job.wish,
            deadline_at_s=now_s + left_s,
            labels=job.labels,
        )
        request = decode(job.endpoint, leased.body, head)
        site.journal.note("job", {"job": job.id, "request": request.id, "attempt": job.attempts, "batch": job.batch})
        return request

    async def _keep(self, work: _Work, site: Site) -> None:
        """Keeps the lease, and gives way to whoever waits for the edge."""
        lease_s = self._drains.lease_s
        renew_at_s = site.clock.now_s() + lease_s / 3
        while True:
            await asyncio.sleep(GIVE_WAY_EVERY_S)
            if not work.run.is_urgent and self._is_in_the_way(site, work):
                work.gave_way = True
            elif site.clock.now_s() >= renew_at_s:
                renew_at_s = site.clock.now_s() + lease_s / 3
                with contextlib.suppress(EcotoneError):
                    work.is_lost = not await self._queue.extend(
                        work.leased.token, now_ms=self._now_ms(), lease_ms=int(lease_s * 1e3)
                    )
            if (work.gave_way or work.is_lost) and work.serving is not None:
                work.serving.cancel()
                return

    def _is_in_the_way(self, site: Site, work: _Work) -> bool:
        """Whether somebody waits at a target at the edge that jobs of ours occupy."""
        if work.at is Place.CLOUD:
            return False
        name = site.names.get(work.leased.job.model)
        return any(
            site.targets[one].load()[1] > 0
            for one in (name.targets if name is not None else ())
            if site.targets[one].spec.at is Place.EDGE
        )

    async def _judge(self, work: _Work, outcome: Outcome, caller: Caller) -> None:
        """What an attempt's end means for the job."""
        leased, status = work.leased, outcome.status
        body = caller.body if caller.body else encode_error(RequestError("internal", "No answer came.", status=502))
        if outcome.ending == "answered" and status == 200 and not caller.is_too_large:
            ending = Ending(
                state=JobState.ANSWERED,
                status=200,
                reason=outcome.reason,
                body=body,
                target=outcome.target,
                at=outcome.at,
            )
            await self._end(leased, ending)
            return
        is_retried = outcome.ending in RETRIED_ENDINGS or status in RETRIED_STATUSES
        pause = pause_ms(leased.job.attempts, self._drains.backoff, self._dice) if is_retried else None
        if pause is not None and self._now_ms() + pause < leased.job.deadline_at_ms:
            is_offline = work.run.at is Place.CLOUD
            await self._back(leased, OFFLINE if is_offline else ASKED, pause=pause, is_attempt=True)
            return
        state = JobState.REFUSED if outcome.reason in LASTING else JobState.FAILED
        if is_retried and outcome.ending == "deadline":
            state = JobState.EXPIRED
        await self._end(leased, Ending(state=state, status=status or 502, reason=outcome.reason, body=body))

    async def _end(self, leased: Leased, ending: Ending) -> None:
        has_ended = await self._queue.settle(leased.token, ending, now_ms=self._now_ms())
        if has_ended and self._ended is not None:
            self._ended(Ended(leased.job, ending))

    async def _back(self, leased: Leased, reason: str, *, pause: int, is_attempt: bool) -> None:
        now_ms = self._now_ms()
        await self._queue.release(
            leased.token, now_ms=now_ms, not_before_ms=now_ms + pause, reason=reason, is_attempt=is_attempt
        )

    def _now_ms(self) -> int:
        return int(self._current().clock.wall_s() * 1e3)


class _Work:
    """A job under way.

    Attributes:
        gave_way: It was stopped because somebody waited for the edge.
        is_lost: The lease is somebody else's, or the job was cancelled.
    """

    def __init__(self, leased: Leased, run: Run) -> None:
        self.leased = leased
        self.run = run
        self.serving: asyncio.Future[Outcome] | None = None
        self.gave_way = False
        self.is_lost = False

    @property
    def at(self) -> Place | None:
        """The place that it was begun for."""
        return self.run.at


class Caller:
    """Who takes a job's answer (`ports.Caller`): keeps it, within a limit.

    Attributes:
        body: What came.
        is_too_large: More came than is kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self.body = b""
        self.is_too_large = False
        self._bytes_max = bytes_max

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """See `ports.Caller.begin`. The outcome tells all that is kept of it."""

    def write(self, chunk: bytes) -> None:
        """See `ports.Caller.write`."""
        if len(self.body) + len(chunk) > self._bytes_max:
            self.is_too_large = True
        else:
            self.body += chunk

    def finish(self) -> None:
        """See `ports.Caller.finish`."""

    def cut(self) -> None:
        """See `ports.Caller.cut`."""

    def on_flow(self, pause: Callable[[], None] | None, resume: Callable[[], None] | None) -> None:
        """See `ports.Caller.on_flow`: it is never slow."""


def _only(site: Site, model: str, at: Place | None) -> Site:
    """The site as a job sees it that is begun for one place."""
    name = site.names.get(model)
    if at is None or name is None:
        return site
    targets = tuple(one for one in name.targets if site.targets[one].spec.at is at)
    names: dict[str, ModelName] = dict(site.names)
    names[model] = msgspec.structs.replace(name, targets=targets)
    return dataclasses.replace(site, names=names)


def _is_open(site: Site, name: str) -> bool:
    condition = site.breakers[name].condition(site.clock.now_s(), in_flight=0, waiting=0)
    return condition.breaker == "open"


def _refused(state: JobState, reason: str, words: str) -> Ending:
    error = RequestError(reason, words, status=504)
    return Ending(state=state, status=504, reason=reason, body=encode_error(error))


def _ending(state: JobState, error: EcotoneError) -> Ending:
    return Ending(state=state, status=error.status, reason=f"refused.{error.code}", body=encode_error(error))


def ended_view(job: Job) -> dict[str, Any]:
    """A job as callers see it."""
    return {name: value for name, value in msgspec.to_builtins(job).items() if name not in ("key", "idempotency")}
