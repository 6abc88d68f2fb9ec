"""Runs variants of a model's settings, one worker after the other, within a limit of time."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec

from ecotone.engines.asking import ask
from ecotone.engines.launching import Launch, Running, launch
from ecotone.engines.needs import Hold, Progress
from ecotone.engines.settings import Model, Tuned
from ecotone.engines.tuning import Measured, Sample, choose, variants
from ecotone.values import EcotoneError, TargetError, TrustError

WITHIN_S: Final = 15.0
"""For all variants together."""

TRIAL_S: Final = 0.8
"""A trial's prompt is as long as takes this much of the first variant's time to read."""

TRIALS: Final = 2
"""Trials of each variant; the best counts: other work on the machine only ever slows one down."""

DECODE_TOKENS: Final = 32
FIRST_TOKENS: Final = 48
PROMPT_TOKENS_MAX: Final = 640
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
    prompt_tokens = FIRST_TOKENS
    try:
        async with asyncio.timeout(within_s):
            for tuned in variants(model, cores):
                sample, prompt_tokens = await _sample(site, model, hold, tuned, prompt_tokens)
                samples.append(sample)
                progress(_line(model, sample))
    except TimeoutError:
        progress(f"{model.name}: {len(samples)} settings measured in {within_s:.0f} s, that is enough")
    except TrustError:
        raise
    except (EcotoneError, OSError, msgspec.DecodeError) as error:
        progress(f"{model.name}: not measured further: {error}")
    if not samples:
        return None
    best = choose(samples)
    progress(f"{model.name}: runs with {_words(best.tuned)}")
    return Measured(best=best, took_s=time.monotonic() - began_s, samples=tuple(samples))


async def _sample(site: Launch, model: Model, hold: Hold, tuned: Tuned, prompt_tokens: int) -> tuple[Sample, int]:
    """One variant, and the length of prompt for the next."""
    running = await launch(site, model, tuned, hold, lambda worker: None)
    try:
        if prompt_tokens == FIRST_TOKENS:
            first = await _trial(running, prompt_tokens, seed=0)
            prompt_tokens = min(max(int(_rate(first)[0] * TRIAL_S), FIRST_TOKENS + 1), PROMPT_TOKENS_MAX)
            prompt_tokens = min(prompt_tokens, model.context_tokens - DECODE_TOKENS - 8)
        rates = [_rate(await _trial(running, prompt_tokens, seed=seed)) for seed in range(1, 1 + TRIALS)]
        rss_bytes = running.worker.rss_bytes()
    finally:
        running.stop()
        await asyncio.shield(running.worker.gone)
    prefill, decode = max(rate[0] for rate in rates), max(rate[1] for rate in rates)
    sample = Sample(
        tuned=tuned, prefill_tok_s=prefill, decode_tok_s=decode, load_s=running.ready.load_s, rss_bytes=rss_bytes
    )
    return sample, prompt_tokens


async def _trial(running: Running, prompt_tokens: int, seed: int) -> _Timings:
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


def _rate(timings: _Timings) -> tuple[float, float]:
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
