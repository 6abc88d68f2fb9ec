"""A stage: a site's network and the cloud's, the link between them under watch, and who speaks over it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.e2e.conftest import Site, poll
from tests.egress.capture import Capture, Needles, compact, payloads, streams
from tests.egress.cloud import Cloud
from tests.egress.conversations import Conversation
from tests.faults.test_network import CLOUD_IP, Link, Names

TOTAL: Final = int(os.environ.get("ECOTONE_EGRESS_CONVERSATIONS", "240"))
"""Conversations of the whole suite; its scenes share them."""
SEED: Final = int(os.environ.get("ECOTONE_EGRESS_SEED", "20261125")) or random.SystemRandom().randrange(1, 10**9)
"""The same conversations in every `make test`; 0 draws others, as `make test-egress` does."""
CALLERS: Final = 6
LINES_WAIT_LOOKS: Final = 30
KEY: Final = "sk-site-to-cloud-key-31"
MUTANTS: Final = Path(__file__).parent / "mutants"


class Leak(AssertionError):
    """Something protected was seen outside, or nothing was proved."""


class Said(msgspec.Struct, frozen=True):
    """One conversation, the path it was sent over, and what the caller got.

    Attributes:
        path: A path that begins with `masked` may carry the conversation without its value; one that begins with
            `free` may carry all of it. On every other one a conversation with a planted value stays whole.
        status: 0 where the connection broke.
    """

    path: str
    conversation: Conversation
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def at(self) -> str:
        """Where it was answered."""
        return self.headers.get("ecotone-placed", "")

    def content(self) -> str:
        """The answer's text, put together from a stream where it was one."""
        if self.conversation.is_stream:
            events = [line[6:] for line in self.body.decode("utf-8", "replace").splitlines() if line[:6] == "data: "]
            chunks = [json.loads(event) for event in events if event != "[DONE]"]
        else:
            chunks = [json.loads(self.body)]
        found = ""
        for choice in (choice for chunk in chunks for choice in chunk.get("choices", [])):
            message = choice.get("delta") or choice.get("message") or {}
            found += message.get("content") or choice.get("text") or ""
        return found


