"""Runs variants of a model's settings, one worker after the other, within a limit of time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Final

import msgspec

from ecotone.engines.asking import ask
from ecotone.engines.launching import Launch, Running, launch
from ecotone.engines.needs import Hold, Progress
from ecotone.engines.settings import Model, Tuned
from ecotone.engines.tuning import PROMPT_TOKENS, Measured, Sample, choose, request_s, variants
from ecotone.values import EcotoneError, TargetError, TrustError

WITHIN_S: Final = 15.0
"""For all variants together."""

TRIAL_S: Final = 0.6
"""A trial's prompt is as long as takes this much of the first variant's time to read."""

TRIALS: Final = 2
"""Trials of each variant; the best counts: other work on the machine only ever slows one down."""

NEIGHBOUR_S_MAX: Final = 3.0
"""A trial beside a busy process is not waited for longer; its time then counts as this, which is too little."""

DECODE_TOKENS: Final = 24
FIRST_TOKENS: Final = 48
PROMPT_TOKENS_MAX: Final = 640
_NEIGHBOUR: Final = "import time; end = time.monotonic() + 8\nwhile time.monotonic() < end: pass"
_WORDS: Final = "the quick brown fox jumps over a lazy dog while seven small birds watch from an old oak tree "


class _Timings(msgspec.Struct):
    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float


class _Answer(msgspec.Struct):
    timings: _Timings


async def measure(
    site: Launch, model: Model, hold: Hold, cores: int, progress: Progress, within_s: float = WITHIN_S
) -> Measured | None:
    """Measures the variants in order of what they may bring, as far as the time reaches.

    None where not even the first could be measured.

    Raises:
        TrustError: the model file is not what it should be.
    """
    began_s = time.monotonic()
    samples: list[Sample] = []
    bench = _Bench(site, model, hold)
    try:
        async with asyncio.timeout(within_s):
            for tuned in variants(model, cores):
                if samples and tuned.batch != samples[0].tuned.batch and bench.prompt_tokens <= tuned.batch:
                    continue  # this machine is too slow for a prompt that would tell the batches apart
                samples.append(await bench.sample(tuned, is_neighboured=tuned.threads >= cores or not samples))
                progress(_line(model, samples[-1]))
    except TimeoutError:
        progress(f"{model.name}: {len(samples)} settings measured in {within_s:.0f} s, that is enough")
    except TrustError as error:
        if error.code != "asset.changed":
            raise
        progress(f"{model.name}: not measured further: the file was touched")  # the start checks it again
    except (EcotoneError, OSError, msgspec.DecodeError) as error:
        progress(f"{model.name}: not measured further: {error}")
    if not samples:
        return None
    best = choose(samples)
    progress(f"{model.name}: runs with {_words(best.tuned)}")
    return Measured(best=best, took_s=time.monotonic() - began_s, samples=tuple(samples))


class _Bench:
    """Measures variants of one model with prompts of one length.

    Attributes:
        prompt_tokens: Set by the first trial, so that one takes about `TRIAL_S`.
    """

    def __init__(self, site: Launch, model: Model, hold: Hold) -> None:
        self.prompt_tokens = 0
        self._site = site
        self._model = model
        self._hold = hold

    async def sample(self, tuned: Tuned, *, is_neighboured: bool) -> Sample:
        """One variant; `is_neighboured` also with a busy process beside it."""
        running = await launch(self._site, self._model, tuned, self._hold, lambda worker: None)
        try:
            if not self.prompt_tokens:
                first = rate(await trial(running, FIRST_TOKENS, seed=0))
                fitting = self._model.context_tokens - DECODE_TOKENS - FIRST_TOKENS
                self.prompt_tokens = max(min(int(first[0] * TRIAL_S), PROMPT_TOKENS_MAX, fitting), 16)
            rates = [rate(await trial(running, self.prompt_tokens, seed=seed)) for seed in range(1, 1 + TRIALS)]
            busy_s = await self._beside_neighbour(running) if is_neighboured else None
            rss_bytes = running.worker.rss_bytes()
        finally:
            running.stop()
            await asyncio.shield(running.worker.gone)
        return Sample(
            tuned=tuned,
            prefill_tok_s=max(one[0] for one in rates),
            decode_tok_s=max(one[1] for one in rates),
            load_s=running.ready.load_s,
            rss_bytes=rss_bytes,
            busy_request_s=busy_s,
        )

    async def _beside_neighbour(self, running: Running) -> float:
        """Seconds for the compared request with one busy process beside the engine."""
        neighbour = _spawn_neighbour()
        try:
            async with asyncio.timeout(NEIGHBOUR_S_MAX):
                return request_s(*rate(await trial(running, self.prompt_tokens // 4, seed=TRIALS + 1)))
        except TimeoutError:
            return NEIGHBOUR_S_MAX * PROMPT_TOKENS / self.prompt_tokens
        finally:
            neighbour.kill()
            neighbour.wait()  # killed: this does not wait


def _spawn_neighbour() -> subprocess.Popen[bytes]:
    """A process that keeps one core busy, and ends by itself if we cannot end it."""
    return subprocess.Popen(  # noqa: S603 - it is our own text
        [sys.executable, "-S", "-E", "-c", _NEIGHBOUR], env={}, stdin=subprocess.DEVNULL, start_new_session=True
    )


async def trial(running: Running, prompt_tokens: int, seed: int) -> _Timings:
    """The engine's account of one short answer to a made-up prompt.

    Raises:
        TargetError: it did not answer.
        msgspec.DecodeError: it gave no account.
    """
    words = f"{seed} {_WORDS * (prompt_tokens // 16 + 2)}".split()[:prompt_tokens]
    body = {
        "prompt": " ".join(words),
        "n_predict": DECODE_TOKENS,
        "ignore_eos": True,
        "cache_prompt": False,
        "temperature": 0,
        "stream": False,
    }
    answer = await ask(running.channel, "POST", "/completion", running.key, msgspec.json.encode(body))
    return msgspec.json.decode(answer, type=_Answer).timings


def rate(timings: _Timings) -> tuple[float, float]:
    """(prefill, decode), tokens per second.

    Raises:
        TargetError: the engine's account makes no sense.
    """
    if min(timings.prompt_n, timings.predicted_n, timings.prompt_ms, timings.predicted_ms) <= 0:
        raise TargetError("bad_answer", "the engine's timings make no sense")
    return timings.prompt_n / timings.prompt_ms * 1e3, timings.predicted_n / timings.predicted_ms * 1e3


def _words(tuned: Tuned) -> str:
    threads = f"{tuned.threads} thread{'s' if tuned.threads > 1 else ''}"
    return f"{threads}, batch {tuned.batch}, cache {tuned.cache_type}"


def _line(model: Model, sample: Sample) -> str:
    return (
        f"{model.name}: {_words(sample.tuned)}: reads {sample.prefill_tok_s:.0f} and writes "
        f"{sample.decode_tok_s:.0f} tokens/s, {sample.rss_bytes >> 20} MiB, loads in {sample.load_s:.2f} s"
    )
