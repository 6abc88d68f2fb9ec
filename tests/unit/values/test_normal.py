"""What a text says once its clothes are off."""

from __future__ import annotations

import pytest

from ecotone.values.normal import ANSWER_CHARS_MAX, CHARS_MAX, marked, normalised, offers, option, said


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("<think>hm</think> Paris", " Paris"),
        ("  <Thinking>hm\n\n</Thinking>Paris", "Paris"),
        ("<think>never ends", ""),
        ("I <think>not</think>", "I <think>not</think>"),
        ("Paris", "Paris"),
    ],
)
def test_thoughts_before_an_answer_are_no_part_of_it(text: str, is_said: str) -> None:
    assert said(text) == is_said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "paris"),
        ("**Paris**", "_Paris_"),
        ("The capital is “Paris”!", "capital is paris"),
        ("# Paris", "> Paris"),
        ("- Paris\n- Rome", "* Paris\n* Rome"),
        ("[Paris](https://x.example/y)", "Paris"),
        ("don’t", "don't"),
        ("1,000,000", "1000000"),
        ("1 000", "1000"),
        ("50 %", "50%"),
        ("x + 1 = 2", "x+1=2"),
        ("−5", "-5"),
        ("１２", "12"),
        ("Die Katze", "katze"),
        ("la casa", "casa"),
        (r"\text{Paris}\,", "paris"),
        ("「東京」です。", "東京 です"),
        ("well-known", "well known"),
        ("  a \n\t b ", "a b"),
    ],
)
def test_two_texts_that_say_the_same_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5", "-5"),
        ("3.5", "35"),
        ("5%", "5"),
        ("x+1", "x-1"),
        ("c++", "c"),
        ("C#", "C"),
        ("2/3", "2 3"),
        ("10:30", "1030"),
        ("हिन्दी", "हनद"),
        ("résumé", "resume"),
        ("0.5", "5"),
        ("the", "a"),
    ],
)
def test_what_makes_a_difference_stays(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_of_a_long_text_the_beginning_is_read() -> None:
    assert len(normalised("x" * (CHARS_MAX + 9))) == CHARS_MAX


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So it goes. The answer is **42**. Thus.", "42"),
        ("answer: 1\nNo wait. Final answer: 2", "2"),
        ("#### 18", "18"),
        ("**Answer:** B) Paris", "B) Paris"),
        ("The answer **is** 4", "4"),
        ("Answer:\nParis", "Paris"),
        ("Die Antwort lautet: 7", "7"),
        ("La respuesta correcta es 5.", "5"),
        ("La bonne réponse est le chat.", "le chat"),
        ("Ответ: 5", "5"),
        ("答案是B。因为", "B"),
        (r"so \boxed{\frac{1}{2}} holds", r"\frac{1}{2}"),
        (r"\boxed{1} or \boxed{2}", "2"),
        (r"\boxed{never closed", ""),
        (r"\boxed{} The answer is 3", "3"),
        ("<answer> Paris </answer>", "Paris"),
        ("The result is: 3.5 km.", "3.5 km"),
        ("İ answer: 3", "3"),
        ("unanswer: 3", ""),
        ("An answer is hard to give", "hard to give"),
        ("No answer.", ""),
        ("", ""),
    ],
)
def test_the_part_that_a_text_marks_as_its_answer(text: str, answer: str) -> None:
    assert marked(text) == answer


def test_a_marked_answer_is_short() -> None:
    assert len(marked("The answer is " + "x" * 999)) == ANSWER_CHARS_MAX
    assert marked(r"\boxed{" + "x" * 999 + "}") == ""


def test_a_word_that_never_links_to_an_answer_is_looked_at_a_few_times_only() -> None:
    assert marked("The answer is 4. " + "answer " * 9) == ""


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(B)", "B"),
        ("B.", "B"),
        ("B", "B"),
        ("**D** because", "D"),
        ("C: the third", "C"),
        ("Option C", "C"),
        ("The correct answer is (C) since", "C"),
        (r"\boxed{\text{B}}", "B"),
        ("A is right", "A"),
        ("A cat", ""),
        ("b", ""),
        ("Because", ""),
        ("", ""),
    ],
)
def test_the_letter_that_a_text_picks(text: str, letter: str) -> None:
    assert option(text) == letter


@pytest.mark.parametrize(
    ("asked", "has_options"),
    [
        ("Which?\nA. cat\nB. dog", True),
        ("(A) cat (B) dog", True),
        ("A) cat\nB) dog\nC) cow", True),
        ("Plan A: foo.", False),
        ("What is a cat?", False),
    ],
)
def test_whether_a_question_offers_options(asked: str, has_options: bool) -> None:
    assert offers(asked) is has_options
