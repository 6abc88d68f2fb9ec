"""One seed, one history: a made site, a made afternoon of requests, and the invariants checked at its end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from ecotone import flow, placement
from ecotone.estimate import Speeds
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.hedging import Hedges
from ecotone.flow.spend import Spend
from ecotone.policy import Mint
from ecotone.privacy import Look
from ecotone.sim.backlog import Backlog, Errand, drawn_errands
from ecotone.sim.backlog_checks import check_backlog, reached
from ecotone.sim.classroom import Classroom, drawn_judge
from ecotone.sim.classroom_checks import check_classroom, check_lesson, learned
from ecotone.sim.detectors import MadeInspector, planted
from ecotone.sim.drawing import (
    asking_logprobs,
    drawn_budgets,
    drawn_labels,
    drawn_link,
    drawn_look,
    drawn_policy,
    drawn_targets,
    plain,
)
from ecotone.sim.reading import choices, read
from ecotone.sim.time import START_WALL_S, VirtualClock, VirtualLoop
from ecotone.sim.watched import ASIDE, WHO, Sitting, WatchedJournal, WatchedLoad
from ecotone.sim.world import ATTEMPT, Arrival, Link, MadeCaller, MadeJournal, MadeTarget, MadeTelemetry
from ecotone.values import (
    Egress,
    Endpoint,
    Features,
    Mode,
    Outcome,
    Place,
    Request,
    Wish,
)
from ecotone.wire import sse

SLACK_S = 1e-6
DECIDED_S = 15.0
"""An attempt that fails takes five seconds at most, and an answer has three targets beside the first."""
FULL = ("capacity", "overload")
JOBS_SHARE = 0.4
"""Of the histories, so many have a queue of jobs."""

LEARNING_SHARE = 0.5
"""Of those with targets at both places, so many learn."""


class Story(msgspec.Struct):
    """One request of a history, what its caller saw, and how it ended."""

    request: Request
    caller: MadeCaller
    leaves_after_s: float | None
    began_s: float = 0.0
    ended_s: float = 0.0
    has_left: bool = False
    outcome: Outcome | None = None
    task: asyncio.Task[Outcome] | None = None


class History(msgspec.Struct):
    """Everything that happened, for the checks.

    Attributes:
        site: As it is now; another one after a restart.
        loads: Of the site now, and of each one before.
        sittings: Who waited for slots, and had them.
        backlog: Its jobs, where it has any.
        classroom: Its learning, where it has any.
    """

    seed: int
    site: flow.Site
    targets: dict[str, MadeTarget]
    journal: MadeJournal
    telemetry: MadeTelemetry
    stories: list[Story]
    clock: VirtualClock
    loads: list[WatchedLoad]
    sittings: list[Sitting]
    backlog: Backlog | None = None
    classroom: Classroom | None = None
    prober: asyncio.Task[None] | None = None

    def probe(self) -> None:
        """Begins to look after the breakers."""
        self.prober = asyncio.ensure_future(flow.probe_forever(lambda: self.site, self._stir))

    def restart(self) -> None:
        """The site's process ends, whatever is under way with it; a new one begins and knows nothing of it."""
        for story in self.stories:
            if story.task is not None and not story.task.done():
                story.has_left = story.task.cancel()
        if self.prober is not None:
            self.prober.cancel()
        if self.classroom is not None:
            self.classroom.kill()
        self.loads.append(WatchedLoad(self.clock, self.site.load.wait_s_max, self.sittings))
        self.site = dataclasses.replace(
            self.site,
            breakers={name: Breaker(BreakerSettings()) for name in self.targets},
            speeds=Speeds(),
            hedges=Hedges(self.site.hedges.share),
            load=self.loads[-1],
        )
        if self.classroom is not None:
            self.classroom.begin()
        self.probe()

    def _stir(self) -> None:
        if self.backlog is not None and self.backlog.works is not None:
            self.backlog.works.drain.stir()


class BrokenError(AssertionError):
    """An invariant does not hold; names the seed that replays it."""


def run(seed: int) -> History:
    """Makes and runs the history of this seed on a loop of its own, then checks it. The same seed, the same history.

    Raises:
        BrokenError: an invariant does not hold.
    """
    rng = Random(seed)  # noqa: S311 - a made world, not a secret
    loop = VirtualLoop()
    try:
        history = loop.run_until_complete(_live(seed, rng, loop))
    finally:
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.close()
    problems = list(check(history))
    if problems:
        shown = "\n  ".join(problems[:10])
        raise BrokenError(f"seed {seed}: {len(problems)} broken:\n  {shown}")
    return history


