"""Who answers without end, before the first byte that counts: given up in time, and the next source is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ecotone.assets import FetchError
from ecotone.assets.web import Cut
from ecotone.delivery.neighbour import Neighbour
from ecotone.delivery.sources import HttpSource, Rate
from ecotone.values import ConfigError

LIMIT_S = 20.0


@contextlib.contextmanager
def endless(first: bytes, then: bytes) -> Iterator[int]:
    """A server that begins an answer and goes on with it for ever, a little at a time, never silent for long."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    caller, _ = listener.accept()
                    with contextlib.suppress(OSError), caller:
                        caller.recv(65536)
                        caller.sendall(first)
                        while not over.wait(0.02):
                            caller.sendall(then)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()


def hub(port: int) -> None:
    HttpSource(f"http://127.0.0.1:{port}", Rate(stall_s=0.4)).document("trust.json", 1000)


def neighbour(port: int) -> None:
    list(Neighbour(f"neighbour+http://127.0.0.1:{port}", stall_s=0.4).segments([("a" * 64, 100)]))


@pytest.mark.parametrize("ask", [hub, neighbour])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"H"),
    ],
    ids=["a header", "interim answers", "a first line"],
)
def test_an_answer_whose_head_never_ends_is_given_up(ask: Callable[[int], None], first: bytes, then: bytes) -> None:
    with endless(first, then) as port:
        began_s = time.monotonic()
        with pytest.raises(Cut):
            ask(port)
        assert time.monotonic() - began_s < LIMIT_S


@pytest.mark.parametrize(
    "to", ["http://[bad/x", "//\x1b[2J[/", "http://127.0.0.1:999999999/x", "http://\u2100.x/", "a\x00b c"]
)
def test_a_redirect_to_nowhere_is_no_crash(to: str) -> None:
    """It would end the delivery child, again and again, before the next source is asked."""
    head = f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
    with endless(head, b"") as port, pytest.raises((FetchError, Cut, ConfigError)) as found:
        hub(port)
    assert str(found.value).isprintable()
