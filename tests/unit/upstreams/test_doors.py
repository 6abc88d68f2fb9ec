"""The two doors: nothing leaves without a permit for exactly that, and nothing at the edge goes to a public address."""

from __future__ import annotations

import socket

import pytest

from ecotone.upstreams.connect import Resolver
from ecotone.upstreams.door import Call
from ecotone.upstreams.egress import EgressDoor, Used
from ecotone.upstreams.exchange import Head
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.premises import PremisesDoor, is_on_premises
from ecotone.upstreams.target import UrlTarget
from ecotone.values import Permit, Place, Receipt, TargetSpec, binding

BODY = b'{"q":1}'


async def answers(peer):
    while True:
        await peer.request()
        peer.answer()


class Door:
    """An egress door with a mint that knows its own permits."""

    def __init__(self, stage, server):
        self.recorder = stage.recorder
        self.upstream = Upstream(scheme="http", host="127.0.0.1", port=server.port)
        self.minted = set()
        self.door = EgressDoor(lambda permit: permit.seal in self.minted, Resolver())
        self.over = 0

    def permit(self, **changed):
        good = {
            "request": "r1",
            "target": "big",
            "origin": self.upstream.origin,
            "digest": binding("none", BODY),
            "transform": "none",
            "rule": "all",
            "seal": b"seal-1",
        }
        permit = Permit(**{**good, **changed})
        self.minted.add(b"seal-1")
        return permit

    def count(self):
        self.over += 1

    async def send(self, permit, receipt, body=BODY):
        _, sink = self.start(permit, receipt, body)
        await sink.over
        return sink

    def start(self, permit, receipt, body=BODY):
        sink = self.recorder()
        head = Head("POST", self.upstream, "/v1/x", {})
        call = Call("big", self.upstream, head, body, None, self.count)
        return self.door.send(call, sink, permit, receipt), sink


def test_a_permit_with_its_receipt_is_good_for_one_send(play):
    async def scene(stage):
        server = await stage.serve(answers)
        door = Door(stage, server)
        permit = door.permit()
        assert (await door.send(permit, Receipt(1, permit.seal))).is_ended
        again = await door.send(permit, Receipt(1, permit.seal))
        assert again.code == "egress_refused"
        assert "used before" in again.error.message
        assert (await door.send(permit, Receipt(2, permit.seal))).is_ended, "another entry of the ledger"
        assert door.door.link(door.upstream).rtt_s_p50 > 0
        assert server.requests == 2
        assert door.over == 3
        door.door.close()

    play(scene)


