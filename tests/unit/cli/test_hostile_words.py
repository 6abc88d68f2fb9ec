"""What a hub, a redirect or a site says is shown as text: a terminal obeys none of it, a line of the log stays one."""

from __future__ import annotations

import io
import logging

import msgspec
import pytest

from ecotone.assets.web import Refused, shown
from ecotone.cli import enrolling, failures, hub_remote
from ecotone.telemetry.logs import set_up_logs
from ecotone.values import ConfigError, RequestError
from ecotone.values.fleet import decode_report

BAD = "ok\x1b]0;owned\x07\x1b[2Jfine\u202e\x9b31m"


def is_plain(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def test_an_error_in_a_hubs_words(capsys: pytest.CaptureFixture[str]) -> None:
    failures.show(RequestError("hub.x", BAD), is_json=False)
    failures.show(ConfigError("hub.x", BAD, problems=(BAD, BAD)), is_json=False)
    said = capsys.readouterr().err
    assert "fine" in said
    assert is_plain(said)


def test_an_enrolment_in_a_hubs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"site": "a", "trust": {}, "hub": BAD}
    monkeypatch.setattr(hub_remote, "exchange", lambda *_: (201, msgspec.json.encode(answer)))
    with pytest.raises(failures.UnreachableError):
        enrolling._enrolled("http://hub", {})
    deep = b'{"more": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for status in (201, 500):
        monkeypatch.setattr(hub_remote, "exchange", lambda *_, status=status: (status, deep))
        with pytest.raises(failures.UnreachableError):
            enrolling._enrolled("http://hub", {})


def test_an_address_that_a_redirect_gave() -> None:
    assert is_plain(shown(f"http://hub/{BAD}"))
    assert is_plain(str(Refused(310, f"http://[{BAD}/x")))
    assert shown("https://ann:secret@hub/a?key=1") == "https://hub/a"


def test_a_line_of_the_log_stays_one_line() -> None:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    out = io.StringIO()
    try:
        set_up_logs("info", "text", out)
        logging.getLogger("ecotone.hub").warning("it could not be had: %s", f"{BAD}\n00:00:00 info hub: all is well")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    said = out.getvalue()
    assert "fine" in said
    assert said.count("\n") == 1
    assert is_plain(said)


@pytest.mark.parametrize(
    "pinned", ["", "smol", "what the patient said", "smol@1 and more", "../x@1", "smol@" + "1" * 65]
)
def test_no_field_of_a_report_holds_words(pinned: str) -> None:
    said = {"site": "a", "seq": 1, "made_s": 1.0, "pinned": [pinned]}
    with pytest.raises(ConfigError):
        decode_report(msgspec.json.encode(said), "a")
    assert decode_report(msgspec.json.encode({**said, "pinned": ["smol@2+q8"]}), "a").pinned == ("smol@2+q8",)
