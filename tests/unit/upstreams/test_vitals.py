"""What the system knows of the bytes that were sent."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

import pytest

from ecotone.upstreams.vitals import Delivery, LinkFigures, LinkRecord, delivery, round_trip_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO and SIOCOUTQ are Linux's")

WITHIN_S = 0.3


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            yield ours, theirs


class Told:
    """A connection with this `tcp_info`."""

    def __init__(self, real: socket.socket, *, unacked: int = 0, probes: int = 0, last_ack_ms: int = 0) -> None:
        self.fileno = real.fileno
        fields = bytes((0, 0, 0, probes)) + bytes(20) + unacked.to_bytes(4, sys.byteorder)
        self._info = fields + bytes(28) + last_ack_ms.to_bytes(4, sys.byteorder)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert size == len(self._info)
        return self._info


def fill(ours: socket.socket) -> None:
    """Sends until the peer's window is closed and our own buffer is full."""
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(65536))
    except BlockingIOError:
        pass


def test_what_the_peers_system_took_is_delivered_though_nobody_reads_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[0].sendall(b"hello")
    until_s = time.monotonic() + 5
    while delivery(pair[0], WITHIN_S) is not Delivery.ALL:
        assert time.monotonic() < until_s


def test_a_peer_that_is_slow_to_read_is_alive(pair: tuple[socket.socket, socket.socket]) -> None:
    fill(pair[0])
    until_s = time.monotonic() + 5 * WITHIN_S
    while time.monotonic() < until_s:
        assert delivery(pair[0], WITHIN_S) is Delivery.GOING
        time.sleep(0.01)


def test_overdue_acknowledgements_mean_that_nothing_arrives(pair: tuple[socket.socket, socket.socket]) -> None:
    fill(pair[0])
    assert delivery(Told(pair[0], unacked=1, last_ack_ms=400), WITHIN_S) is Delivery.NONE
    assert delivery(Told(pair[0], probes=2, last_ack_ms=400), WITHIN_S) is Delivery.NONE
    assert delivery(Told(pair[0], probes=1, last_ack_ms=400), WITHIN_S) is Delivery.GOING
    assert delivery(Told(pair[0], unacked=1, last_ack_ms=200), WITHIN_S) is Delivery.GOING


def test_a_closed_socket_tells_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert delivery(pair[0], WITHIN_S) is Delivery.UNKNOWN


def test_a_round_trip_is_known_of_tcp_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(b"hello")
    found_s = round_trip_s(pair[0])
    assert found_s is not None
    assert 0 < found_s < 1
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert round_trip_s(ours) is None


def test_other_systems_tell_no_round_trip(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert round_trip_s(pair[0]) is None


class Far:
    """A connection with this round trip."""

    def __init__(self, rtt_us: int) -> None:
        self.asked = 0
        self._rtt_us = rtt_us

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.asked += 1
        return bytes(68) + self._rtt_us.to_bytes(4, sys.byteorder)


def test_a_link_is_told_in_quantiles_and_looked_at_once_a_second() -> None:
    record = LinkRecord()
    assert record.figures() == LinkFigures()
    far = Far(250_000)
    for n in range(100):
        record.answered(far, n / 10, 1_000, 0.5)
    assert far.asked == 10
    assert record.figures() == LinkFigures(0.25, 0.25, None, None)
    for n in range(10):
        record.answered(Far(1_000_000), 20.0 + n, 1_000_000, 1.0 + n)
    figures = record.figures()
    assert (figures.rtt_s_p50, figures.rtt_s_p95) == (1.0, 1.0)
    assert (figures.bytes_per_s_p10, figures.bytes_per_s_p50) == (pytest.approx(1e6 / 9), pytest.approx(2e5))