WRONG = {
    "no permit": (lambda door: (None, Receipt(1, b"seal-1"), BODY), "no permit"),
    "no receipt": (lambda door: (door.permit(), None, BODY), "no receipt"),
    "another target": (lambda door: (door.permit(target="other"), Receipt(1, b"seal-1"), BODY), "another target"),
    "another origin": (lambda door: (door.permit(origin="http://x:1"), Receipt(1, b"seal-1"), BODY), "another target"),
    "other bytes": (lambda door: (door.permit(), Receipt(1, b"seal-1"), BODY + b" "), "other bytes"),
    "another way": (lambda door: (door.permit(transform="pseudonymise:0"), Receipt(1, b"seal-1"), BODY), "other bytes"),
    "another receipt": (lambda door: (door.permit(), Receipt(1, b"seal-2"), BODY), "another permit"),
    "a forged permit": (lambda door: (door.permit(seal=b"fake"), Receipt(1, b"fake"), BODY), "not minted"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_is_refused_and_no_connection_made(play, case):
    async def scene(stage):
        server = await stage.serve(answers)
        door = Door(stage, server)
        make, words = WRONG[case]
        permit, receipt, body = make(door)
        exchange, sink = door.start(permit, receipt, body)
        assert not sink.over.done(), "never before the caller has its stream"
        await sink.over
        assert sink.code == "egress_refused"
        assert words in sink.error.message
        exchange.abort()
        assert server.connections == 0
        good = door.permit()
        assert (await door.send(good, Receipt(1, good.seal))).is_ended, "a refusal uses nothing up"
        door.door.close()

    play(scene)


def test_a_refusal_can_be_aborted(play):
    async def scene(stage):
        door = Door(stage, await stage.serve(answers))
        exchange, sink = door.start(None, None)
        exchange.abort()
        await stage.until(lambda: door.over == 1)
        assert not sink.over.done()
        door.door.close()
        permit = door.permit()
        late = await door.send(permit, Receipt(1, permit.seal))
        assert late.code == "busy"

    play(scene)


def test_a_probe_needs_a_permit_for_no_bytes(play):
    async def scene(stage):
        async def script(peer):
            assert (await peer.request()).line == "GET /v1/models HTTP/1.1"
            peer.answer()

        server = await stage.serve(script)
        door = Door(stage, server)
        spec = TargetSpec(name="big", at=Place.CLOUD, model="large-1")
        target = UrlTarget(spec, f"{door.upstream.origin}/v1", door.door)
        empty = binding("none", b"")
        for permit, code in (
            (None, "egress_refused"),
            (door.permit(), "egress_refused"),
            (door.permit(digest=empty), ""),
        ):
            sink = stage.recorder()
            target.probe(sink, permit, Receipt(1, b"seal-1"))
            await sink.over
            assert sink.code == code
        assert server.requests == 1
        door.door.close()

    play(scene)


def test_used_receipts_are_remembered_exactly_in_bounded_memory():
    used = Used(100)
    for seq in range(1000):
        assert used.take(Receipt(seq, b"%d" % seq))
        for old in range(0, seq + 1, 37):
            assert not used.take(Receipt(old, b"%d" % old))
    assert len(used._used) == 100
    assert not used.take(Receipt(5, b"never seen")), "too old to tell: refused"
    assert used.take(Receipt(2000, b"a"))
    assert used.take(Receipt(1500, b"b")), "out of order, within what is remembered"


ADDRESSES = {
    "127.0.0.1": True, "127.8.8.8": True, "::1": True, "10.1.2.3": True, "172.16.0.1": True, "172.31.255.255": True,
    "192.168.1.1": True, "169.254.1.1": True, "100.64.0.1": True, "100.127.255.255": True, "fd00::1": True,
    "fc00::1": True, "fe80::1": True, "fe80::1%eth0": True, "::ffff:10.0.0.1": True,
    "8.8.8.8": False, "172.32.0.1": False, "192.169.0.1": False, "100.128.0.1": False, "11.0.0.1": False,
    "2001:db8::1": False, "::ffff:8.8.8.8": False, "2002:0a00:0001::1": False, "64:ff9b::10.0.0.1": False,
    "0.0.0.0": False, "::": False, "224.0.0.1": False, "255.255.255.255": False, "localhost": False, "": False,
}  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_on_the_premises(address):
    assert is_on_premises(address) is ADDRESSES[address]


def test_a_public_address_at_the_edge_is_refused_before_any_connection(play):
    async def scene(stage):
        server = await stage.serve(answers)
        found = []

        def lookup(name, port):
            return [(socket.AF_INET, (address, server.port)) for address in found]

        async def send(**options):
            door = PremisesDoor(Resolver(lookup, kept_s=0))
            upstream = Upstream(scheme="http", host="ward.test", port=server.port, connect_timeout_s=0.3, **options)
            sink = stage.recorder()
            door.send(Call("ward", upstream, Head("POST", upstream, "/x", {}), BODY, None, lambda: None), sink)
            await sink.over
            door.close()
            return sink

        found[:] = ["203.0.113.7"]
        sink = await send()
        assert sink.code == "egress_refused"
        assert "at: cloud" in sink.error.message
        assert "public_address_is_ours" in sink.error.message
        assert (await send(public_address_is_ours=True)).code in ("refused", "connect_timeout")
        found[:] = ["203.0.113.7", "127.0.0.1"]
        assert (await send()).is_ended, "only the private one of two is connected to"
        assert server.requests == 1

    play(scene)


def test_places():
    assert EgressDoor.place is Place.CLOUD
    assert PremisesDoor.place is Place.EDGE
