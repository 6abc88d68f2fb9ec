"""Callers at a steady rate, whatever becomes of them; the cloud fails by turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).resolve().parent.parent / "outage"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from callers import Ask, Caller
from contenders import KEY
from world import Server

FATES: Final = ("ok", "ok", "503", "ok", "429", "ok", "portal", "ok", "stall")
FATE_S: Final = 4.0
WELL: Final = 0.6
"""Share of the warm-up in which the cloud is well: 8,192 permits are used only where it answers."""
LEAVING: Final = 0.15
"""Share of callers who leave before the end."""
LEARNED_SHARE: Final = 0.6
"""Share of the requests that promise quality, where there is such a name."""
WORDS: Final = [f"{one}{two}" for one in ("pump", "valve", "crane", "boiler") for two in ("s", " list", " plan", " 7")]
KINDS: Final = {"json": 60, "stream": 35, "job": 5}
LOCAL_EVERY_S: Final = 4.0
"""One request to the model on this machine in so long: its engine is to be watched, not to fill the machine."""
LOCAL_EVERY_S_WARM: Final = 1.0
"""In the warm-up: some 200 prompts fill the engine's own memory of prompts (64 MiB)."""


@dataclass(frozen=True)
class LocalAsk(Ask):
    """A request to the model on this machine."""

    def body(self) -> dict[str, Any]:
        """The chat request."""
        return super().body() | {"model": "local"}


@dataclass(frozen=True)
class LearnedAsk(Ask):
    """A request to the name that promises quality: something else each time, so that there is something to learn."""

    def body(self) -> dict[str, Any]:
        """The chat request."""
        made = super().body()
        made["messages"][0]["content"] += " ".join(random.Random(self.name).choices(WORDS, k=24))
        return made | {"model": "learned"}


class Load:
    """What is sent, and how it ended.

    Attributes:
        ends: How often each ending came. Those of jobs apart, for jobs wait for the cloud until their deadline is near;
            so is who gave up a second after its deadline, for a machine that is short of time makes such ends too.
        whys: Of what was not answered.
    """

    def __init__(
        self, port: int, cloud: Server, seed: int, *, has_local: bool = False, has_learned: bool = False
    ) -> None:
        self._caller = Caller(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), port, KEY, has_jobs=True)
        self._port = port
        self._cloud = cloud
        self._dice = random.Random(seed)
        self._has_local = has_local
        self._has_learned = has_learned
        self._local_s = 0.0
        self._local_every_s = LOCAL_EVERY_S_WARM
        self.ends: Counter[str] = Counter()
        self.whys: Counter[str] = Counter()
        self.sent = 0
        self.began_s = time.monotonic()

    async def run(self, warm: tuple[int, float], rate: float, seconds: float) -> None:
        """So many requests at the warm-up's rate, then a steady rate for so long, until all callers have ended."""
        async with asyncio.TaskGroup() as group:
            well = int(WELL * warm[0])
            await self._send(group, warm[1], count=well, fates=("ok",))
            await self._send(group, warm[1], count=warm[0] - well)
            self.began_s, self._local_every_s = time.monotonic(), LOCAL_EVERY_S
            await self._send(group, rate, until_s=self.began_s + seconds)

    async def _send(
        self,
        group: asyncio.TaskGroup,
        rate: float,
        *,
        count: int = 0,
        until_s: float = 0.0,
        fates: tuple[str, ...] = FATES,
    ) -> None:
        due_s, last = time.monotonic(), self.sent + count
        while self.sent < last or time.monotonic() < until_s:
            self._cloud.behaviour = fates[int(time.monotonic() / FATE_S) % len(fates)]
            group.create_task(self._one())
            self.sent += 1
            due_s = max(due_s + self._dice.expovariate(rate), time.monotonic() - 1.0)
            await asyncio.sleep(due_s - time.monotonic())

    async def _one(self) -> None:
        self._cloud.seen.clear()
        self._cloud.answered_at_s.clear()
        now_s = time.monotonic()
        if self._has_local and now_s >= self._local_s:
            self._local_s = now_s + self._local_every_s
            await self._told(LocalAsk(f"r{self.sent}", self._dice.choice(("json", "stream")), 0.0, 1, 4))
            return
        kind = self._dice.choices(tuple(KINDS), tuple(KINDS.values()))[0]
        ask = Ask(f"r{self.sent}", kind, 0.0, self._dice.randint(2, 30))
        if kind != "job" and self._dice.random() < LEAVING:
            await self._leave(ask)
            self.ends["left"] += 1
        else:
            await self._told(ask if kind == "job" or not self._is_learned() else LearnedAsk(ask.name, kind, 0.0, 2))

    def _is_learned(self) -> bool:
        return self._has_learned and self._dice.random() < LEARNED_SHARE

    async def _told(self, ask: Ask) -> None:
        told = await self._caller.ask(ask)
        end = "hangs" if told.why == "hangs" else told.end
        self.ends[f"job {end}" if ask.kind == "job" else end] += 1
        if told.end != "answered":
            self.whys[f"{'local ' * isinstance(ask, LocalAsk)}{ask.kind}: {told.why or told.end}"] += 1

    async def _leave(self, ask: Ask) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            body = json.dumps(ask.body()).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\nauthorization: Bearer {KEY}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._dice.uniform(0.0, 0.3)):
                    while await reader.read(4096):
                        pass
            writer.transport.abort()
