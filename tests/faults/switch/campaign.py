"""Rounds of trouble around switches, with real sites, the real engine and real deliveries, over one store.

In each round a version is delivered beside the running site, which then switches, tries or goes back, while callers ask
it without a pause; at some instant everything is killed. The next life must answer with the old version or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.e2e.conftest import Site, link_starter, poll, starter_file
from tests.e2e.versions_site import Callers, config, put, unknown_architecture, variant
from tests.faults.rounds.shim import Shim, build

from ecotone.agent import orders, trials
from ecotone.agent.trials import Standing, Used, Wish
from ecotone.delivery import versions
from ecotone.delivery.packs import About, publish
from ecotone.transfer import Manifest, encode
from ecotone.values.fleet import Terms

KINDS: Final = ("pin", "trial", "bad", "rollback", "delivery killed", "ENOSPC", "EIO", "SIGTERM")
GOOD: Final = ("2", "3", "4")
BAD: Final = "9"
TERMS: Final = Terms(hours_min=0.0, requests_min=8, hours_max=1.0)
TROUBLE_S: Final = 5.0
_INSTALL: Final = (
    "import sys; from pathlib import Path; from ecotone.delivery.fetch import FolderSource; "
    "from ecotone.delivery.install import install, collect; from ecotone.transfer import decode; "
    "install(decode(Path(sys.argv[1]).read_bytes()), [FolderSource(Path(sys.argv[2]))], Path(sys.argv[3]), "
    "is_switched=False); collect(Path(sys.argv[3]))"
)


class Round(msgspec.Struct):
    """One life of the site, as it is reported.

    Attributes:
        ready_s: From the process's making to the first answer of the model: the recovery from the round before.
        before, after: The version in force before it began, and when it was killed.
        answers: Whole answers until then.
        failed_calls: Of the disk's.
    """

    number: int
    kind: str
    ready_s: float = 0.0
    before: str = ""
    after: str = ""
    answers: int = 0
    failed_calls: int = 0
    fault: str = ""


class Campaign:
    """All rounds of one seed.

    Attributes:
        rounds: What happened. faults: What must not be.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.rounds: list[Round] = []
        self.faults: list[str] = []
        self._hub, self._manifests = folder / "hub", {}
        self._publish()
        self.store = folder / "store"
        self._shim = Shim(build(folder), folder, self.store, self.dice.getrandbits(63))
        link_starter(self.store)
        put(self.store, "1", None, is_used=True)

    def run(self, count: int, told: Callable[[Round], None] = lambda _: None, *, until_s: float = float("inf")) -> None:
        """So many rounds, each kind as often as every other, and one more life that nothing befalls.

        Args:
            until_s: On the monotonic clock: no round begins after this, but the last one.
        """
        kinds = [kind for _ in range(count // len(KINDS) + 1) for kind in self.dice.sample(KINDS, len(KINDS))][:count]
        for number, kind in enumerate([*kinds, "quiet"]):
            if time.monotonic() > until_s and kind != "quiet":
                continue
            one = Round(number, kind)
            try:
                self._play(one)
            except (AssertionError, OSError, http.client.HTTPException) as error:
                one.fault = f"{type(error).__name__}: {error}"[:800]
                self.faults.append(f"round {number} ({kind}): {one.fault}")
            self.rounds.append(one)
            told(one)

    def close(self) -> None:
        """Lets go of the shim."""
        self._shim.close()

    def _publish(self) -> None:
        earlier: list[Manifest] = []
        made = self.folder / "m.gguf"
        for version in (*GOOD, BAD):
            made.write_bytes(unknown_architecture() if version == BAD else variant(int(version)))
            about = About(name="smol", version=version, licence="Apache-2.0")
            earlier.append(publish([made], self._hub, about, earlier=tuple(earlier), base=None))
            (self.folder / version).write_bytes(encode(earlier[-1]))
            self._manifests[version] = hashlib.sha256(encode(earlier[-1])).hexdigest()
        made.unlink()

    def _play(self, one: Round) -> None:
        version = self._chosen(one.kind)
        one.before = self._in_force()
        if one.kind in ("trial", "bad"):
            self._deliver(version).wait(120)
            self._wait_for_use(version, one.number)
        began_s = time.monotonic()
        site = Site(self.folder, config(), self._shim.environ, ())
        is_quiet = one.kind in ("ENOSPC", "EIO")
        delivery: subprocess.Popen[bytes] | None = None
        failed = sum(self._shim.failures().values())
        try:
            site.wait()
            poll(lambda: _answers(site), "the model answers", 60)
            one.ready_s = time.monotonic() - began_s
            self._well(site)
            with Callers(site, threads=2, max_tokens=8) as callers:
                try:
                    delivery = self._trouble(one, site, version)
                    time.sleep(self.dice.uniform(0.0, TROUBLE_S) if one.kind != "quiet" else 1.0)
                finally:
                    callers.killed()
                    site.stop(signal.SIGTERM if one.kind in ("SIGTERM", "quiet") else signal.SIGKILL)
            one.answers = callers.ends.whole
            if not is_quiet:
                assert callers.ends.faults == [], callers.ends.faults[:3]
            assert "Traceback" not in (words := site.log.read_text(errors="replace")), words[-1500:]
        finally:
            self._shim.fail(0.0)
            site.stop(signal.SIGKILL)
            if delivery is not None:
                delivery.kill()
                delivery.wait()
        one.failed_calls = sum(self._shim.failures().values()) - failed
        one.after = self._in_force()

    def _in_force(self) -> str:
        found = versions.in_force(self.store, "smol")
        assert found is not None, "hub:smol leads nowhere"
        return found.version

    def _trouble(self, one: Round, site: Site, version: str) -> subprocess.Popen[bytes] | None:
        """What befalls the site while callers ask."""
        if one.kind == "rollback":
            orders.go_back(self.store, "smol")
        elif one.kind == "delivery killed":
            delivery = self._deliver(version)
            time.sleep(self.dice.uniform(0.3, 2.0))
            delivery.kill()
            return delivery
        elif one.kind in ("pin", "ENOSPC", "EIO", "SIGTERM"):
            delivery = self._deliver(version)
            if self.dice.random() < 0.8:
                delivery.wait(120)
                orders.pin(self.store, "smol", version)
            if one.kind in ("ENOSPC", "EIO"):
                time.sleep(self.dice.uniform(0.0, 2.0))
                self._shim.fail(self.dice.choice((0.1, 0.5, 1.0)), getattr(errno, one.kind))
            return delivery
        return None

    def _chosen(self, kind: str) -> str:
        """The version that this round is about: another one than is used."""
        if kind == "bad":
            return BAD
        used = versions.in_force(self.store, "smol")
        return self.dice.choice([one for one in GOOD if used is None or one != used.version])

    def _deliver(self, version: str) -> subprocess.Popen[bytes]:
        words = [str(self.folder / version), str(self._hub), str(self.store)]
        return subprocess.Popen([sys.executable, "-c", _INSTALL, *words], stderr=subprocess.DEVNULL)

    def _wait_for_use(self, version: str, attempt: int) -> None:
        """As the site's agent leaves it when a version came: it waits, and is tried as soon as the site runs."""
        orders.unpin(self.store, "smol")
        kept = trials.read(self.store)
        used = versions.in_force(self.store, "smol")
        assert used is not None
        standing = kept.assets.get("smol") or Standing(
            kind="model", used=Used(version=used.version, sha256=used.manifest)
        )
        wish = Wish(
            name="smol", version=version, kind="model", sha256=self._manifests[version], attempt=attempt, terms=TERMS
        )
        fresh = msgspec.structs.replace(standing, ready=wish)
        trials.write(self.store, msgspec.structs.replace(kept, assets={**kept.assets, "smol": fresh}))

    def _well(self, site: Site) -> None:
        """The version in force is one of those that were, its file is what it should be, and it is what runs.

        A site that was killed in the middle of a switch may still be about to switch.
        """

        def runs() -> bool:
            found = versions.in_force(self.store, "smol")
            rows = [row["file"] for row in site.status()["engines"].values() if row["state"] == "ready"]
            return found is not None and found.version != BAD and rows == [found.files["m.gguf"][:12]]

        poll(runs, "what is led to is what runs", 90)


def _answers(site: Site) -> bool:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 2}
    return site.ask("POST", "/v1/chat/completions", body)[0] == 200


def has_model() -> bool:
    """Whether the starter model is on this machine."""
    return starter_file().is_file()


@contextlib.contextmanager
def campaign(folder: Path, seed: int) -> Iterator[Campaign]:
    """The rounds of one seed."""
    made = Campaign(folder, seed)
    try:
        yield made
    finally:
        made.close()


def summary(found: Campaign) -> dict[str, Any]:
    """Figures by kind, and of all."""
    kinds = {}
    for kind in (*KINDS, "quiet"):
        rounds = [one for one in found.rounds if one.kind == kind]
        if rounds:
            ready = sorted(one.ready_s for one in rounds if one.ready_s)
            kinds[kind] = {
                "rounds": len(rounds),
                "changed": sum(one.before != one.after for one in rounds),
                "answers": sum(one.answers for one in rounds),
                "failed_calls": sum(one.failed_calls for one in rounds),
                "ready_s_p50": round(ready[len(ready) // 2], 2) if ready else None,
                "ready_s_max": round(ready[-1], 2) if ready else None,
                "faults": sum(bool(one.fault) for one in rounds),
            }
    ends = Counter(one.after for one in found.rounds)
    return {
        "rounds": len(found.rounds),
        "kinds": kinds,
        "ended_with": dict(sorted(ends.items())),
        "faults": found.faults,
    }
