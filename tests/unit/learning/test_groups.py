"""Keys of what requests have in common."""

from __future__ import annotations

import msgspec

from ecotone.learning.groups import LEVELS, GroupKeys
from ecotone.learning.traits import GROUP_LEVELS
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

SECRET = b"s" * 32
BASE = Question(
    endpoint=Endpoint.CHAT,
    model="assistant",
    key="research",
    system="You help Maria with ticket 4711. Be brief.",
    asked="hello",
    tools=("search",),
    form="json_object",
)


def _of(question: Question, secret: bytes = SECRET) -> tuple[int, ...]:
    return GroupKeys(secret).of(question)


def test_there_is_one_key_per_level_and_none_tells_of_the_prompt() -> None:
    assert len(LEVELS) == GROUP_LEVELS == len(_of(BASE))
    assert all(0 < key < 1 << 64 for key in _of(BASE))
    assert _of(BASE) == _of(msgspec.structs.replace(BASE, asked="another", turns=9))
    assert len(set(_of(BASE))) == GROUP_LEVELS


def test_what_is_not_there_has_no_key() -> None:
    bare = Question(endpoint=Endpoint.CHAT, model="m", asked="x")
    assert _of(bare)[1:] == (0, 0, 0, 0)
    with_form = Question(endpoint=Endpoint.CHAT, model="m", asked="x", form="json_object")
    assert _of(with_form)[1] != 0
    assert _of(with_form)[2:] == (0, 0, 0)
    only_system = Question(endpoint=Endpoint.CHAT, model="m", system="Be brief.")
    assert _of(only_system)[1] == 0
    assert all(_of(only_system)[2:])


def test_a_template_is_known_in_spite_of_its_digits_and_names() -> None:
    other = _of(msgspec.structs.replace(BASE, system="You help Anton with ticket 12. Be brief."))
    assert other[:4] == _of(BASE)[:4]
    assert other[4] != _of(BASE)[4]


def test_levels_part_where_their_part_differs() -> None:
    base = _of(BASE)
    key = _of(msgspec.structs.replace(BASE, key="ward"))
    assert [one == two for one, two in zip(base, key, strict=True)] == [False, True, True, True, False]
    tools = _of(msgspec.structs.replace(BASE, tools=("search", "mail")))
    assert [one == two for one, two in zip(base, tools, strict=True)] == [True, False, True, False, False]
    longer = _of(msgspec.structs.replace(BASE, system=BASE.system + " " + "and so on" * 30))
    assert longer[2] != base[2]  # it differs within the opening


def test_another_secret_gives_other_keys() -> None:
    assert not set(_of(BASE)) & set(_of(BASE, b"t" * 32))


def test_what_is_remembered_is_bounded_and_changes_nothing() -> None:
    keys = GroupKeys(SECRET)
    first = keys.of(BASE)
    for number in range(GroupKeys.REMEMBERED_MAX + 10):
        keys.of(msgspec.structs.replace(BASE, system=f"prompt {number}"))
    assert keys.of(BASE) == first == keys.of(BASE)
    assert len(keys._remembered) <= GroupKeys.REMEMBERED_MAX
