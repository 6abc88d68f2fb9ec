"""Works on the queue of jobs: after interactive work, within deadlines, each to exactly one end (invariant 5).

`jobs.dispatch` says whether it is time for a job, from what is known without its content; then the job is leased and
goes the way of every request, through `serve`. It ends here once, or waits again. Where somebody at the edge has to
wait for a job that is not urgent, the job gives way.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from ecotone.flow.accepting import no_stream
from ecotone.flow.admission import Load
from ecotone.flow.planning import UNSEEN
from ecotone.flow.prospects import as_seen, crowd, facts, held, idle_edges, is_cloud_down
from ecotone.flow.serving import serve
from ecotone.flow.site import Site
from ecotone.jobs import Backoff, Expire, Patience, Run, Wait, decide, pause_ms
from ecotone.jobs.dispatch import ASKED, OFFLINE
from ecotone.jobs.order import Dice
from ecotone.ports import Queue
from ecotone.values import EcotoneError, Outcome, Place, Request, RequestError
from ecotone.values.job import Ending, Job, JobEvent, JobState, Leased
from ecotone.wire.errors import encode_error
from ecotone.wire.request import Head, decode, mint_id

LOOK_EVERY_S: Final = 0.2
REST_S_MIN: Final = 0.05
GIVE_WAY_EVERY_S: Final = 0.05
GIVEN_WAY_MS: Final = 1_000  # unless an edge target is idle sooner
LAPSE_EVERY_S: Final = 1.0
"""Where there are somebody else's leases, those that a clock which jumped left behind are looked for so often."""
INSIST_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between the tries to write down how a job ended; the last one again, as long as the lease may hold."""
NEAR_MS: Final = 600_000
"""While others wait, only jobs whose deadline is nearer than this are looked at."""
VAIN_MAX: Final = 8
REST_MS_MAX: Final = 30_000
"""What cannot be begun is tried again after this at the latest, as far as the pause after an attempt is not longer."""
STAYS_MAX: Final = 10_000
"""So many jobs are remembered to be none for the cloud."""
RETRY: Final = "deferred.retry"
LOST: Final = "failed.attempts"
TOO_LARGE: Final = "failed.too_large"
DUE_MAX: Final = 64
"""So many jobs are looked at in one round."""

LASTING: Final = frozenset({"refused.policy", "refused.no_cloud", "refused.wish"})
FORBIDDEN: Final = 403
"""Status of a refusal that lasts; with 503, detectors have yet to look."""
RETRIED_ENDINGS: Final = frozenset({"failed", "broken", "deadline", "internal", "left"})
UNSENT: Final = frozenset({"busy", "breaker_open"})
"""Failures of attempts of which nothing reached a target: they do not count."""
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


class Drain:
    """The worker on one queue."""

    def __init__(
        self,
        current: Callable[[], Site],
        queue: Queue,
        dice: Dice,
        *,
        drains: Callable[[], Drains] = Drains,
    ) -> None:
        """Args:
        current: Gives the site as it is now; a reload replaces it.
        dice: For jitter.
        drains: How to work now.
        """
        self._current = current
        self._queue = queue
        self._dice = dice
        self._settings = drains
        self._running: dict[str, _Work] = {}
        self._stays: dict[str, None] = {}
        self._vain: dict[str, int] = {}
        self._begun = ""
        self._counter = 0
        self._wake = asyncio.Event()
        self._lapse_at_s = 0.0
        self._end_ms: int | None = None
        self._was_down = False
        self._was_idle: frozenset[str] = frozenset()
        self._was_held = ""

    def stir(self) -> None:
        """There is something new: look at once."""
        self._wake.set()

    def told(self, event: JobEvent) -> None:
        """A job has ended: if the work on it did not end it (cancelled; a clock set past the deadline), that stops."""
        # Also where it comes before the answer that this job was leased.
        self._begun = "" if self._begun == event.job else self._begun
        work = self._running.get(event.job)
        if work is not None and event.state in (JobState.CANCELLED, JobState.EXPIRED):
            work.lose()

    async def forever(self) -> None:
        """Until cancelled; jobs under way are then left to the next start, which finds their leases lapsed."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                # A store that refuses is tried again at the next look; nothing that was accepted is lost meanwhile.
                with contextlib.suppress(EcotoneError):
                    await self._look(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._wake.wait()

    def _rest_s(self) -> float:
        """Until the next look: a deadline that comes before the usual one is not waited past."""
        if self._end_ms is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max((self._end_ms - self._now_ms()) / 1e3, REST_S_MIN))

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """One round: what has expired, what was put off and is possible again, what may begin."""
        site, queue = self._current(), self._queue
        await self._expire(site)
        if not queue.status().states.get(JobState.WAITING, 0):
            return
        await self._hasten(site)
        room = self._settings().concurrent - len(self._running)
        if room <= 0:
            return
        now_ms = self._now_ms()
        # With others waiting, jobs stay where they are, but for those whose deadline comes near.
        before_ms = None if site.load.allows_jobs() else now_ms + NEAR_MS
        for job in await queue.due(DUE_MAX, now_ms=now_ms, deadline_before_ms=before_ms):
            # Each takes the queue some time: what must end meanwhile does not wait for all of them.
            if room <= 0 or self._is_late():
                return
            if job.id in self._running:
                # The lease has lapsed (the clock was set): nobody begins anew beside the work that is under way.
                self._running[job.id].lose()
                continue
            room -= await self._consider(site, job, group, is_full=before_ms is not None)

    async def _expire(self, site: Site) -> None:
        """Ends what is late, and takes back what a holder let lapse; only where there is some, it is a transaction."""
        states, now_s = self._queue.status().states, site.clock.now_s()
        is_others = states.get(JobState.RUNNING, 0) > len(self._running)
        if not is_others and not states.get(JobState.WAITING, 0):
            self._end_ms = None
            return
        self._end_ms = await self._queue.next_end_ms()
        if self._is_late() or (is_others and now_s >= self._lapse_at_s):
            self._lapse_at_s = now_s + LAPSE_EVERY_S
            await self._queue.expire_due(now_ms=self._now_ms())
            self._end_ms = await self._queue.next_end_ms()

    def _is_late(self) -> bool:
        """Whether something has to end."""
        return self._end_ms is not None and self._end_ms <= self._now_ms()

    async def _hasten(self, site: Site) -> None:
        """What was put off until something changes is due now, if that has changed."""
        is_down, idle, shut = is_cloud_down(site), idle_edges(site, self._mine()), held(site)
        if self._was_held and shut is None:
            # A window that was reconfigured, or a clock that was set, opens sooner than was thought.
            await self._queue.hasten(self._was_held)
        self._was_held = "" if shut is None else shut.reason
        if self._was_down and not is_down:
            await self._queue.hasten(OFFLINE)
            await self._queue.hasten(RETRY)
        if idle - self._was_idle:
            await self._queue.hasten(ASKED)
            await self._queue.hasten(OFFLINE)
        self._was_down, self._was_idle = is_down, idle

    async def _consider(self, site: Site, job: Job, group: asyncio.TaskGroup, *, is_full: bool) -> int:
        """Begins a job (1), puts it off or ends it (0)."""
        now_ms, settings = self._now_ms(), self._settings()
        mine = self._mine(), len(self._running) - self._mine()
        known = facts(site, job, stays=job.id in self._stays, mine=mine, now_ms=now_ms)
        said = decide(known, settings.patience)
        if isinstance(said, Wait):
            await self._queue.defer([job.id], not_before_ms=said.until_ms, reason=said.reason)
            # What is busy now may be idle again before the next look; what is idle now is not what this job lacks.
            self._was_idle &= idle_edges(site, mine[0])
            return 0
        if is_full and isinstance(said, Run) and not said.is_urgent:
            return 0
        self._begun = job.id
        for leased in await self._queue.lease(1, now_ms=now_ms, lease_ms=int(settings.lease_s * 1e3), ids=[job.id]):
            if isinstance(said, Expire):
                await self._end(leased, _refused(JobState.EXPIRED, said.reason, "It could not end by its deadline."))
                return 0
            if leased.job.attempts > settings.backoff.attempts_max:
                await self._end(leased, _refused(JobState.FAILED, LOST, "Whoever worked on it ended, too often."))
                return 0
            if not self._begun:
                return 0
            work = self._running[job.id] = _Work(leased, said)
            task = group.create_task(self._work(work))
            task.add_done_callback(lambda _: self._done(job.id))
            return 1
        return 0

    def _done(self, job: str) -> None:
        self._running.pop(job, None)
        self.stir()

    def _mine(self) -> int:
        """Jobs under way that may be at the edge."""
        return sum(work.at is not Place.CLOUD for work in self._running.values())

    # One job.

    async def _work(self, work: _Work) -> None:
        """A leased job, to its end or back into the queue."""
        keeping = asyncio.ensure_future(self._keep(work, self._current()))
        try:
            # Where the store or the ledger refuses, the lease lapses, and the job is found again.
            with contextlib.suppress(EcotoneError):
                await self._attempt(work)
        finally:
            keeping.cancel()
            if work.serving is not None:
                work.serving.cancel()

    async def _attempt(self, work: _Work) -> None:
        leased, site = work.leased, self._current()
        try:
            request = self._request(leased, site)
            caller = Caller(self._settings().answer_bytes_max)
            seen = as_seen(site, leased.job.model, work.run.at)
            work.load = seen.load
            work.serving = asyncio.ensure_future(serve(request, caller, seen))
            outcome = await work.serving
        except RequestError as error:
            await self._end(leased, _ending(JobState.FAILED, error))
        except asyncio.CancelledError:
            if not work.gave_way and not work.is_lost:
                raise
            if not work.is_lost:
                await self._back(leased, ASKED, pause=GIVEN_WAY_MS, is_attempt=False)
        except EcotoneError:
            raise
        except Exception:  # noqa: BLE001 - a supervisor: a defect costs a job one of its attempts, never the site
            await self._back(leased, RETRY, pause=self._settings().backoff.first_ms, is_attempt=True)
        else:
            await self._judge(work, outcome, caller)

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
        if request.is_stream:
            raise no_stream()
        site.journal.note("job", {"job": job.id, "request": request.id, "attempt": job.attempts, "batch": job.batch})
        return request

    async def _keep(self, work: _Work, site: Site) -> None:
        """Keeps the lease, and gives way to whoever waits for the edge."""
        lease_s = self._settings().lease_s
        renew_at_s = site.clock.now_s() + lease_s / 3
        while True:
            await asyncio.sleep(GIVE_WAY_EVERY_S)
            if not work.run.is_urgent and self._is_in_the_way(work):
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

    def _is_in_the_way(self, work: _Work) -> bool:
        """Whether somebody waits for the edge that this job may occupy."""
        if work.at is Place.CLOUD or work.load is None or not work.load.is_inside:
            return False
        leaving = sum(one.is_leaving for one in self._running.values())
        return crowd(self._current(), work.leased.job.model, self._mine(), is_job=True) > leaving

    async def _judge(self, work: _Work, outcome: Outcome, caller: Caller) -> None:
        """What an attempt's end means for the job."""
        leased, status, site = work.leased, outcome.status, self._current()
        site.spend.defer(site.budgets, site.clock.wall_s(), outcome.egress_bytes)
        if caller.is_too_large:
            await self._end(leased, _refused(JobState.FAILED, TOO_LARGE, "The answer is longer than is kept.", 502))
            return
        body = caller.body if caller.body else encode_error(RequestError("internal", "No answer came.", status=502))
        if outcome.ending == "answered":
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
        if outcome.reason in LASTING and status == FORBIDDEN and work.at is Place.CLOUD:
            # The dear detectors saw what the quick ones had not: it is no job for the cloud.
            self._keep_here(leased.job.id)
            await self._back(leased, ASKED, pause=0, is_attempt=False)
            return
        is_retried = outcome.ending in RETRIED_ENDINGS or status in RETRIED_STATUSES
        pause = self._pause_ms(leased.job) if is_retried else None
        if pause is not None and self._now_ms() + pause < leased.job.deadline_at_ms:
            # A text that is too much for a detector ends, too; not so one that no detector could look at yet.
            was_looked_at = outcome.reason in LASTING and outcome.failure != UNSEEN
            was_tried = any(one.failure not in UNSENT for one in outcome.attempts) or was_looked_at
            self._vain[leased.job.id] = 0 if was_tried else self._vain.get(leased.job.id, 0) + 1
            if len(self._vain) > STAYS_MAX:
                del self._vain[next(iter(self._vain))]
            # Not `deferred.offline`: that is due as soon as the edge is idle, and this one is to rest.
            await self._back(leased, RETRY, pause=pause, is_attempt=was_tried)
            return
        if is_retried and work.at is Place.CLOUD and self._may_stay(site, leased.job):
            # No time for the cloud any more, but perhaps for the edge.
            self._keep_here(leased.job.id)
            await self._back(leased, ASKED, pause=0, is_attempt=False)
            return
        # With attempts left, it was the deadline that ended it.
        state = JobState.FAILED if pause is None else JobState.EXPIRED
        if outcome.reason in LASTING:
            state = JobState.REFUSED
        await self._end(leased, Ending(state=state, status=status or 502, reason=outcome.reason, body=body))

    def _may_stay(self, site: Site, job: Job) -> bool:
        """Whether a job that was tried in the cloud alone may be tried at the edge yet."""
        known = facts(site, job, stays=True, mine=(0, 0), now_ms=self._now_ms())
        return job.id not in self._stays and known.edge.is_permitted

    def _pause_ms(self, job: Job) -> int | None:
        """How long a job rests now; None: it was begun as often as it may be.

        Where nothing was sent, again and again, that does not count as tried, but it comes at longer and longer
        intervals, as far as the deadline leaves time for some more: each try is written down.
        """
        pause, vain = pause_ms(job.attempts, self._settings().backoff, self._dice), self._vain.get(job.id, 0)
        if pause is None:
            return None
        quarter_ms = max(0, job.deadline_at_ms - self._now_ms()) // 4
        return max(pause, min(pause << min(vain, VAIN_MAX), REST_MS_MAX, quarter_ms))

    def _keep_here(self, job: str) -> None:
        self._stays[job] = None
        if len(self._stays) > STAYS_MAX:
            del self._stays[next(iter(self._stays))]

    async def _end(self, leased: Leased, ending: Ending) -> None:
        self._stays.pop(leased.job.id, None)
        self._vain.pop(leased.job.id, None)
        await self._insist(lambda now_ms: self._queue.settle(leased.token, ending, now_ms=now_ms))

    async def _back(self, leased: Leased, reason: str, *, pause: int, is_attempt: bool) -> None:
        await self._insist(
            lambda now_ms: self._queue.release(
                leased.token, now_ms=now_ms, not_before_ms=now_ms + pause, reason=reason, is_attempt=is_attempt
            )
        )

    async def _insist(self, write: Callable[[int], Awaitable[bool]]) -> None:
        """Has the queue write something down, also where it refuses for a moment: an answer that was paid for is not
        asked for again. The lease's token keeps it exactly once: over, or written already, a try changes nothing.

        Raises:
            EcotoneError: it refused for as long as a lease holds.
        """
        clock = self._current().clock
        until_s = clock.now_s() + self._settings().lease_s
        pauses_s = itertools.chain(INSIST_S, itertools.repeat(INSIST_S[-1]))
        while True:
            try:
                await write(self._now_ms())
                return  # noqa: TRY300 - the loop's one way out
            except EcotoneError:
                pause_s = next(pauses_s)
                if clock.now_s() + pause_s >= until_s:
                    raise
            await asyncio.sleep(pause_s)

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
        self.load: Load | None = None
        self.gave_way = False
        self.is_lost = False

    def lose(self) -> None:
        """The job is not this holder's any more: the work on it stops."""
        self.is_lost = True
        if self.serving is not None:
            self.serving.cancel()

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to stop, and may still be in somebody's way."""
        return self.gave_way and self.serving is not None and not self.serving.done()

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


def _refused(state: JobState, reason: str, words: str, status: int = 504) -> Ending:
    return Ending(
        state=state, status=status, reason=reason, body=encode_error(RequestError(reason, words, status=status))
    )


def _ending(state: JobState, error: EcotoneError) -> Ending:
    return Ending(state=state, status=error.status, reason=f"refused.{error.code}", body=encode_error(error))