async def _live(seed: int, rng: Random, loop: VirtualLoop) -> History:
    history = _make(seed, rng, loop)
    classroom = history.classroom
    if classroom is not None:
        classroom.arrange(history)
    history.probe()
    tasks = [loop.create_task(_tell(history, story)) for story in history.stories]
    if history.backlog is not None:
        tasks.append(loop.create_task(history.backlog.live(lambda: history.site, history.restart, [*tasks])))
    if classroom is not None:
        tasks.append(loop.create_task(classroom.befall()))
    await asyncio.gather(*tasks)
    if classroom is not None:
        await classroom.rest()
    assert history.prober is not None
    history.prober.cancel()
    await asyncio.gather(history.prober, return_exceptions=True)
    return history


async def _end(left: Iterable[asyncio.Task[Any]]) -> None:
    """Where a history broke off, all who live in it end too."""
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _tell(history: History, story: Story) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(max(0.0, story.request.received_at_s - loop.time()))
    story.began_s = loop.time()
    WHO.set(("", story.request.id))
    task = story.task = loop.create_task(flow.serve(story.request, story.caller, history.site))
    done, _ = await asyncio.wait({task}, timeout=story.leaves_after_s)
    if not done:
        story.has_left = task.cancel()
        await asyncio.wait({task}, timeout=1.0)
    if task.done() and not task.cancelled():
        story.outcome = task.result()
    story.ended_s = loop.time()


def _make(seed: int, rng: Random, loop: VirtualLoop) -> History:
    start_s = loop.now_s
    link = drawn_link(rng, start_s, rng.choice((0.0, 0.5, 0.9)))
    full = drawn_link(rng, start_s, rng.choice((0.0, 0.0, 0.3)))
    journal = WatchedJournal(rng, full)
    clock = VirtualClock(loop)
    sittings: list[Sitting] = []
    telemetry = MadeTelemetry()
    inspector = MadeInspector(rng)
    asked_by: dict[str, str] = {}
    targets = {
        spec.name: MadeTarget(spec, nature, link, rng.getrandbits(64), asked_by) for spec, nature in drawn_targets(rng)
    }
    names = tuple(targets)
    site = flow.Site(
        clock=clock,
        journal=journal,
        telemetry=telemetry,
        mint=Mint(b"0" * 32),
        targets=targets,
        names={
            "auto": flow.ModelName("auto", names, rng.choice(tuple(Mode))),
            "one": flow.ModelName("one", (rng.choice(names),), Mode.AUTO),
        },
        breakers={name: Breaker(BreakerSettings()) for name in targets},
        speeds=Speeds(),
        spend=Spend("2027-01-15"),
        today=lambda: "2027-01-15",
        policy=drawn_policy(rng),
        look=drawn_look(rng),
        inspector=inspector,
        surrogate_secret=b"0" * 32,
        budgets=drawn_budgets(rng),
        waits=flow.Waits(first_byte_s=5.0, whole_s=5.0, idle_s=3.0, total_s=40.0, keep_alive_s=rng.choice((0.3, 15.0))),
        hedges=Hedges(rng.choice((0.0, 0.05, 1.0))),
        load=WatchedLoad(clock, rng.choice((0.5, 5.0, 30.0)), sittings),
        is_cloud_off=rng.random() < 0.1,
    )
    stories = [_drawn_story(rng, seed, index, start_s) for index in range(rng.randint(1, 24))]
    backlog = None
    if rng.random() < JOBS_SHARE:
        errands = drawn_errands(rng, seed, start_s, drawn_labels)
        is_edge_wanted = site.names["auto"].mode not in (Mode.CLOUD, Mode.SHADOW)
        backlog = Backlog(rng, clock, errands, is_edge_wanted=is_edge_wanted)
    assert isinstance(site.load, WatchedLoad)
    history = History(seed, site, targets, journal, telemetry, stories, clock, [site.load], sittings, backlog)
    if len({target.spec.at for target in targets.values()}) == len(Place):
        history.classroom = _drawn_classroom(history, start_s, asked_by, link)
    return history


