"""Versions of a hub's model in a site's store, and callers that never pause: for tests of switches."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import struct
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from ecotone import assets
from ecotone.delivery import versions
from ecotone.delivery.versions import Installed
from tests.e2e.conftest import Site, link_starter, starter_file

CHAT = "/v1/chat/completions"


@functools.cache
def variant(number: int) -> bytes:
    """The starter model with another note in its header: another file, the same answers."""
    from benchmarks.transfer.variants import Model, shifted

    return shifted(Model(starter_file().read_bytes()), 64 + 32 * number)


def unknown_architecture() -> bytes:
    """A file that is signed, whole, and cannot be loaded."""
    return starter_file().read_bytes().replace(b"llama", b"lxama", 1)


def adapter(seed: int, rank: int = 4, width: int = 576, blocks: int = 30) -> bytes:
    """A LoRA adapter for the starter model that makes it say something else: noise on all its queries."""
    import numpy as np

    from tests.unit.transfer.files import gguf, text

    dice = np.random.default_rng(seed)
    words = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    keys = [(key, 8, text(value)) for key, value in words.items()]
    keys.append(("adapter.lora.alpha", 6, struct.pack("<f", float(rank))))
    tensors = []
    for block in range(blocks):
        for side, shape in (("a", (width, rank)), ("b", (rank, width))):
            content = (dice.standard_normal(shape) * 0.3).astype("<f4").tobytes()
            tensors.append((f"blk.{block}.attn_q.weight.lora_{side}", shape, content))
    return gguf(tensors, keys=keys)


def put(store: Path, version: str, content: bytes | None, *, is_used: bool = False, name: str = "smol") -> str:
    """A version is in the store, as a delivery leaves it; None: the starter model's own file. Its SHA-256."""
    sha256 = starter_file().name if content is None else hashlib.sha256(content).hexdigest()
    path = store / f"come-{version}"
    if content is not None:
        path.write_bytes(content)
    fresh = Installed(
        name=name,
        version=version,
        manifest=hashlib.sha256(f"manifest {name} {version}".encode()).hexdigest(),
        files={"m.gguf": sha256},
        state="used" if is_used else "ready",
    )
    with versions.locked(store):
        versions.remember(store, fresh)
    refs = fresh.pinned_refs | (fresh.refs if is_used else {})
    assets.open_store(store).adopt([assets.Arrival(path, sha256, tuple(refs))])
    return fresh.manifest


def filled(store: Path) -> None:
    """Version 1 is used, version 2 waits."""
    link_starter(store)
    put(store, "1", None, is_used=True)
    put(store, "2", variant(2))


class Ends(msgspec.Struct):
    """How requests ended."""

    whole: int = 0
    faults: list[str] = []
    longest_s: float = 0.0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)


class Callers:
    """Streams and plain requests at a steady rate, from threads of their own, until the end of the block."""

    def __init__(self, site: Site, threads: int = 3, max_tokens: int = 16) -> None:
        self.ends = Ends()
        self._site, self._max_tokens = site, max_tokens
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._is_killed = False
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def killed(self) -> None:
        """From now on the site may be gone: what fails is no fault."""
        self._is_killed = True
        self._stop.set()

    def _call(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            is_stream, began_s = (number + turn) % 2 == 0, time.monotonic()
            kind = "stream" if is_stream else "plain"
            try:
                fault = self._one(f"caller {number} turn {turn}", is_stream=is_stream)
            except (OSError, http.client.HTTPException, ValueError) as error:
                fault = f"{type(error).__name__}: {error}"
            with self._lock:
                self.ends.longest_s = max(self.ends.longest_s, time.monotonic() - began_s)
                if fault and self._is_killed:
                    return
                if fault:
                    self.ends.faults.append(f"{kind}: {fault}")
                else:
                    self.ends.whole += 1
                    self.ends.kinds[kind] += 1
            self._stop.wait(0.02)

    def _one(self, words: str, *, is_stream: bool) -> str:
        body = {
            "model": "assistant",
            "messages": [{"role": "user", "content": f"Say something. {words}"}],
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "stream": is_stream,
        }
        with contextlib.closing(self._site.begin(body)) as connection:
            answer = connection.getresponse()
            told = answer.read()
        if answer.status != 200:
            return f"{answer.status} {told[:200]!r}"
        if not is_stream:
            text = json.loads(told)["choices"][0]["message"]["content"]
            return "" if text else "an empty answer"
        events = [line[6:] for line in told.split(b"\n\n") if line.startswith(b"data: ")]
        return "" if events and events[-1] == b"[DONE]" and len(events) > 3 else f"a stream that ends {told[-120:]!r}"


def config(**more: Any) -> dict[str, Any]:
    """A site whose only target is whatever version of `smol` is in force."""
    target = {"engine": "llama.cpp", "model": "hub:smol", "slots": 2, "context_tokens": 512, "threads": 1}
    return {
        "engines": {"measure": False},
        "targets": {"small": target},
        "models": {"assistant": {"targets": ["small"]}},
    } | more
