"""The instrument sees what it must: a value that does go out is found, in every form and protocol."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
from collections.abc import Callable
from urllib.parse import quote

import pytest

from ecotone.values import Endpoint
from tests.egress import canaries
from tests.egress.canaries import FORMS, plant
from tests.egress.capture import Needles, as_json, compact, streams
from tests.egress.conversations import PLACES, protected
from tests.egress.stage import Leak, Said, Stage
from tests.faults.test_network import CLOUD_IP

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "upper": lambda text: text.upper().encode(),
    "JSON": lambda text: json.dumps({"a": text}).encode(),
    "JSON, each sign escaped": lambda text: b'{"a":%b}' % as_json(text).encode(),
    "JSON in JSON": lambda text: json.dumps({"a": json.dumps({"b": [text]})}).encode(),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps({"b": text}))).encode(),
    "percent": lambda text: quote(text, safe="").encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64, one sign later": lambda text: base64.b64encode(b"x" + text.encode()),
    "base64, two signs later": lambda text: base64.b64encode(b"xy" + text.encode()),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(b"~~" + text.encode()),
    "hex": lambda text: text.encode().hex().encode(),
    "hex, upper": lambda text: text.encode().hex().upper().encode(),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "UTF-16, the other way": lambda text: text.encode("utf-16-be"),
    "in a stream, cut": lambda text: text[:9].encode() + b"\r\n" + text[9:].encode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_found_in_every_encoding(encoding: str, form: str) -> None:
    dice = random.Random(f"{encoding} {form}")
    if form == "percent" and "hex" in encoding:
        pytest.skip("two levels deep")
    if form == "base64" and encoding == "upper":
        pytest.skip("that destroys it")
    if form == "base64" and any(word in encoding for word in ("base64", "cut", "hex")):
        pytest.skip("two levels deep")
    for kind in FORMS[form][1]:
        canary = plant(dice, kind, form)
        others = Needles([canary.core, *(plant(dice).core for _ in range(50))])
        assert others.found_in(b"before " + ENCODINGS[encoding](canary.written) + b" after") == {canary.core}


def test_harmless_bytes_hold_nothing() -> None:
    dice = random.Random(3)
    needles = Needles(plant(dice).core for _ in range(3000))
    assert needles.found_in(dice.randbytes(300_000)) == set()
    assert needles.found_in(json.dumps({"n": [dice.random() for _ in range(9000)]}).encode()) == set()


@pytest.mark.parametrize("place", PLACES[Endpoint.CHAT])
def test_a_body_with_a_value_is_recognised(place: str) -> None:
    if place == "split parts":
        pytest.skip("its marker is what is looked for")
    dice = random.Random(place)
    for _ in range(20):
        one = protected(dice, model="m", endpoint=Endpoint.CHAT, place=place, canary=plant(dice, form="plain"))
        assert one.canary is not None
        assert Needles([one.canary.core, one.marker]).found_in(one.body) == {one.canary.core, one.marker}


def test_made_values_are_valid() -> None:
    from stdnum import iban, luhn
    from stdnum.cn import ric

    dice = random.Random(1)
    for _ in range(200):
        assert luhn.is_valid(canaries.card(dice).replace(" ", ""))
        assert iban.is_valid(canaries.iban(dice))
        assert ric.is_valid(canaries.cn_id(dice))


def _frame(flags: int, number: int, payload: bytes, port: int = 5000) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", port, 80, number, 0, 0x50, flags, 0, 0, 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\n\0\0\1", b"\n\0\0\2")
    return b"\0" * 12 + b"\x08\x00" + ip + tcp + b"\0" * 6


def test_streams_are_put_together_in_whatever_order_they_came() -> None:
    first = [
        _frame(2, 2**32 - 3, b""),
        _frame(16, 2, b"o wor"),
        _frame(16, 2**32 - 2, b"hell"),
        _frame(16, 2, b"o w"),
    ]
    again = [_frame(2, 7, b""), _frame(16, 8, b"ano"), _frame(16, 13, b"er")]
    found = streams([*first, *again, b"\0" * 12 + b"\x08\x06" + b"\0" * 30])
    assert found[0] == b"hello wor"
    assert found[1].startswith(b"ano\n<")
    assert found[1].endswith(b"er")


def _tcp(value: str, port: int) -> None:
    with socket.create_connection((CLOUD_IP, port), 2) as sock:
        for at in range(0, len(value), 5):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(value[at : at + 5].encode())


def _udp(value: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(base64.b64encode(value.encode()), (CLOUD_IP, 5353))


def _name(value: str, port: int) -> None:
    query = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    label = value.replace("@", "-").replace(".", "-").encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(query + bytes([len(label)]) + label + b"\x04test\0\0\1\0\1", (CLOUD_IP, 53))


def _ping(value: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.sendto(struct.pack(">BBHHH", 8, 0, 0, 1, 1) + value.encode("utf-16-le"), (CLOUD_IP, 0))


def _raw(value: str, port: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("up0", 0))
        sock.send(b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + value.encode())


@pytest.mark.parametrize("way", [_tcp, _udp, _name, _ping, _raw], ids=lambda way: way.__name__)
def test_a_planted_leak_is_seen(stage: Stage, way: Callable[[str, int], None]) -> None:
    stage.judge()
    one = protected(stage.dice, model="assistant", canary=plant(stage.dice, "email", "plain"), endpoint=Endpoint.CHAT)
    assert one.canary is not None
    stage.note(Said("planted", one, 0, {}, b""))
    with stage.link.at_site():
        way(one.canary.value, stage.cloud.port)
    with pytest.raises(Leak, match="planted"):
        stage.judge()


def test_where_nothing_harmless_arrives_nothing_is_proved(stage: Stage) -> None:
    with pytest.raises(Leak, match="nothing is proved"):
        stage.judge(arriving=["a path that nobody went"])


def test_compact_is_what_values_are_compared_by() -> None:
    assert compact("Ａ-b\u200bс 1") == "abc1"
