"""Forms with a file, in pieces as they come."""

from __future__ import annotations

import pytest

from ecotone.values import RequestError
from ecotone.wire.multipart import FIELDS_BYTES_MAX, PARTS_MAX, Form

TYPE = b"multipart/form-data; boundary=xyz"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    more = "" if filename is None else f'; filename="{filename}"'
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"{more}\r\nX-Other: 1\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--xyz--\r\n"
CONTENT = b"a\r\n--xy\r\n--x" * 50


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_whatever_the_pieces(size: int) -> None:
    body = part("purpose", b"batch") + part("file", CONTENT, "in.jsonl") + part("late", b"1") + END
    form = Form(TYPE)
    found = b"".join(form.feed(body[at : at + size]) for at in range(0, len(body), size))
    assert found == CONTENT
    assert form.is_whole
    assert (form.fields, form.filename) == ({"purpose": "batch", "late": "1"}, "in.jsonl")


def test_a_form_that_is_cut_is_not_whole() -> None:
    form = Form(TYPE)
    form.feed(part("file", b"abc", "x")[:-3])
    assert not form.is_whole
    assert form.filename == "x"


@pytest.mark.parametrize("kind", [b"", b"application/json", b"multipart/form-data", b"multipart/mixed; boundary=x"])
def test_no_form_is_415(kind: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        Form(kind)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "body",
    [
        b"no form at all",
        b"--xyz\r\nNo colon\r\n\r\n",
        b"--xyz\r\nContent-Type: x/y\r\n\r\nabc\r\n",
        part("file", b"", "a") + part("file", b"", "b"),
        part("other", b"", "a"),
        part("x", b"1") * (PARTS_MAX + 1),
        b"--xyz\r\n" + b"A: b\r\n" * 50,
        b"--xyz\r\nA: " + b"b" * 9000,
    ],
)
def test_what_is_no_form_of_ours(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        Form(TYPE).feed(body)
    assert caught.value.code == "request.form"


def test_bounds() -> None:
    with pytest.raises(RequestError) as caught:
        Form(TYPE).feed(part("x", b"1" * (FIELDS_BYTES_MAX + 1)))
    assert caught.value.status == 413
    with pytest.raises(RequestError):
        Form(b"multipart/form-data; boundary=" + b"x" * 1000)


def test_names_of_files_are_plain() -> None:
    form = Form(TYPE)
    form.feed(part("file", b"", "a\x07" + "b" * 300))
    assert form.filename == "b" * 255
    form = Form(TYPE)
    form.feed(part("file", b"", ""))
    assert form.filename == "file"