def _drawn_classroom(history: History, start_s: float, asked_by: dict[str, str], link: Link) -> Classroom | None:
    """Learning, by dice of its own: the rest of the history is the same without it."""
    classroom = Classroom(history.seed, history.clock, start_s)
    rng = classroom.rng
    if rng.random() >= LEARNING_SHARE:
        return None
    if rng.random() < 0.4:
        classroom.judge = drawn_judge(rng, asked_by, link)
    is_plain = rng.random() < 0.8
    if is_plain:
        _calm(history, rng)
    for story in history.stories:
        if is_plain and rng.random() < 0.8:
            story.request = plain(story.request)
        if rng.random() < 0.1:
            story.request = asking_logprobs(story.request)
    return classroom


def _calm(history: History, rng: Random) -> None:
    """A site where quality decides, mostly: both places may answer, and can."""
    site = history.site
    look = Look() if site.look.missing else site.look
    history.site = dataclasses.replace(site, look=look, is_cloud_off=False)
    for target in history.targets.values():
        if rng.random() < 0.8:
            target.nature = msgspec.structs.replace(target.nature, trouble=0.0, ttft_s=rng.choice((0.05, 0.5)))


def _drawn_story(rng: Random, seed: int, index: int, start_s: float) -> Story:
    at_s = start_s + rng.uniform(0, 20)
    request_id = f"req-{seed:x}-{index}"
    is_stream = rng.random() < 0.6
    needs: tuple[str, ...] = ("stream",) if is_stream else ()
    if rng.random() < 0.2:
        needs += ("tools",)
    deadline_s = rng.choice((None, None, 0.3, 3.0, 10.0))
    said = planted(request_id, card=rng.random() < 0.1, person=rng.random() < 0.3)
    request = Request(
        id=request_id,
        endpoint=Endpoint.CHAT,
        model=rng.choice(("auto",) * 14 + ("one", "one", "unknown")),
        body=msgspec.json.encode({"request": request_id, "messages": [{"role": "user", "content": said}]}),
        is_stream=is_stream,
        is_usage_asked=rng.random() < 0.3,
        features=Features(rng.choice((5, 50, 50, 50, 600)), rng.choice((None, 16)), needs),
        received_at_s=at_s,
        seed=index,
        key=rng.choice(("", "research")),
        labels=drawn_labels(rng),
        wish=rng.choice((Wish.AUTO, Wish.AUTO, Wish.EDGE, Wish.CLOUD)),
        deadline_at_s=None if deadline_s is None else at_s + deadline_s,
        is_debug=rng.random() < 0.2,
    )
    leaves_after_s = rng.uniform(0, 3) if rng.random() < 0.25 else None
    return Story(request, MadeCaller(is_slow=rng.random() < 0.1), leaves_after_s)


def check(history: History) -> Iterable[str]:
    """Every broken invariant, in words."""
    entries = _by_request(history)
    for story in history.stories:
        mine = entries.get(story.request.id, {})
        for problem in (
            *_check_caller(history, story),
            *_check_record(story, mine),
            *_check_parity(history, story, mine),
            *(check_lesson(history.classroom, story, mine) if history.classroom is not None else ()),
        ):
            yield f"{story.request.id}: {problem}"
    yield from _check_egress(history, entries)
    yield from _check_bounds(history)
    if history.backlog is not None:
        sittings = [sitting for sitting in history.sittings if sitting.who[1] != ASIDE]
        yield from check_backlog(history.backlog, history.targets, sittings, entries)
    if history.classroom is not None:
        yield from check_classroom(history.classroom, history.targets, history.sittings, entries)


def jobs_reached(history: History) -> Counter[str]:
    """What the jobs of a history went through: words of `backlog_checks.MUST_REACH`, counted."""
    return Counter() if history.backlog is None else reached(history.backlog, _by_request(history))


def lessons_reached(history: History) -> Counter[str]:
    """What the learning of a history went through: words of `classroom_checks.MUST_REACH`, counted."""
    return Counter() if history.classroom is None else learned(history.classroom, _by_request(history))


def _by_request(history: History) -> dict[str, dict[str, list[Any]]]:
    """The ledger's entries, by request and kind."""
    entries: dict[str, dict[str, list[Any]]] = {}
    for kind, entry in history.journal.entries:
        entries.setdefault(entry.get("request", ""), {}).setdefault(kind, []).append(entry)
    return entries


