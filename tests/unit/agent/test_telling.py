"""A report can hold no content: by its types, and because it is checked before it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.agent import telling
from ecotone.values import ConfigError
from ecotone.values.fleet import AssetReport, MachineReport, Report, decode_report

SHA = "0" * 64


def report(**changes: Any) -> Report:
    return msgspec.structs.replace(Report(site="clinic-7", seq=1, made_s=1e9), **changes)


def asset(name: str = "m", version: str = "1", **changes: Any) -> AssetReport:
    base = AssetReport(name=name, version=version, kind="model", sha256=SHA, state="wanted")
    return msgspec.structs.replace(base, **changes)


def texts(kind: type) -> Iterator[tuple[str, msgspec.inspect.StrType]]:
    """Every field of text in a report, with its path and its type."""
    seen: list[tuple[str, msgspec.inspect.Type]] = [("", msgspec.inspect.type_info(kind))]
    while seen:
        path, info = seen.pop()
        if isinstance(info, msgspec.inspect.StrType):
            yield path, info
        if isinstance(info, msgspec.inspect.StructType):
            seen += [(f"{path}.{field.name}", field.type) for field in info.fields]
        for name in ("type", "item_type", "key_type", "value_type"):
            if hasattr(info, name):
                seen.append((path, getattr(info, name)))
        for name in ("types", "item_types"):
            seen += [(path, one) for one in getattr(info, name, ())]
        assert not isinstance(info, (msgspec.inspect.AnyType, msgspec.inspect.BytesType, msgspec.inspect.RawType)), path


def test_no_field_of_a_report_takes_words() -> None:
    found = dict(texts(Report))
    assert [path for path, info in found.items() if info.pattern is None] == []
    for path, info in found.items():
        if info.pattern is not None:
            assert " " not in info.pattern, path
            assert info.pattern.endswith((r"\Z", "$")), path


def test_what_is_written_is_what_a_hub_reads() -> None:
    raw = telling.written(report(assets=(asset(),), machine=MachineReport(arch=telling.arch())))(7, 3)
    found = decode_report(raw, "clinic-7")
    assert (found.seq, found.dropped) == (7, 3)


@given(st.text(min_size=1))
def test_words_do_not_pass_as_codes(words: str) -> None:
    for code in telling.codes([words]):
        assert decode_report(telling.written(report(trouble=(code,)))(1, 0), "clinic-7").trouble == (code,)
        assert " " not in code


def _is_no_name(text: str) -> bool:
    return any(not (sign.isascii() and (sign.isalnum() or sign in "._-+")) for sign in text)


@given(st.text(min_size=1).filter(_is_no_name))
def test_words_in_any_other_field_keep_the_report_here(words: str) -> None:
    for made in (report(assets=(asset(why=words),)), report(software=words + " "), report(assets=(asset(name=words),))):
        with pytest.raises(ConfigError):
            telling.written(made)(1, 0)


def test_troubles_are_told_once_and_are_bounded() -> None:
    assert telling.codes(["ledger", "", "ledger", "a b"]) == ("ledger", "a_b")
    assert len(telling.codes([f"c{n}" for n in range(100)])) == telling.TROUBLES_MAX


def test_what_is_used_speaks_for_itself() -> None:
    wanted = [asset("m", "1"), asset("m", "2", state="fetching"), asset("a", "1")]
    used = [asset("m", "1", state="good")]
    found = telling.merged(wanted, used)
    assert [(one.name, one.version, one.state) for one in found] == [
        ("a", "1", "wanted"), ("m", "1", "good"), ("m", "2", "fetching"),
    ]  # fmt: skip
    assert len(telling.merged([asset("m", str(n)) for n in range(300)], [])) == 256
