"""What goes over the worker's socket."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ecotone.detectors import messages
from ecotone.detectors.messages import Look, Ready, Seen, Setup
from ecotone.values import Finding

SEEN = Seen(1, "names", ((Finding("person", "person", 0, 3, 0.5, "names"),), ()))


@pytest.mark.parametrize("message", [Setup(("a",), {"k": [1]}), Look(1, ("Ada \u674e",), ("names",), 0.5)])
def test_what_the_gateway_says_arrives(message):
    framed = messages.framed(message)
    assert messages.length(framed[:4]) == len(framed) - 4
    assert messages.to_worker(framed[4:]) == message


@pytest.mark.parametrize("message", [Ready(1.5, {"names": "1"}, {"x": ("absent", "")}, "hook"), SEEN])
def test_what_the_worker_says_arrives(message):
    assert messages.to_gateway(messages.framed(message)[4:]) == message


def test_neither_side_takes_the_other_ones_words_or_nonsense():
    with pytest.raises(msgspec.MsgspecError):
        messages.to_worker(messages.framed(SEEN)[4:])
    with pytest.raises(msgspec.MsgspecError):
        messages.to_gateway(b"\x93")


def test_a_message_has_a_bound(monkeypatch):
    monkeypatch.setattr(messages, "MESSAGE_BYTES_MAX", 20)
    with pytest.raises(ValueError, match="too long"):
        messages.framed(SEEN)
    with pytest.raises(ValueError, match="too long"):
        messages.length(b"\0\0\0\x15")


def test_a_lone_surrogate_becomes_one_other_character():
    assert messages.sendable(["a\ud800b", "Ada", "\u674e"]) == ("a\ufffdb", "Ada", "\u674e")


def test_settings_become_plain_values():
    assert messages.plain({"store": Path("/s"), "topics_examples": [{"label": "x"}]}) == {
        "store": "/s",
        "topics_examples": [{"label": "x"}],
    }