def _check_caller(history: History, story: Story) -> Iterable[str]:
    """Invariant 4, from the caller's side: one whole answer of one target, or an error that says so."""
    caller, request = story.caller, story.request
    if story.has_left and not caller.finished:
        return
    if caller.begun != 1 or caller.finished + caller.cuts != 1:
        yield f"{caller.begun} heads, {caller.finished} ends, {caller.cuts} cuts"
        return
    if caller.headers.get("ecotone-id") != request.id or "ecotone-reason" not in caller.headers:
        yield "no Ecotone-Id or Ecotone-Reason"
    text, model, has_error, has_done = read(request, caller)
    whole = history.targets[model.split(".")[0]].served[model] if model else ""
    if caller.finished and caller.status == 200:
        if has_error or text != whole or not text or (request.is_stream and not has_done):
            yield f"a clean end without a whole answer: {text!r} of {whole!r}"
    elif not has_error:
        yield f"status {caller.status} without an error object"
    if not whole.startswith(text):
        yield f"stitched: {text!r} is no beginning of {whole!r}"
    yield from _check_form(story, model)


def _check_form(story: Story, model: str) -> Iterable[str]:
    """What the caller got is of nobody but whose answer it is, says so, and holds what was asked for."""
    caller, request = story.caller, story.request
    others = set(ATTEMPT.findall(caller.body.decode())) - {model}
    if others:
        yield f"something of {sorted(others)} in the answer of {model or 'nobody'}"
    if model and sse.KEEP_ALIVE not in caller.body and caller.headers["ecotone-target"] != model.split(".")[0]:
        yield f"the answer of {model}, told to be of {caller.headers['ecotone-target']}"
    is_asked = "logprobs" in request.features.needs
    has_logprobs = any(piece.get("logprobs") for piece in choices(request, caller))
    if has_logprobs and not is_asked:
        yield "log probabilities that nobody asked for"
    if caller.finished and caller.status == 200 and is_asked and not has_logprobs:
        yield "no log probabilities, though they were asked for"


def _check_record(story: Story, mine: dict[str, list[Any]]) -> Iterable[str]:
    """Exactly one decision and one outcome (invariant 5's spirit), reproducible (9), within its time (6)."""
    outcomes, placed = mine.get("outcome", []), mine.get("placed", [])
    if len(outcomes) != 1:
        yield f"{len(outcomes)} outcome entries"
        return
    # A second one where the first target failed and detectors had yet to look; none where the caller left before it.
    if len(placed) not in ((0,) if story.request.model == "unknown" else (0, 1, 2) if story.has_left else (1, 2)):
        yield f"{len(placed)} decision entries"
    for entry in placed:
        kept = msgspec.convert(entry, flow.PlacedEntry)
        if placement.decide(kept.ask, kept.candidates) != kept.placement:
            yield "the decision does not replay"
    sent = len(story.caller.body.replace(sse.KEEP_ALIVE, b""))
    if outcomes[0]["ending"] == "answered" and outcomes[0].get("answer_bytes", 0) != sent:
        yield f"{sent} bytes of an answer, {outcomes[0].get('answer_bytes', 0)} on the bill"
    if not story.has_left:
        limit_s = 40.0 if story.request.deadline_at_s is None else story.request.deadline_at_s - story.began_s
        # LINGER_S: after a whole answer the corridor may wait that long for the transfer's own end.
        if story.ended_s - story.began_s > min(limit_s, 40.0) + 1.0 + SLACK_S:
            yield f"took {story.ended_s - story.began_s:.3f} s, allowed {limit_s:.3f} s"


def _check_parity(history: History, story: Story, mine: dict[str, list[Any]]) -> Iterable[str]:
    """Invariant 7: what a healthy edge target with room may answer is answered, whatever the cloud does."""
    request = story.request
    if story.outcome is None or request.model != "auto" or request.deadline_at_s is not None or story.caller.is_slow:
        return
    losses = [loss for entry in mine["placed"] for loss in entry["placement"].get("lost", ())]
    full = {loss["target"] for loss in losses if loss["obstacle"] in FULL}
    full |= {attempt.target for attempt in story.outcome.attempts if attempt.failure == "busy"}
    here = {candidate["target"] for candidate in mine["placed"][0]["candidates"]}
    for target in history.targets.values():
        spec, nature = target.spec, target.nature
        able = spec.name in here and (spec.capabilities is None or spec.capabilities.issuperset(request.features.needs))
        roomy = spec.context_tokens is None or request.features.prompt_tokens < 128
        calm = nature.trouble == 0.0 and nature.ttft_s < 1.0 and target.active_max <= spec.slots
        may = spec.at is Place.EDGE and able and roomy and calm and spec.name not in full
        if may and story.outcome.ending not in ("answered", "rejected", "broken"):
            yield f"{spec.name} could have answered; ended {story.outcome.ending} ({story.outcome.failure})"