class Stage:
    """One site (or more) on one link.

    Attributes:
        cloud: The target that works. hops: Those that fail.
        ward: A server on the premises.
        said: All that was sent since the last `judge`.
    """

    def __init__(self, folder: Path, seed: int = SEED) -> None:
        self.folder = folder
        self.seed = seed
        self.dice = random.Random(seed)
        self.said: list[Said] = []
        self.judged: list[Said] = []
        self.arrived: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._at = 0
        self._undo = contextlib.ExitStack()
        self.sites: list[Site] = []

    def __enter__(self) -> Stage:
        link = self.link = Link()
        self._undo.callback(link.remove)
        link.make()
        netns = Path("/etc/netns") / link.site
        netns.mkdir(parents=True)
        (netns / "resolv.conf").write_text(f"nameserver {CLOUD_IP}\n")
        self.names = Names(link)
        self.names.is_silent = False
        self._undo.callback(self.names.close)
        with link.in_cloud():
            self.capture = Capture("up1")
            self.cloud, *self.hops = [Cloud("0.0.0.0", self.seed + number) for number in range(3)]
        self._undo.callback(self.capture.close)
        for each in (self.cloud, *self.hops):
            each.address = CLOUD_IP
        for hop in self.hops:
            hop.redirect_to = f"{self.cloud.url}/chat/completions"
        with link.at_site():
            self.ward = Cloud("127.0.0.1", self.seed)
        for each in (self.cloud, *self.hops, self.ward):
            self._undo.callback(each.close)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for site in self.sites:
                site.stop(signal.SIGKILL)
        finally:
            self._undo.close()

    def config(self, **more: Any) -> dict[str, Any]:
        """The site's configuration but for what `more` says otherwise."""
        base = {"model": "large-1", "key": "env:UP_KEY", "at": "cloud", "region": "us"}
        targets: dict[str, Any] = {
            "big": base | {"url": self.cloud.url},
            "named": base | {"url": self.cloud.url.replace(CLOUD_IP, "cloud.example")},
            "hop1": base | {"url": self.hops[0].url},
            "hop2": base | {"url": self.hops[1].url, "always_stream": True},
            "ward": {"url": self.ward.url, "model": "small-1", "at": "edge"},
            "gone": {"url": "http://127.0.0.1:9/v1", "model": "small-1", "at": "edge"},
        }
        models = {
            "assistant": {"targets": ["big", "ward"], "mode": "cloud"},
            "named": {"targets": ["named", "ward"], "mode": "cloud"},
            "hops": {"targets": ["hop1", "hop2", "big", "ward"], "mode": "cloud"},
            "fallback": {"targets": ["gone", "big"], "mode": "edge"},
            "careful": {"targets": ["ward", "big"], "mode": "edge"},
            "faraway": {"targets": ["big"], "mode": "cloud"},
        }
        return {
            "targets": targets,
            "models": models,
            "privacy": {"detectors": ["patterns"]},
            "breaker": {"failures": 1000, "open_s": 0.05, "open_s_max": 0.05},
            "timeouts": {"connect_s": 2.0, "first_byte_s": 3.0, "idle_s": 2.0},
        } | more

    def site(
        self, config: dict[str, Any] | None = None, environ: dict[str, str] | None = None, mutant: str = ""
    ) -> Site:
        """A real site in its own network, with a mutation where one is named."""
        folder = self.folder / f"site{len(self.sites)}"
        folder.mkdir()
        env = {"UP_KEY": KEY, **(environ or {})}
        if mutant:
            path = ":".join([str(MUTANTS / mutant), str(MUTANTS / "common"), os.environ.get("PYTHONPATH", "")])
            env |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        made = Site(folder, config or self.config(), env, ("ip", "netns", "exec", self.link.site))
        self.sites.append(made)
        made.around = self.link.at_site
        made.wait()
        assert b"sitecustomize" not in made.log.read_bytes(), "the mutation could not be made"
        return made

    def send(self, site: Site, path: str, conversation: Conversation, timeout_s: float = 20.0) -> Said:
        """One conversation over one path."""
        status, headers, body = 0, {}, b""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = site.connect(timeout_s)
            with contextlib.closing(connection):
                head = {"content-type": "application/json", **conversation.headers}
                connection.request("POST", conversation.path, conversation.body, head)
                answer = connection.getresponse()
                status, headers = answer.status, {name.lower(): value for name, value in answer.getheaders()}
                try:
                    body = answer.read()
                except http.client.IncompleteRead as cut:
                    status, body = 0, cut.partial
        return self.note(Said(path, conversation, status, headers, body))

    def note(self, said: Said) -> Said:
        with self._lock:
            self.said.append(said)
        return said

    def send_all(
        self, site: Site, path: str, conversations: Sequence[Conversation], before: Callable[[int], None] | None = None
    ) -> list[Said]:
        """Many, from several callers at once."""

        def one(numbered: tuple[int, Conversation]) -> Said:
            if before is not None:
                before(numbered[0])
            return self.send(site, path, numbered[1])

        with ThreadPoolExecutor(CALLERS) as callers:
            return list(callers.map(one, enumerate(conversations)))

    def judge(self, *, arriving: Iterable[str] = ()) -> None:
        """Looks at all that crossed the link since the last time, and at all that was sent.

        Args:
            arriving: Paths that must have brought harmless conversations to the cloud.

        Raises:
            Leak: something protected is outside; or nothing arrived, or packets are missing, so that nothing is proved.
        """
        self.capture.settle()
        frames = self.capture.frames[self._at :]
        self._at += len(frames)
        said, self.said = self.said, []
        self.judged += said
        if self.capture.lost():
            raise Leak(f"the capture lost packets; nothing is proved [seed {self.seed}]")
        wire = [frame for frame, _ in frames]
        everything = [*streams(wire), payloads(frame for frame in wire if not _is_tcp(frame)), payloads(wire)]
        # Of all that was ever sent: something may come late.
        self._look_for_protected(everything, self.judged)
        sent = b"\n".join(streams(frame for frame, is_from_site in frames if is_from_site))
        came = Needles(one.conversation.marker for one in said).found_in(sent)
        for one in said:
            self.arrived[one.path] += one.conversation.marker in came
        for path in arriving:
            if not self.arrived[path]:
                raise Leak(f"{path}: nothing harmless reached the cloud; nothing is proved [seed {self.seed}]")

    def _look_for_protected(self, everything: Iterable[bytes], said: Sequence[Said]) -> None:
        owners: dict[str, Said] = {}
        for one in said:
            canary = one.conversation.canary
            if canary is not None and not one.path.startswith("free"):
                owners[canary.core] = one
                if not one.path.startswith("masked"):
                    owners[one.conversation.marker] = one
        needles = Needles(owners)
        found = set().union(*(needles.found_in(data) for data in everything)) if owners else set()
        told = sorted({_tell(owners[core]) for core in found})
        if told:
            packets = self.folder / "leak.pcap"
            self.capture.save(packets)
            raise Leak(
                f"{len(found)} protected values outside [seed {self.seed}, packets in {packets}]:\n"
                + "\n".join(told[:40])
            )

    def look_inside_free(self, site: Site) -> None:
        """As `look_inside`: that a value may leave does not mean that a log may tell it."""
        self.look_inside(site)

    def look_inside(self, site: Site, *more: bytes) -> None:
        """No log, metric, status, ledger or error tells what was protected.

        Raises:
            Leak: one does.
        """
        conversations = [one.conversation for one in self.judged + self.said]
        needles = Needles([each.canary.core for each in conversations if each.canary] + [compact(KEY)])
        places = {"log": _whole_log(site)}
        if site.process.poll() is None:
            places |= {path: site.ask("GET", path)[2] for path in ("/metrics", "/admin/status", "/v1/models")}
        for file in site.store.rglob("*"):
            if file.is_file() and "assets" not in file.parts:
                places[str(file.relative_to(site.store))] = file.read_bytes()
        errors = [one.body for one in self.judged + self.said if one.status >= 400 and b"cannot take" not in one.body]
        places["error bodies"] = b"\n".join([*errors, *more])
        for place, content in places.items():
            found = needles.found_in(content)
            if found:
                raise Leak(f"{place} of the site tells {sorted(found)[:9]} [seed {self.seed}]: {content[-3000:]!r}")


def _whole_log(site: Site) -> bytes:
    """The log when it has stood still for longer than lines wait to be written."""
    seen = [b""]

    def stands_still() -> bool:
        seen.append(site.log.read_bytes())
        return len(seen) > LINES_WAIT_LOOKS and len(seen[-LINES_WAIT_LOOKS]) == len(seen[-1])

    poll(stands_still, "the log stands still")
    return seen[-1]


def _is_tcp(frame: bytes) -> bool:
    return (frame[12:14] == b"\x08\x00" and frame[23] == 6) or (frame[12:14] == b"\x86\xdd" and frame[20] == 6)


def _tell(said: Said) -> str:
    """Which path, what and where: values are made up, so they may be told."""
    each = said.conversation
    assert each.canary is not None
    kind = f"{each.canary.label}/{each.canary.kind}, {each.canary.form}"
    return f"  {said.path}: {each.endpoint.value}, {kind}, in {each.place}: {each.canary.written!r}"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
