"""What must hold after each kill, and at the end of a store's rounds."""

from __future__ import annotations

import contextlib
import hmac
import json
import subprocess
from collections import Counter
from itertools import zip_longest
from typing import Any, Final

import msgspec
from tests.e2e.conftest import ECOTONE, poll
from tests.faults.rounds.callers import BATCH_LINES, Books
from tests.faults.rounds.site import Home, RoundSite
from tests.faults.rounds.tears import Snapshot, digests, ledger_lines

from ecotone import store
from ecotone.store.disk import Disk
from ecotone.store.keys import digest_key
from ecotone.values import binding

ENDED: Final = frozenset({"answered", "refused", "expired", "failed", "cancelled"})
OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
END_S_MAX: Final = 240.0


class Evidence(msgspec.Struct):
    """What of a home's ledger was seen so far.

    Attributes:
        forgiven: Digests that a lying medium took away.
        lost_from: The first entry that it took away or changed; None where it did not.
        bodies: Bodies that were looked up for this home.
    """

    forgiven: set[str] = set()
    lost_from: int | None = None
    bodies: int = 0


def forgive(before: Snapshot, after: Snapshot, books: Books, evidence: Evidence) -> dict[str, int]:
    """A lying medium took away what was acknowledged: the site cannot know it, and is not asked for it. How much."""
    lost_jobs, lost_batches = before.jobs - after.jobs, before.batches - after.batches
    books.lost |= lost_jobs
    books.batches[:] = [batch for batch in books.batches if batch not in lost_batches]
    books.events[:] = [event for event in books.events if event[0] <= after.last_event]
    # Cancelled or not: an end that was told may be undone with the event that told of it.
    books.cancelled.clear()
    evidence.forgiven |= before.digests - after.digests
    pairs = zip_longest(before.lines, after.lines)
    first = next((seq for seq, (old, new) in enumerate(pairs) if old != new), len(before.lines))
    if first < len(before.lines):
        evidence.lost_from = first if evidence.lost_from is None else min(first, evidence.lost_from)
    return {"jobs": len(lost_jobs), "batches": len(lost_batches), "entries": len(before.lines) - first}


def missing(found: Snapshot, books: Books) -> set[str]:
    """Jobs that were acknowledged, and are not in the files."""
    return set(books.jobs) - found.jobs - books.lost


def no_gap(home: Home, bodies: list[bytes], evidence: Evidence) -> None:
    """Every body that the cloud got of this home has its entry on the disk, whether or not the site lives.

    Raises:
        AssertionError: one has none.
    """
    evidence.bodies += len(bodies)
    key = digest_key(home.store, Disk())
    known = set(digests(ledger_lines(home))) | evidence.forgiven
    sent = [hmac.digest(key, binding("none", raw).encode(), "sha256").hex() for raw in bodies]
    missing = [digest for digest in sent if digest not in known]
    assert not missing, f"{len(missing)} of {len(sent)} bodies left without an entry"


def well(home: Home, evidence: Evidence) -> None:
    """Beside the running site: the ledger is whole, or names what it lost, and nothing else; the queue's file is whole.

    Raises:
        AssertionError: it is not.
    """
    key = (home.store / store.PUBLIC).read_bytes()
    trust = store.Trust((key,))

    def written() -> Any:
        """The first entry of a new site comes with the next group: a fast machine is ready before."""
        found = store.verify(home.store / store.FOLDER, trust=trust)
        return None if found.bad is not None and found.bad.why == "empty" else found

    report = poll(written, "the ledger has an entry", 10)
    if evidence.lost_from is None:
        assert report.is_whole, f"ledger: {report.bad}"
    elif report.bad is not None:
        assert report.bad.seq >= evidence.lost_from, f"ledger: {report.bad}, and entry {evidence.lost_from} is lost"
    sealer = store.Sealer(store.store_key(home.store, None, may_make=False))
    found = store.examined(home.store / store.JOBS_FILE, sealer)
    assert found.is_whole, f"queue: {found}"


