"""Callers of a site under trouble: what they were told is written down, and held against the site later."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from tests.faults.rounds.site import RoundSite

CHAT: Final = "/v1/chat/completions"
EXPLAINED: Final = frozenset({429, 502, 503, 504, 507})
"""With a code of its own each of these tells a caller what is the matter; `internal` tells nothing."""
PAUSE_S: Final = 0.01
BATCH_LINES: Final = 4


class Books(msgspec.Struct):
    """What was acknowledged in one home.

    Attributes:
        jobs: Words of each job that was acknowledged, by its id; `''` where the local engine is asked.
        cancelled: Jobs of which a caller was told that they are cancelled.
        batches: Batches that were acknowledged.
        events: (number, job, state) of all that `/v1/jobs/events` told, across all lives of the site.
        lost: Jobs that a lying medium took away.
        ends: How requests ended, by kind, across all rounds.
        faults: What nobody can explain.
        slow_s: Longest wait for an answer while the site lived.
    """

    jobs: dict[str, str] = {}
    cancelled: set[str] = set()
    batches: list[str] = []
    events: list[tuple[int, str, str]] = []
    lost: set[str] = set()
    ends: Counter[str] = msgspec.field(default_factory=Counter)
    faults: list[str] = []
    slow_s: float = 0.0


class Crowd:
    """All callers of one life of a site; `begin`, then `killed` as it is killed, then `join`."""

    def __init__(self, site: RoundSite, books: Books, number: int, seed: int) -> None:
        self._site, self._books, self._number = site, books, number
        self._is_killed = threading.Event()
        self._lock = threading.Lock()
        dice = random.Random(seed)
        works: list[Callable[[random.Random, Iterator[str]], None]] = [
            self._talk, self._local, self._local, self._put, self._put, self._batch, self._follow, self._look,
        ]  # fmt: skip
        self._threads = [
            threading.Thread(target=self._guarded, args=(work, random.Random(dice.getrandbits(32)), place))
            for place, work in enumerate(works)
        ]

    def begin(self) -> None:
        """Starts them."""
        for thread in self._threads:
            thread.start()

    def killed(self) -> None:
        """From now on the site may be gone."""
        self._is_killed.set()

    def join(self) -> None:
        """Until all that have begun have seen that it is."""
        for thread in [one for one in self._threads if one.ident is not None]:
            thread.join(60)
            assert not thread.is_alive(), "a caller hangs although the site is gone"

    def _guarded(self, work: Callable[[random.Random, Iterator[str]], None], dice: random.Random, place: int) -> None:
        """One caller until the site is gone. Whose connection breaks before that has found a fault."""
        words = (f"round {self._number} caller {place} turn {turn}" for turn in range(1 << 30))
        while not self._is_killed.is_set():
            try:
                work(dice, words)
            except (OSError, http.client.HTTPException) as error:
                if self._is_killed.is_set():
                    self._end("cut by the kill")
                    return
                self._fault(f"{work.__name__}: {type(error).__name__}: {error}")
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - a caller's own failure is a fault of the round
                self._fault(f"{work.__name__}: {type(error).__name__}: {error}")
                return
            self._is_killed.wait(PAUSE_S * dice.random())

    def _end(self, how: str) -> None:
        with self._lock:
            self._books.ends[how] += 1

    def _fault(self, words: str) -> None:
        with self._lock:
            self._books.faults.append(f"round {self._number}: {words}")

    def _ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        began_s = time.monotonic()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, told = self._site.ask(method, path, body, given)
        with self._lock:
            self._books.slow_s = max(self._books.slow_s, time.monotonic() - began_s)
        return status, told

    def _explained(self, what: str, status: int, told: bytes) -> None:
        """An answer that is none says why."""
        try:
            code = str(json.loads(told)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            code = ""
        if status in EXPLAINED and code and code != "internal":
            self._end(f"{what}: {code}")
        else:
            self._fault(f"{what}: {status} {told[:200]!r}")

    # Interactive work.

    def _talk(self, dice: random.Random, words: Iterator[str]) -> None:
        said = next(words)
        if dice.random() < 0.7:
            self._stream("talk", said, {})
        else:
            self._whole("talk", said, {})

    def _local(self, dice: random.Random, words: Iterator[str]) -> None:
        more = {"max_tokens": dice.randrange(2, 24), "temperature": 0}
        if dice.random() < 0.7:
            self._stream("local", next(words), more)
        else:
            self._whole("local", next(words), more)

    def _whole(self, name: str, said: str, more: dict[str, Any]) -> None:
        status, told = self._ask("POST", CHAT, body_of(name, said) | more)
        if status != 200:
            self._explained(name, status, told)
            return
        answer = json.loads(told)["choices"][0]["message"]["content"]
        if name == "local" or answer == said:
            self._end(f"{name}: answered")
        else:
            self._fault(f"{name}: {answer!r} is no answer to {said!r}")

    def _stream(self, name: str, said: str, more: dict[str, Any]) -> None:
        with contextlib.closing(self._site.begin(body_of(name, said) | more | {"stream": True})) as connection:
            answer = connection.getresponse()
            if answer.status != 200:
                self._explained(name, answer.status, answer.read())
                return
            try:
                told, is_cut = answer.read(), False
            except http.client.IncompleteRead as error:
                told, is_cut = error.partial, True
        self._judge(name, said, told, is_cut=is_cut)

    def _judge(self, name: str, said: str, told: bytes, *, is_cut: bool) -> None:
        """A stream is whole, or says that it is not, or breaks off as the site dies; half of it never ends cleanly."""
        events = [line[6:] for line in told.split(b"\n\n") if line.startswith(b"data: ")]
        if events and events[-1] == b"[DONE]":
            pieces = [json.loads(event) for event in events[:-1]]
            text = "".join(one["choices"][0]["delta"].get("content") or "" for one in pieces if one.get("choices"))
            if name == "talk" and text != said:
                self._fault(f"a stream that ends well says {text!r} to {said!r}")
            else:
                self._end(f"{name} stream: whole")
        elif events and b'"error"' in events[-1]:
            self._end(f"{name} stream: {json.loads(events[-1])['error']['code']}")
        elif is_cut and self._is_killed.is_set():
            self._end(f"{name} stream: cut by the kill")
        else:
            self._fault(f"{name} stream: {'cut' if is_cut else 'ended'} without a word, {told[-80:]!r}")

    # Work that waits.

    def _put(self, dice: random.Random, words: Iterator[str]) -> None:
        said = next(words)
        name = dice.choices(("work", "away", "local"), (60, 37, 3))[0]
        more = {"max_tokens": 4} if name == "local" else {}
        status, told = self._ask("POST", CHAT, body_of(name, said) | more, Prefer="respond-async", Idempotency_Key=said)
        if status != 202:
            self._explained("job", status, told)
            return
        job = json.loads(told)["id"]
        self._books.jobs[job] = "" if name == "local" else said
        self._end("job: acknowledged")
        if dice.random() < 0.1:
            status, told = self._ask("POST", f"/v1/jobs/{job}/cancel")
            if status != 200:
                self._explained("cancel", status, told)
            elif json.loads(told)["state"] == "cancelled":
                self._books.cancelled.add(job)
                self._end("job: cancelled")
        time.sleep(dice.uniform(0.0, 0.04))

    def _batch(self, dice: random.Random, words: Iterator[str]) -> None:
        lines = []
        for number in range(BATCH_LINES):
            body = body_of("work", next(words)) | ({"stream": True} if number == 0 else {})
            lines.append(json.dumps({"custom_id": f"{number}", "method": "POST", "url": CHAT, "body": body}))
        status, told = self._upload("\n".join(lines).encode())
        if status != 200:
            self._explained("file", status, told)
            return
        asked = {"input_file_id": json.loads(told)["id"], "endpoint": CHAT, "completion_window": "24h"}
        status, told = self._ask("POST", "/v1/batches", asked)
        if status != 200:
            self._explained("batch", status, told)
            return
        self._books.batches.append(json.loads(told)["id"])
        self._end("batch: acknowledged")
        self._is_killed.wait(dice.uniform(0.2, 0.6))

    def _upload(self, content: bytes) -> tuple[int, bytes]:
        edge = "ecotone-rounds"
        head = '--{0}\r\ncontent-disposition: form-data; name="{1}"{2}\r\n\r\n'
        body = head.format(edge, "purpose", "").encode() + b"batch\r\n"
        body += head.format(edge, "file", '; filename="b.jsonl"').encode() + content + f"\r\n--{edge}--\r\n".encode()
        return self._ask("POST", "/v1/files", body, content_type=f"multipart/form-data; boundary={edge}")

    def _follow(self, dice: random.Random, words: Iterator[str]) -> None:
        """Whoever follows the events goes on behind the last one that was told, also after a restart."""
        del dice, words
        events = self._books.events
        since = str(events[-1][0] if events else 0)
        with contextlib.closing(self._site.connect(60.0)) as connection:
            connection.request("GET", "/v1/jobs/events", headers={"Last-Event-ID": since})
            answer = connection.getresponse()
            if answer.status != 200:
                self._explained("events", answer.status, answer.read())
                return
            while (line := answer.readline()).endswith(b"\n"):
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    events.append((number, event["job"], event["state"]))

    def _look(self, dice: random.Random, words: Iterator[str]) -> None:
        """Somebody who asks whether the site is well: it must say so at once, whatever befalls it."""
        del words
        status, _ = self._ask("GET", dice.choice(("/healthz", "/v1/models", "/v1/jobs?limit=5")))
        if status not in (200, 503):
            self._fault(f"a look: {status}")
        self._is_killed.wait(0.05)


def body_of(name: str, said: str) -> dict[str, Any]:
    """A chat request."""
    return {"model": name, "messages": [{"role": "user", "content": said}]}