def _check_egress(history: History, entries: dict[str, dict[str, list[Any]]]) -> Iterable[str]:
    """Invariants 1 and 2: nothing reaches a cloud target without a durable entry, and never what must stay."""
    requests: dict[str, Request | Errand] = {story.request.id: story.request for story in history.stories}
    if history.backlog is not None:
        requests |= {errand.id: errand for errand in history.backlog.errands}
    for target in history.targets.values():
        for one in target.received:
            if target.spec.at is Place.EDGE:
                continue
            request_id, request, permit, at_s = one.request, requests[one.request], one.permit, one.at_s
            if permit is None or one.receipt is None or history.journal.durable.get(permit.seal, 1e9) > at_s:
                yield f"{request_id}: bytes at {target.spec.name} before a durable entry"
            if history.site.is_cloud_off or request.wish is Wish.EDGE:
                yield f"{request_id}: left the site although the cloud is off or the caller wished for the edge"
            if {"secret", "medical"} & set(request.labels) or history.site.look.missing:
                yield f"{request_id}: labelled {request.labels} and sent to {target.spec.name}"
            if not _is_link_open(history, one, request):
                yield f"{request_id}: {one.purpose} sent to {target.spec.name} while the link is closed for it"
            yield from _check_bodies(history, request_id, target)
            if request.key == "research" and any(rule.key == "research" for rule in history.site.policy.rules):
                yield f"{request_id}: key research sent to {target.spec.name}"


def _is_link_open(history: History, one: Arrival, request: Request | Errand) -> bool:
    """Whether this may have left the site when it came, or a while before, when it was decided."""
    budgets, at_s = history.site.budgets, one.at_s
    shifts = [shift for from_s, shift in history.clock.shifts if from_s <= at_s]
    walls_s = [START_WALL_S + at_s + shift - ago_s for shift in shifts[-2:] for ago_s in (0.0, DECIDED_S)]
    is_bound = isinstance(request, Errand) or bool(one.purpose) or budgets.is_strict
    return not is_bound or any(budgets.windows.is_open(wall_s) for wall_s in walls_s)


def _check_bodies(history: History, request_id: str, target: MadeTarget) -> Iterable[str]:
    """What detectors could see is not in what a cloud target got, unless policy lets it go as it is."""
    look, person = history.site.look, history.site.policy.labels["person"]
    for body in target.bodies[request_id]:
        if look.quick and b"card-" in body:
            yield f"{request_id}: a card sent to {target.spec.name}"
        if look.dear and b"Jane-" in body and person is not Egress.FREE:
            yield f"{request_id}: a person sent to {target.spec.name}, who is {person}"


def _check_bounds(history: History) -> Iterable[str]:
    """Invariant 6: queues, budgets and half-open breakers keep their limits; nothing is left running."""
    for target in history.targets.values():
        # One more is a probe.
        if target.active_max > target.spec.slots + 1:
            yield f"{target.spec.name}: {target.active_max} at once"
        if target.active:
            yield f"{target.spec.name}: {target.active} attempts still run"
    left_over = [name for load in history.loads for name in load.left_over()]
    yield from (f"{name}: a slot is held or waited for at the end" for name in left_over)
    budget = history.site.budgets.egress_bytes_per_day
    if budget is not None and history.site.spend.egress_bytes > budget:
        yield f"{history.site.spend.egress_bytes} bytes sent, {budget} allowed"
    begun = {kept["request"] for kind, kept in history.journal.entries if kind == "job"}
    outcomes = [one for one in history.telemetry.outcomes if one.request not in begun and not one.purpose]
    if len(outcomes) != len(history.stories):
        yield f"{len(outcomes)} outcomes of {len(history.stories)} requests"