def ended(site: RoundSite, books: Books) -> dict[str, Any]:
    """All work that was acknowledged has ended, once, as its caller was told. How it ended.

    Raises:
        AssertionError: some has not.
    """
    poll(lambda: _is_idle(site), "all jobs end", END_S_MAX)
    poll(lambda: all(_batch(site, batch)["status"] in OVER for batch in books.batches), "all batches end", 30)
    ends: Counter[str] = Counter()
    for job, words in books.jobs.items():
        if job in books.lost:
            assert site.ask("GET", f"/v1/jobs/{job}")[0] in (200, 404)
            ends["lost by the medium"] += 1
            continue
        status, _, told = site.ask("GET", f"/v1/jobs/{job}")
        assert status == 200, f"a job that was acknowledged is gone: {status}"
        found = json.loads(told)
        assert found["state"] in ENDED, f"a job has not ended: {found['state']}"
        assert found["state"] == "answered" or found["reason"] or found["state"] == "cancelled", f"no reason: {found}"
        assert job not in books.cancelled or found["state"] == "cancelled", f"cancelled, and then {found['state']}"
        if found["state"] == "answered" and words:
            said = found["response"]["body"]["choices"][0]["message"]["content"]
            assert said == words, f"a job's answer is another one's: {said!r}"
        ends[found["state"] + (f": {found['reason']}" if found["state"] not in ("answered", "cancelled") else "")] += 1
    _once(site, books)
    for batch in books.batches:
        ends[f"batch {_lines(site, batch)}"] += 1
    return dict(ends)


def _is_idle(site: RoundSite) -> bool:
    jobs = site.status()["jobs"]
    return bool(jobs["waiting"] + jobs["running"] == 0)


def _batch(site: RoundSite, batch: str) -> dict[str, Any]:
    status, _, told = site.ask("GET", f"/v1/batches/{batch}")
    assert status == 200, f"a batch that was acknowledged is gone: {status}"
    found: dict[str, Any] = json.loads(told)
    return found


def _once(site: RoundSite, books: Books) -> None:
    """Each job has one end in the list of events; and what was told of it at any time still stands there."""
    found: dict[int, tuple[str, str]] = {}
    with contextlib.closing(site.connect(2.0)) as connection:
        connection.request("GET", "/v1/jobs/events", headers={"Last-Event-ID": "0"})
        answer = connection.getresponse()
        with contextlib.suppress(TimeoutError):
            while line := answer.readline():
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    assert event["seq"] not in found, "an event was told twice"
                    found[event["seq"]] = (event["job"], event["state"])
    ends = Counter(job for job, state in found.values() if state in ENDED)
    assert set(ends.values()) <= {1}, f"ended more than once: {[job for job, times in ends.items() if times > 1]}"
    missing = [job for job in books.jobs if job not in books.lost and job not in ends]
    assert not missing, f"{len(missing)} jobs have no end in the events"
    gone = [event for event in books.events if found.get(event[0]) != event[1:]]
    assert not gone, f"{len(gone)} events that were told are not there any more, or others: {gone[:3]}"
    numbers = [event[0] for event in books.events]
    assert numbers == sorted(set(numbers)), "who follows the events was told one twice, or out of order"


def _lines(site: RoundSite, batch: str) -> str:
    """A batch that is over has each of its lines once. How many were answered."""
    found = _batch(site, batch)
    told: list[str] = []
    for name in ("output_file_id", "error_file_id"):
        if found[name]:
            status, _, content = site.ask("GET", f"/v1/files/{found[name]}/content")
            assert status == 200
            told += [json.loads(line)["custom_id"] for line in content.splitlines()]
    counts = found["request_counts"]
    assert found["status"] != "completed" or sorted(told) == sorted(map(str, range(BATCH_LINES))), f"{found} {told}"
    assert len(told) == len(set(told)), f"a line stands twice: {told}"
    return f"{found['status']}, {counts['completed']} of {BATCH_LINES} lines answered"


def commands(home: Home, evidence: Evidence) -> None:
    """The operator's own commands say the same of a store at rest.

    Raises:
        AssertionError: they do not.
    """
    for command, expected in (("ledger verify", int(evidence.lost_from is not None)), ("store check", 0)):
        told = subprocess.run(
            [ECOTONE, *command.split(), "-c", str(home.file)], capture_output=True, text=True, check=False, timeout=120
        )
        # What a lying medium took away may lie behind the last checkpoint: then nothing can know of it.
        assert told.returncode in (0, expected), (
            f"{command}: {told.returncode} {told.stdout[-500:]}{told.stderr[-500:]}"
        )
