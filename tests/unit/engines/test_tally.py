"""What an engine's answers come to, in numbers."""

from __future__ import annotations

import pytest

from ecotone.engines.tally import Tally

ACCOUNT = (
    b'"usage":{"completion_tokens":12},"timings":{"cache_n":0,"prompt_n":31,"prompt_ms":132.981,'
    b'"prompt_per_token_ms":4.28,"prompt_per_second":233.1,"predicted_n":12,"predicted_ms":73.18,'
    b'"predicted_per_token_ms":6.65,"predicted_per_second":150.3}}\n\ndata: [DONE]\n\n'
)


def test_the_engines_own_account_counts() -> None:
    tally = Tally()
    tally.answered(9.0, ACCOUNT)
    assert tally.now.requests == 1
    assert tally.now.ttft_ms.quantile(0.5) == pytest.approx(132.981 + 73.18 / 12, rel=0.05)
    assert tally.now.decode_tok_s.quantile(0.5) == pytest.approx(12 / 0.07318, rel=0.05)


def test_without_one_the_first_byte_counts_and_a_short_answer_tells_no_speed() -> None:
    tally = Tally()
    tally.answered(0.2, b'data: {"choices":[]}')
    tally.answered(0.2, ACCOUNT.replace(b'"predicted_n":12', b'"predicted_n":2'))
    assert tally.now.requests == tally.now.ttft_ms.total == 2
    assert tally.now.decode_tok_s.total == 0
    assert tally.now.errors == 0


def test_no_text_of_an_answer_looks_like_an_account() -> None:
    tally = Tally()
    tally.answered(0.2, rb'{"content":"\"prompt_ms\":1.0,\"predicted_n\":99,\"predicted_ms\":1.0"}')
    assert tally.now.decode_tok_s.total == 0
    assert tally.now.ttft_ms.quantile(1.0) == pytest.approx(200, rel=0.05)


def test_only_what_the_engine_is_to_blame_for_is_its_error() -> None:
    tally = Tally()
    for code in ("busy", "context_exceeded", "capability", "http_503"):
        tally.failed(code)
    assert tally.now.requests == 0
    tally.failed("engine_crashed")
    tally.failed("http_500")
    assert (tally.now.requests, tally.now.errors) == (2, 2)


def test_memory_is_the_most_that_was_seen() -> None:
    tally = Tally()
    for bytes_ in (5, 9, 7):
        tally.weighed(bytes_)
    assert tally.now.memory_bytes == 9


def test_an_engine_counts_what_its_requests_came_to(scene):
    async def acts(world):
        engine = world.engine()
        for words in ("say 2", "broken", "die", "context", "bad"):
            await world.told(engine, words)
        stream, left = world.ask(engine, "say 50 gap 0.05")
        await left.first
        stream.abort()
        now = engine.tally.now
        assert (now.requests, now.errors, now.crashes) == (3, 2, 1)
        assert now.memory_bytes == 0 or now.memory_bytes > 1 << 20

    scene(acts)
