"""Jobs, files and batches of a running site: the durable queue, and those who work on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from ecotone import config as settings
from ecotone import flow, gateway
from ecotone.flow.accepting import Terms, accept, note_accepted
from ecotone.flow.batching import Batching
from ecotone.flow.draining import Drain, Drains
from ecotone.flow.news import News
from ecotone.flow.noticing import Notices
from ecotone.runtime.inputs import Inputs
from ecotone.store import Ledger, Queue, QueueLimits, State, store_key
from ecotone.store.disk import Disk
from ecotone.upstreams import Resolver, Webhooks, check_url
from ecotone.values import ConfigError, EcotoneError, Job, JobState, Request

SAVE_EVERY_S: Final = 1.0
AGAIN_S: Final = 1.0
FORGET_EVERY_S: Final = 600.0
MIB: Final = 1 << 20
TOLD: Final = "webhooks"
"""The document that says how far webhooks were told."""
SECRET_FILE: Final = "webhook.secret"  # noqa: S105 - a name
_SECRET_BYTES_MAX: Final = 4096

log = logging.getLogger("ecotone.jobs")


class Working:
    """The queue and its workers, as long as the process lives.

    Attributes:
        queue: The durable queue.
        key: What content at rest is sealed with.
    """

    def __init__(self, queue: Queue, state: State, webhook_secret: bytes, key: bytes) -> None:
        """See `open`."""
        self.queue = queue
        self.key = key
        self._state = state
        self._secret = webhook_secret
        self._news = News(queue)
        self._batching: Batching | None = None
        self._drain: Drain | None = None
        self._notices: Notices | None = None
        self._current: Callable[[], flow.Site] | None = None
        self._keep_ms: Callable[[], int] = lambda: 0

    @classmethod
    def open(cls, inputs: Inputs, config: settings.Config, store: Path, state: State) -> Working:
        """Opens the queue in the store. Blocks.

        Raises:
            ConfigError: a key cannot be read or is another one, the store is in use, or a newer Ecotone made it.
        """
        # It logs pieces of what it parses.
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        jobs = config.jobs
        given = None
        if jobs.key is not None:
            # What lies in the system's keyring is looked up by the store.
            is_readable = settings.secrets.is_readable(jobs.key)
            given = (inputs.secret(jobs.key, "jobs.key") if is_readable else jobs.key).encode()
        limits = QueueLimits(
            file_bytes_max=jobs.file_mb_max * MIB,
            disk_bytes_max=jobs.disk_mb_max * MIB,
            free_bytes_min=jobs.free_mb_min * MIB,
        )
        secret = (
            _kept_secret(store)
            if jobs.webhook_secret is None
            else inputs.secret(jobs.webhook_secret, "jobs.webhook_secret").encode()
        )
        key = store_key(store, given)
        return cls(Queue.open(store, key, limits=limits), state, secret, key)

    def begin(
        self, running: Callable[[], flow.Site], config: Callable[[], settings.Config], resolver: Resolver
    ) -> None:
        """Makes the workers; `live` runs them."""
        self._current = running
        dice = random.Random()  # noqa: S311 - jitter, not a secret
        self._batching = Batching(running, self.queue)
        self._drain = Drain(running, self.queue, dice, drains=lambda: Drains(concurrent=config().jobs.concurrent))
        # Where nothing was kept, all that is remembered is told (again): better twice than never.
        told = self._state.read(TOLD, int) or 0
        hooks = Webhooks(resolver, self._secret)
        self._notices = Notices(running, self.queue, hooks.tell, dice, told=told)
        self._keep_ms = lambda: int(config().jobs.keep_days * 86_400_000)
        self._news.on_end(self._batching.told)
        self._news.on_end(self._drain.told)

    def work(self, config: settings.Config) -> gateway.Work:
        """What the gateway opens onto."""
        assert self._batching is not None, "begun first"
        assert self._drain is not None, "begun first"
        return gateway.Work(
            queue=self.queue,
            news=self._news,
            batching=self._batching,
            accept=self._accept,
            accepted=self._accepted,
            check_webhook=lambda url: check_url(url, config.jobs.webhook_hosts),
            stir=self._drain.stir,
            file_bytes_max=config.jobs.file_mb_max * MIB,
        )

    def stir(self) -> None:
        """A target is back: jobs that wait for it wait no longer."""
        if self._drain is not None:
            self._drain.stir()

    async def live(self) -> None:
        """Works until cancelled. Jobs under way are then left to the next start."""
        assert self._batching is not None, "begun first"
        assert self._drain is not None, "begun first"
        assert self._notices is not None, "begun first"
        workers = (
            self._news.forever, self._drain.forever, self._batching.forever, self._notices.forever,
            self._save_forever, self._forget_forever,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(_supervised(worker))

    async def close(self) -> None:
        """What was accepted is durable; nothing is accepted any more."""
        self._news.close()
        with contextlib.suppress(EcotoneError):
            await asyncio.to_thread(self._save)
        await self.queue.close()

    def note(self, ledger: Ledger) -> None:
        """Says in the ledger what the start found, where it is not plain."""
        found = self.queue.recovered
        if found.loss is not None:
            ledger.note("queue", {"what": "broken", "released": found.released})
            log.error("the queue's file was broken: it was put aside, and what could be read was taken over")
        if found.released:
            log.info("%d jobs were under way when the last process ended; they wait again", found.released)

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        failure = self.queue.status().failure
        return [f"the queue cannot be written ({failure}): no jobs are taken"] if failure else []

    def status(self) -> dict[str, Any]:
        """For `GET /admin/status`."""
        status = self.queue.status()
        states = {state.value: status.states.get(state, 0) for state in JobState}
        return {
            **states,
            "waiting_bytes": status.waiting_bytes,
            "disk_bytes": status.disk_bytes,
            "failure": status.failure or None,
            "webhooks_given_up": self._notices.given_up if self._notices is not None else 0,
        }

    def states(self) -> dict[str, float]:
        """For the metric: jobs by state."""
        return {state.value: float(count) for state, count in self.queue.status().states.items()}

    def _accept(self, request: Request, terms: Terms) -> tuple[Job, bytes]:
        assert self._current is not None, "begun first"
        return accept(self._current(), request, terms)

    def _accepted(self, job: Job) -> None:
        assert self._current is not None, "begun first"
        note_accepted(self._current(), job)

    def _save(self) -> None:
        if self._notices is not None:
            self._state.write(TOLD, self._notices.told)

    async def _save_forever(self) -> None:
        """Keeps how far webhooks were told: what is not kept is told twice."""
        kept = -1
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            told = self._notices.told if self._notices is not None else kept
            if told != kept:
                with contextlib.suppress(EcotoneError):
                    await asyncio.to_thread(self._save)
                    kept = told

    async def _forget_forever(self) -> None:
        """Removes what ended long ago, but for the jobs of batches under way."""
        assert self._batching is not None, "begun first"
        while True:
            assert self._current is not None, "begun first"
            now_ms = int(self._current().clock.wall_s() * 1e3)
            oldest_ms = self._batching.oldest_ms()
            before_ms = now_ms - self._keep_ms()
            with contextlib.suppress(EcotoneError):
                await self.queue.delete_ended(
                    before_ms if oldest_ms is None else min(before_ms, oldest_ms), now_ms=now_ms
                )
            await asyncio.sleep(FORGET_EVERY_S)


async def _supervised(worker: Callable[[], Awaitable[None]]) -> None:
    """A worker that a defect ended begins again: callers at the front never pay for it."""
    while True:
        try:
            await worker()
        except Exception as error:  # noqa: BLE001 - a supervisor; the words of the error could hold content
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("a worker on the queue failed: %s\n%s", type(error).__name__, trace)  # noqa: TRY400 - see above
            await asyncio.sleep(AGAIN_S)


def _kept_secret(store: Path) -> bytes:
    """The secret of this store's webhooks, made at the first start."""
    path = store / SECRET_FILE
    try:
        if not path.exists():
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            Disk().save(path, secrets.token_hex(32).encode() + os.linesep.encode())
        found = path.read_bytes()[:_SECRET_BYTES_MAX].strip()
    except OSError as error:
        raise ConfigError("store.path", f"{path}: {error}; check owner and rights") from error
    if not found:
        raise ConfigError("store.path", f"{path}: empty; remove it, and a new one is made")
    return found
