"""Deliveries of a running site: a child process for each, told what to take, killed when it is in the way.

A newer wish ends the child of an older one: nothing that is stuck stands in the way of what comes after it. What had
arrived is there for the next child. When nothing is new, what is signed is still refreshed twice a day, so that the
site can say how fresh it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

import msgspec

from ecotone.agent import errands
from ecotone.agent.errands import Done, Failed, Job, Offer, Ready, Refused, Renew, Step, Take, Token, Wished
from ecotone.agent.talking import Times, ago, instant
from ecotone.values import RefusalError, TargetError
from ecotone.values.fleet import AssetReport, AssetState

__all__ = ["COMMAND", "Chosen", "Deliveries", "Known", "Shop"]

COMMAND: Final = (sys.executable, "-P", "-m", "ecotone.delivery.worker")
ENVIRONMENT: Final = (
    "PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "TMPDIR", "HTTPS_PROXY", "https_proxy",
    "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""All of the environment that the child sees: the site's holds secrets."""

REFRESH_S: Final = 12 * 3600.0
RETRY_S_MIN: Final = 30.0
RETRY_S_MAX: Final = 3600.0
LOOK_S: Final = 5.0
"""So often it is looked whether the child may go on."""
STOP_S: Final = 5.0
NOTHING: Final = "trust.not_assigned"
"""The hub wants nothing here yet: that is no trouble."""
CODE_CHARS_MAX: Final = 64

