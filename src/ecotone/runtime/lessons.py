"""What a running site learns: the gates of its model names, second answers, feedback; and what outlives a restart.

Loaded by `runtime.teaching`, and only where a model name asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from ecotone import config as settings
from ecotone import flow
from ecotone.flow.feedback import Feedbacks
from ecotone.flow.lessons import Errand
from ecotone.flow.shadowing import Shadows, ShadowTerms, note_steps
from ecotone.flow.site import Checker
from ecotone.learning import Lessons
from ecotone.learning.signs import signs
from ecotone.ports.learning import Learning
from ecotone.runtime.plugins import checkers
from ecotone.runtime.teaching import learning_names
from ecotone.store import Ledger, State
from ecotone.store.documents import Documents
from ecotone.store.examples import Example, Examples
from ecotone.values import EcotoneError, Place
from ecotone.values.quality import Comparison, QualityTerms, Reply
from ecotone.wire.feedback import Feedback

SAVE_EVERY_S: Final = 30.0
LOOK_EVERY_S: Final = 0.5
AGAIN_S: Final = 1.0
STATE: Final = "learning"
BAD_GAP: Final = 0.5
"""From here on a pair compared badly, and is worth looking at."""

BAD_MAX: Final = 50
"""So many examples wait to be written."""

MODELS_MAX: Final = 64
"""Targets and their models whose quality is remembered."""

log = logging.getLogger("ecotone.learning")


class _Kept(msgspec.Struct):
    """What is kept besides the lessons.

    Attributes:
        day, usd, tokens: Of paid comparisons.
        reported: What targets call themselves, by target: another name is another model.
    """

    day: str = ""
    usd: float = 0.0
    tokens: int = 0
    reported: dict[str, str] = {}


class Room:
    """Learning of a running site, from the first model name that asks for it."""

    def __init__(self, documents: Documents, examples: Examples, state: State, ledger: Ledger, secret: bytes) -> None:
        """Reads what was kept.

        Args:
            secret: Keys the hashes that stand for words.
        """
        self._documents = documents
        self._state = state
        self._ledger = ledger
        self._lessons = Lessons(hmac.digest(secret, b"signals", "sha256"), signs=signs)
        self._loaded: set[str] = set()
        self._current: Callable[[], flow.Site] | None = None
        self._config: Callable[[], settings.Config] | None = None
        self._saved: dict[tuple[str, str], bytes] = {}
        self._examples = examples
        self._is_purged = False
        self._bad: deque[tuple[Example, tuple[str, ...]]] = deque(maxlen=BAD_MAX)
        kept = state.read(STATE, _Kept) or _Kept()
        self._reported = kept.reported
        self._quality: dict[tuple[str, str], tuple[int, float]] = {}
        # One thread for all fits: each thread that ever ran one keeps what it took from the system (10 MB and more).
        self._thread = ThreadPoolExecutor(1, "learning")
        self._feedbacks = Feedbacks()
        self._shadows = Shadows(self._site, random.Random(), self._terms, self._noted)  # noqa: S311 - not a secret
        self._shadows.day, self._shadows.usd, self._shadows.tokens = kept.day, kept.usd, kept.tokens

    # For the composition.

    def arrange(self, config: settings.Config) -> Learning:
        """The learning for this configuration."""
        names = learning_names(config)
        self._load({name: model for name, model in names.items() if name not in self._loaded})
        self._loaded.update(names)
        self._settle(config, names)
        return self._lessons

    @staticmethod
    def checkers(config: settings.Config) -> Mapping[str, Checker]:
        """Who compares answers, by name.

        Raises:
            ConfigError: a name that no checker has, or a plug-in that cannot be loaded.
        """
        return checkers({model.compare.check for model in learning_names(config).values()})

    def begin(self, current: Callable[[], flow.Site], config: Callable[[], settings.Config]) -> None:
        """From now on there is a site."""
        self._current, self._config = current, config

    def take(self, errand: Errand, is_pair: bool) -> None:
        """An answer was given that may teach (`Site.take_errand`)."""
        self._feedbacks.remember(errand)
        if is_pair:
            self._shadows.take(errand)

    def changed(self, target: str, model: str) -> None:
        """The target runs this model from now on, though it has not answered yet."""
        if target in self._reported:
            self._called([(target, model)])

    def quality(self, target: str, model: str) -> tuple[int, float]:
        """See `Teaching.quality`."""
        return self._quality.get((target, model), (0, 0.0))

    async def live(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as group:
            for worker in (self._shadows.forever, self._recalibrate_forever, self._save_forever, self._keep_forever):
                group.create_task(_supervised(worker))

    async def close(self) -> None:
        """Keeps what was learned."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(EcotoneError):
            await self._save()

    def owner(self, request: str) -> str | None:
        """Name of the key that asked for an answer of late; None where it is not remembered."""
        return self._feedbacks.owner(request)

    async def give(self, said: Feedback) -> bool:
        """Takes feedback; whether it taught something.

        Raises:
            EcotoneError: the ledger cannot be written.
        """
        return await self._feedbacks.give(self._site(), said)

    # For status and metrics.

    def status(self) -> dict[str, Any]:
        """For `GET /admin/status`: by model name."""
        return {name: dict(self._lessons.figures(name)) for name in self._learning_names()}

    def shadows(self) -> dict[str, Any]:
        """For `GET /admin/status`: what comparing takes."""
        shadows = self._shadows
        return {
            "waiting": shadows.waiting,
            "compared": shadows.done,
            "dropped": shadows.dropped,
            "usd_today": round(shadows.usd, 6),
            "tokens_today": shadows.tokens,
        }

    # Within.

    def _site(self) -> flow.Site:
        assert self._current is not None, "begun first"
        return self._current()

    def _terms(self) -> ShadowTerms:
        assert self._config is not None, "begun first"
        learning = self._config().learning
        return ShadowTerms(learning.shadow_share, learning.cloud_usd_per_day, learning.cloud_tokens_per_day)

    def _learning_names(self) -> Sequence[str]:
        assert self._config is not None, "begun first"
        return list(learning_names(self._config()))

    def _noted(self, errand: Errand, seen: Comparison, replies: tuple[Reply, Reply]) -> None:
        """A comparison, with its content: another model at a target shows by the name it gives itself."""
        if seen.gap >= BAD_GAP and self._config is not None and self._config().learning.examples:
            self._bad.append((_example(errand, seen, replies, self._site().clock.wall_s()), errand.labels))
        self._count(errand.lesson.edge, replies[0].model, 1.0 - seen.gap)
        self._called(zip((errand.lesson.edge, errand.lesson.reference), [one.model for one in replies], strict=True))

    def _count(self, target: str, model: str, quality: float) -> None:
        pairs, total = self._quality.pop((target, model), (0, 0.0))
        self._quality[target, model] = pairs + 1, total + quality
        while len(self._quality) > MODELS_MAX:
            del self._quality[next(iter(self._quality))]

    def _called(self, models: Iterable[tuple[str, str]]) -> None:
        """So targets call themselves now: (target, model). What stood for another model is void."""
        fresh = {target: model for target, model in models if model and self._reported.get(target) != model}
        self._reported.update(fresh)
        if fresh and self._config is not None:
            config = self._config()
            self._settle(config, learning_names(config))

    def _settle(self, config: settings.Config, names: Mapping[str, settings.Model]) -> None:
        """Tells the lessons the names as they are now; what is void thereby goes to the ledger."""
        terms = {
            name: (_quality(model, config), self._versions(config, model, Place.EDGE), self._reference(config, model))
            for name, model in names.items()
        }
        at_ms = int(self._site().clock.wall_s() * 1e3) if self._current is not None else 0
        for step in self._lessons.settle(terms, at_ms=at_ms):
            self._ledger.note("step", step)

    def _versions(self, config: settings.Config, model: settings.Model, at: Place) -> dict[str, str]:
        return {name: self._version(config, name) for name in model.targets if config.targets[name].at is at}

    def _reference(self, config: settings.Config, model: settings.Model) -> str:
        clouds = self._versions(config, model, Place.CLOUD)
        first = next(iter(clouds))
        return f"{first}:{clouds[first]}"

    def _version(self, config: settings.Config, name: str) -> str:
        """What stands for a target's model: another one is another model, of which nothing is known."""
        target = config.targets[name]
        what: Any = (target.model, self._reported.get(name, ""))
        what += (target.url,) if isinstance(target, settings.UrlTarget) else (target.sha256, target.tools)
        if isinstance(target, settings.LocalTarget) and target.adapter is not None:
            what += (target.adapter,)
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:16]

    def _load(self, names: Mapping[str, settings.Model]) -> None:
        for name, model in names.items():
            for target in ("", *model.targets):
                kept = self._documents.read(_document(name, target))
                if kept is None:
                    continue
                try:
                    self._lessons.load(name, target, kept)
                except ValueError:
                    # Of another version, or broken: it is learned anew, from the cloud's answers, and nothing is lost.
                    log.warning("what was learned for %s at %s cannot be read, and is learned anew", name, target)

    async def _recalibrate_forever(self) -> None:
        """Certifies anew where it is due; the work itself in a thread."""
        lessons = self._lessons
        while True:
            for model, target in lessons.due():
                work = lessons.prepare(model, target)
                done = await asyncio.get_running_loop().run_in_executor(self._thread, work.run)
                site = self._site()
                steps = lessons.finish(done, at_ms=int(site.clock.wall_s() * 1e3))
                note_steps(site, steps)
                if steps:
                    # What the ledger tells of should be there after a crash too.
                    with contextlib.suppress(EcotoneError):
                        await self._save()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _save_forever(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            with contextlib.suppress(EcotoneError):
                await self._save()

    async def _keep_forever(self) -> None:
        """Writes examples where the configuration asks for them; where it no longer does, they go."""
        assert self._config is not None, "begun first"
        while True:
            if not self._config().learning.examples and not self._is_purged:
                with contextlib.suppress(EcotoneError):
                    await asyncio.to_thread(self._examples.purge)
                    self._is_purged = True
            await asyncio.sleep(LOOK_EVERY_S)
            while self._bad:
                example, labels = self._bad.popleft()
                self._is_purged = False
                with contextlib.suppress(EcotoneError):
                    await asyncio.to_thread(self._examples.add, example, labels)

    async def _save(self) -> None:
        lessons = self._lessons
        for model, target in lessons.documents():
            content = lessons.dump(model, target)
            mark = hashlib.sha256(content).digest()
            if self._saved.get((model, target)) != mark:
                await asyncio.to_thread(self._documents.write, _document(model, target), content)
                self._saved[model, target] = mark
        shadows = self._shadows
        kept = _Kept(day=shadows.day, usd=shadows.usd, tokens=shadows.tokens, reported=dict(self._reported))
        await asyncio.to_thread(self._state.write, STATE, kept)


def _quality(model: settings.Model, config: settings.Config) -> QualityTerms:
    quality = model.quality or settings.Quality()
    return QualityTerms(
        loss_max=quality.loss_max,
        confidence=quality.confidence,
        cloud_share=quality.cloud_share,
        is_auto=model.advance == "auto",
        has_answer_gate=model.cascade,
        paid_share_max=config.learning.paid_share_max,
    )


def _example(errand: Errand, seen: Comparison, replies: tuple[Reply, Reply], now_s: float) -> Example:
    request = errand.request
    return Example(
        request=request.id,
        model=request.model,
        target=errand.lesson.edge,
        at_ms=int(now_s * 1e3),
        gap=seen.gap,
        checker=seen.checker,
        question=errand.lesson.question.asked,
        edge=replies[0].text,
        cloud=replies[1].text,
        facets=(f"key: {request.key or 'none'}", f"endpoint: {request.endpoint.value}"),
    )


def _document(model: str, target: str) -> str:
    """The document's name: a model's name may hold anything."""
    return "lessons-" + hashlib.sha256(f"{model}\n{target}".encode()).hexdigest()[:24]


async def _supervised(worker: Callable[[], Any]) -> None:
    """A worker that a defect ended begins again: callers at the front never pay for it."""
    while True:
        try:
            await worker()
        except Exception as error:  # noqa: BLE001 - a supervisor; the words of the error could hold content
            log.error("a worker of the learning failed: %s", type(error).__name__)  # noqa: TRY400 - see above
            await asyncio.sleep(AGAIN_S)
