"""What is counted in a prompt."""

from __future__ import annotations

import numpy as np
import pytest

from ecotone.learning.hand import HAND, HEAD_CHARS, NAMES, TAIL_CHARS, cap, look, words

PLAIN = (0, 0, 1, False, False)


def _figures(text: str, around: tuple[int, int, int, bool, bool] | None = None) -> dict[str, float]:
    data = cap(text)
    found = look(data, words(data), around or (len(text), 0, 1, False, False))
    return dict(zip(NAMES, found.tolist(), strict=True))


def test_a_long_text_is_seen_at_its_two_ends() -> None:
    text = "a" * HEAD_CHARS + "b" * 10_000 + "c" * TAIL_CHARS
    assert cap(text) == b"a" * HEAD_CHARS + b"\n" + b"c" * TAIL_CHARS
    assert cap("as it is") == b"as it is"
    assert cap("x\ud800y") == b"x?y"


def test_words_are_lower_case_and_without_signs() -> None:
    assert words(b"What's 12.5 + X?  ") == [b"what", b"s", b"12", b"5", b"x"]


def test_figures_have_names_and_are_finite_whatever_the_text() -> None:
    assert len(NAMES) == len(set(NAMES)) == HAND
    for text in ("", " ", "\n\n", "?", "日本語のテキスト", "🙂" * 50, "\x00\x01", "a" * 5_000, "Ω ≤ ∞ привет مرحبا"):
        data = cap(text)
        found = look(data, words(data), (len(text), 0, 1, False, False))
        assert found.shape == (HAND,)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert (np.abs(found) < 10.0).all()


def test_length_grows_with_the_whole_prompt_though_only_its_ends_are_seen() -> None:
    assert _figures("a b " * 10_000)["log_chars"] > _figures("a b " * 1_000)["log_chars"]
    assert _figures("hello")["log_chars_above_5"] == 0.0


def test_what_stands_around_the_prompt_is_seen() -> None:
    alone, within = _figures("hi"), _figures("hi", (2, 500, 6, True, True))
    assert (alone["has_more"], alone["tools"], alone["json"], alone["turns"]) == (0.0, 0.0, 0.0, 0.0)
    assert (within["has_more"], within["tools"], within["json"]) == (1.0, 1.0, 1.0)
    assert within["turns"] == pytest.approx(np.log(6))
    assert within["log_around"] > 1.0


def test_code_questions_options_and_numbers_are_told_apart() -> None:
    code = _figures("def f(x):\n    return x\nassert f(1) == 1")
    assert code["code"] == 1.0
    assert code["code_log"] > 0.5
    choice = _figures("Which is true?\nA. one\nB. two\nC. three\nD. four")
    assert choice["options"] == pytest.approx(np.log(5))
    assert choice["cue_which"] > 0.0
    assert choice["questions"] == pytest.approx(np.log(2))
    assert _figures("is it?  ")["ends_in_question"] == 1.0
    assert _figures("Answer:")["ends_in_colon"] == 1.0
    assert _figures("1 22 333 four")["numbers"] == pytest.approx(np.log(4))


def test_scripts_are_told_apart() -> None:
    latin, accents, cyrillic, chinese = (_figures(text) for text in ("abcd", "éàüö", "привет", "你好世界"))
    tops = [
        max((one[name], name) for name in NAMES if name.startswith("class_")) for one in (accents, cyrillic, chinese)
    ]
    assert len({name for _, name in tops}) == 3
    assert all(latin[name] == 0.0 for _, name in tops)