log = logging.getLogger("ecotone.hub")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the child verified last; kept over starts.

    Attributes:
        generation: Of the wish.
        issued_s, expires_s, floor_s: As `errands.Wished` has them.
        verified_s: When that was, Unix seconds by the site's clock.
        offers: What the hub wants here.
    """

    generation: int = 0
    issued_s: float = 0.0
    expires_s: float = 0.0
    floor_s: float = 0.0
    verified_s: float = 0.0
    offers: tuple[Offer, ...] = ()


class Chosen(msgspec.Struct, frozen=True):
    """What is to be taken of a wish.

    Attributes:
        take: To be fetched.
        passed: What is not, each with the code why: `pinned`, `failed`, `memory`, `cpu`, `speed`; `''`: it is here.
    """

    take: tuple[Offer, ...]
    passed: tuple[tuple[Offer, str], ...] = ()


class Shop(Protocol):
    """What the site gives to its deliveries."""

    def job(self) -> Job:
        """The errand, without a token."""

    def is_open(self) -> bool:
        """Whether the link may be used for it now."""

    def session(self) -> Awaitable[str]:
        """A token, after the entry in the ledger that a delivery begins.

        Raises:
            TargetError, RefusalError: as `link.Link.session`.
        """

    def renewed(self) -> Awaitable[str]:
        """Another token than before; raises as `session`."""

    def choose(self, offers: Sequence[Offer]) -> Chosen:
        """What of it is to be taken."""

    def verified(self, known: Known) -> None:
        """A wish was verified: to be kept."""

    def ready(self, offer: Offer) -> None:
        """It is here, whole and checked: the site may use it from now on."""


class Deliveries:
    """See the module.

    Attributes:
        known: What was verified last.
        on_change: Called at each change of an asset's state.
    """

    def __init__(self, shop: Shop, times: Times, dice: Random, known: Known | None = None) -> None:
        """Starts nothing yet."""
        self.known = known or Known()
        self.on_change: Callable[[], None] = lambda: None
        self._shop, self._times, self._dice = shop, times, dice
        self._news = asyncio.Event()
        self._due_s = times.now_s()
        self._failures = 0
        self._told = 0
        self._trouble: tuple[str, str] = ("", "")
        self._reports: dict[str, AssetReport] = {}
        self._is_passing = False

    # What others call.

    def wanted(self, generation: int) -> None:
        """The hub has something new."""
        self._told = generation
        if generation != self.known.generation:
            self._news.set()

    def again(self) -> None:
        """What may be taken has changed (a trial failed, something was unpinned): the wish is looked at once more."""
        self._news.set()

    def reports(self) -> tuple[AssetReport, ...]:
        """What is wanted, coming, or refused."""
        return tuple(self._reports.values())

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        code, message = self._trouble
        return [f"deliveries from the hub: {message}"] if code not in ("", NOTHING) else []

    @property
    def trouble(self) -> str:
        """The code of what is wrong with what the hub says, or `''`."""
        return "" if self._trouble[0] == NOTHING else self._trouble[0]

    def status(self) -> dict[str, Any]:
        """For `ecotone status`."""
        known, now_s = self.known, max(self._times.wall_s(), self.known.floor_s)
        if not known.verified_s:
            return {"verified_generation": None, "fresh": "never verified", "stale_since": None}
        return {
            "verified_generation": known.generation,
            "fresh": f"verified {ago(now_s - known.verified_s)}, signed {ago(now_s - known.issued_s)}",
            "stale_since": instant(known.expires_s) if now_s > known.expires_s else None,
        }

    async def live(self) -> None:
        """Delivers for ever."""
        while True:
            left_s = self._due_s - self._times.now_s()
            if left_s > 0 and not self._news.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), left_s)
                continue
            if not self._shop.is_open():
                await asyncio.sleep(LOOK_S)
                continue
            self._news.clear()
            await self._errand()

    # Within.

    async def _errand(self) -> None:
        """One child, from its start to its end; then it is decided when the next one is due."""
        try:
            token = await self._shop.session()
            # What is announced may not be there yet to be fetched, or never come.
            is_good = await self._with_child(token) and self.known.generation >= self._told
        except (TargetError, RefusalError, OSError) as error:
            is_good = False
            self._fail(getattr(error, "code", "delivery.process"), str(error))
        if is_good:
            self._failures = 0
            self._due_s = self._times.now_s() + REFRESH_S * self._dice.uniform(0.8, 1.0)
            return
        self._failures += 1
        pause_s = min(RETRY_S_MAX, RETRY_S_MIN * 2.0 ** min(self._failures - 1, 10)) * self._dice.uniform(0.5, 1.0)
        self._due_s = self._times.now_s() + pause_s

    async def _with_child(self, token: str) -> bool:
        """Runs a child; whether all is done that could be done."""
        child = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            start_new_session=True,
            limit=errands.LINE_BYTES_MAX,
        )
        errand = _Errand(self, child)
        watching = asyncio.ensure_future(self._watch(child))
        try:
            errand.say(msgspec.structs.replace(self._shop.job(), token=token))
            await errand.listen()
        finally:
            watching.cancel()
            if not errand.is_over:  # the site stops, or the child talks nonsense: nobody waits for it
                _end(child)
            await _stopped(child)
        if errand.is_over:
            return not self._is_passing and self._trouble[0] in ("", NOTHING)
        if not self._news.is_set() and self._shop.is_open():
            why = f"the child ended with {child.returncode} before it was done; is `ecotone[hub]` installed?"
            self._fail("delivery.process", why)
        return False

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        """Ends the child when something newer is wanted, or the link may not be used any more."""
        while not self._news.is_set() and self._shop.is_open():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_S)
        _end(child)

    async def renewed(self) -> str:
        """See `Shop.renewed`; `''` where there is none to be had now."""
        try:
            return await self._shop.renewed()
        except (TargetError, RefusalError):
            return ""

    def take(self, wished: Wished) -> tuple[str, ...]:
        """Takes in what was verified; what is to be fetched, by the digests of the manifests."""
        self._trouble = ("", "")
        self._is_passing = False
        is_new = wished.generation != self.known.generation
        self.known = Known(
            generation=wished.generation,
            issued_s=wished.issued_s,
            expires_s=wished.expires_s,
            floor_s=wished.floor_s,
            verified_s=max(self._times.wall_s(), wished.floor_s),
            offers=wished.offers,
        )
        self._shop.verified(self.known)
        chosen = self._shop.choose(wished.offers)
        before, self._reports = self._reports, {}
        for offer, code in chosen.passed:
            if code:
                self._note(offer, "refused", code, before=before)
        for offer in chosen.take:
            self._note(offer, "wanted", before=before)
        if is_new or before != self._reports:
            self.on_change()
        return tuple(offer.sha256 for offer in chosen.take)

    def heard(self, event: Step | Ready | Refused | Failed) -> None:
        """Takes in what the child says."""
        if isinstance(event, Failed):
            self._fail(event.code, event.message)
            return
        offer = next((one for one in self.known.offers if one.sha256 == event.sha256), None)
        if offer is None:
            return
        if isinstance(event, Step):
            self._note(offer, "fetching", bytes_left=event.bytes_left)
        elif isinstance(event, Refused):
            self._is_passing = self._is_passing or event.is_passing
            log.warning("%s %s could not be had: %s", offer.name, offer.version, event.message)
            if event.is_cut:
                self._trouble = (event.code[:CODE_CHARS_MAX], event.message)
            else:
                self._note(offer, "refused", event.code)
            self.on_change()
        else:
            log.info("%s %s is here and checked", offer.name, offer.version)
            self._reports.pop(offer.name, None)
            self._shop.ready(offer)
            self.on_change()

    def _note(
        self,
        offer: Offer,
        state: AssetState,
        why: str = "",
        *,
        bytes_left: int = 0,
        before: dict[str, AssetReport] | None = None,
    ) -> None:
        old = (self._reports if before is None else before).get(offer.name)
        is_same = old is not None and (old.sha256, old.state, old.why) == (offer.sha256, state, why)
        now_s = max(self._times.wall_s(), self.known.floor_s)
        self._reports[offer.name] = AssetReport(
            name=offer.name,
            version=offer.version,
            kind=offer.kind,
            sha256=offer.sha256,
            state=state,
            attempt=offer.attempt,
            since_s=old.since_s if old is not None and is_same else now_s,
            why=why[:CODE_CHARS_MAX],
            bytes_left=bytes_left,
        )

    def _fail(self, code: str, message: str) -> None:
        if self._trouble[0] != code:
            level = logging.INFO if code == NOTHING else logging.WARNING
            log.log(level, "nothing is taken from the hub now: %s", message)
            self._trouble = (code[:CODE_CHARS_MAX], message)
            self.on_change()


class _Errand:
    """One child, and what it says."""

    def __init__(self, deliveries: Deliveries, child: asyncio.subprocess.Process) -> None:
        self.is_over = False
        self._deliveries, self._child = deliveries, child

    def say(self, order: errands.Order) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(errands.line(order))

    async def listen(self) -> None:
        """To the child's end, or until it talks nonsense."""
        assert self._child.stdout is not None
        while True:
            try:
                line = await self._child.stdout.readline()
                if not line:
                    return
                event = errands.event(line)
            except (ValueError, msgspec.MsgspecError):
                return
            if isinstance(event, Wished):
                self.say(Take(self._deliveries.take(event)))
            elif isinstance(event, Renew):
                self.say(Token(await self._deliveries.renewed()))
            elif isinstance(event, Done):
                self.is_over = True
            else:
                self.is_over = isinstance(event, Failed)
                self._deliveries.heard(event)


def _end(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()


async def _stopped(child: asyncio.subprocess.Process) -> None:
    """The child is gone and reaped."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), STOP_S)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
