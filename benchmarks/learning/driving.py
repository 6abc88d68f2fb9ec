"""Callers of a site, and what became of each of their requests."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloud import Ahead
from site_process import BenchError, Site
from tasks import MODEL, Item

CALLERS = 3
WAITING_MAX = 24
"""Second answers that wait: from here on callers wait too. A site whose edge cannot keep up would drop pairs, and the
promise counts those that it misses."""

LOOK_EVERY_S = 0.5
TARGET = "small"


@dataclass(frozen=True)
class Sample:
    """One request of a caller.

    Attributes:
        place, reason: Where it was answered, and why, by the answer's headers; `''` where it failed.
        said: The answer's text.
        took_s: Seconds that the caller waited.
    """

    item: Item
    id: str
    place: str
    reason: str
    said: str
    took_s: float


@dataclass(frozen=True)
class Standing:
    """What a site says of its promise.

    Attributes:
        certificate: Number and figures; None where nothing is promised.
    """

    rung: str
    learned: int
    certifying: int
    missing: int
    waiting: int
    dropped: int
    suspended: str
    needed: int | None
    certificate: dict[str, Any] | None

    @property
    def number(self) -> int:
        """Of the certificate; 0 = none."""
        return 0 if self.certificate is None else int(self.certificate["number"])


def standing(site: Site) -> Standing:
    """What the site says now."""
    status = site.status()
    name = status["quality"][MODEL]
    gate, comparing = name["targets"][TARGET], status["comparing"]
    return Standing(
        rung=name["rung"],
        learned=gate["learned"],
        certifying=gate["certifying"],
        missing=gate["missing"],
        waiting=comparing["waiting"],
        dropped=comparing["dropped"],
        suspended=gate["suspended"],
        needed=gate["pairs_needed"],
        certificate=gate["certificate"],
    )


class Drive:
    """Callers who ask one request after the other, until enough."""

    def __init__(self, site: Site, traffic: Ahead, *, callers: int = CALLERS) -> None:
        self._site = site
        self._traffic = traffic
        self._callers = callers
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._left = 0
        self.samples: list[Sample] = []

    def run(self, count: int, *, enough: Callable[[Standing], bool] = lambda now: False, within_s: float) -> Standing:
        """Sends so many requests, or fewer where it is enough before; waits for second answers too.

        Raises:
            BenchError: a caller got no answer, or the site is too slow for anything.
        """
        self._left = count
        self._open.set()
        failed: list[BaseException] = []
        threads = [threading.Thread(target=self._call, args=(failed,)) for _ in range(self._callers)]
        for thread in threads:
            thread.start()
        until_s = time.monotonic() + within_s
        while any(thread.is_alive() for thread in threads):
            now = standing(self._site)
            if enough(now) or failed or time.monotonic() > until_s:
                self._stop()
            elif now.waiting < WAITING_MAX:
                self._open.set()
            else:
                self._open.clear()
            time.sleep(LOOK_EVERY_S)
        for thread in threads:
            thread.join()
        if failed:
            raise BenchError(f"a caller failed: {failed[0]!r}") from failed[0]
        while (now := standing(self._site)).waiting and not enough(now) and time.monotonic() < until_s:
            time.sleep(LOOK_EVERY_S)
        return now

    def _stop(self) -> None:
        with self._lock:
            self._left = 0
        self._open.set()

    def _next(self) -> Item | None:
        self._open.wait()
        with self._lock:
            if self._left <= 0:
                return None
            self._left -= 1
        return self._traffic.next()

    def _call(self, failed: list[BaseException]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._site.port, timeout=300)
        with contextlib.closing(connection):
            while True:
                try:
                    item = self._next()
                    if item is None:
                        return
                    made = ask(self._site, item, connection=connection)
                except (OSError, http.client.HTTPException, ValueError) as error:
                    failed.append(error)
                    return
                with self._lock:
                    self.samples.append(made)


def ask(site: Site, item: Item, *, model: str = MODEL, connection: http.client.HTTPConnection | None = None) -> Sample:
    """One request of a caller."""
    began_s = time.perf_counter()
    status, headers, answer = site.ask("/v1/completions", item.body() | {"model": model}, connection)
    took_s = time.perf_counter() - began_s
    if status != 200:
        return Sample(item, "", "", f"{status}", "", took_s)
    said = answer["choices"][0]["text"]
    return Sample(item, headers["ecotone-id"], headers["ecotone-placed"], headers["ecotone-reason"], said, took_s)
