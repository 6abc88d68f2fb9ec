"""A site's reports on a stick: signed by its key, whole or refused, and kept at the site until the hub has them."""

from __future__ import annotations

import errno
import shutil
import struct
from pathlib import Path

import msgspec
import pytest

from ecotone.access import session_message
from ecotone.agent import joined_file
from ecotone.agent.identity import Enrolment, Identity
from ecotone.agent.joined_file import Joined
from ecotone.agent.outbox import Outbox
from ecotone.assets import StoreError
from ecotone.delivery import bundle_reports
from ecotone.delivery.bundle import BundleSource
from ecotone.delivery.bundle_file import Writing
from ecotone.delivery.bundle_reports import Brought, Carried, acknowledged, export
from ecotone.store import Ledger, Question, Trust, answered
from ecotone.values import ConfigError, EcotoneError, TrustError
from ecotone.values.fleet import Report

NOW_S = 1_800_000_000.0


class Site:
    """A site that has joined `hub-1`, with reports that wait."""

    def __init__(self, store: Path, name: str = "harbour") -> None:
        self.store, self.name = store, name
        self.identity = Enrolment.begun(store, "eco1.a.b").done()
        joined_file.write(store, Joined(url="https://hub", site=name, hub="hub-1"))
        self.outbox = Outbox(store / "hub" / "outbox.sqlite")
        self.outbox.began()

    def report(self, count: int = 1) -> None:
        for _ in range(count):
            self.outbox.put(self._made, "state", NOW_S)

    def _made(self, seq: int, dropped: int) -> bytes:
        return msgspec.json.encode(Report(site=self.name, seq=seq, made_s=NOW_S, dropped=dropped))

    def ledger(self) -> None:
        Ledger.open(self.store, self.name).close()

    def export(self, name: str = "out", *, has_ledger: bool = False) -> Carried:
        return export(self.store, self.store.parent / f"{name}.reports", has_ledger=has_ledger, now_s=lambda: NOW_S)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "store")
    made.report(3)
    return made


def entry(name: str, content: bytes) -> bytes:
    return struct.pack(">HQ", len(name), len(content)) + name.encode() + content


def test_all_that_waits_goes_and_stays_until_the_hub_has_it(site: Site) -> None:
    done = site.export()
    assert (done.site, done.hub, done.reports, done.first_seq, done.last_seq) == ("harbour", "hub-1", 3, 1, 3)
    assert Path(done.path).stat().st_size == done.bytes
    with Brought(Path(done.path)) as brought:
        brought.check("hub-1", [site.identity.public])
        assert [one.seq for one in brought.reports()] == [1, 2, 3]
        assert (brought.heading.made_s, brought.has_ledger) == (int(NOW_S), False)
    assert [one.seq for one in site.outbox.sent()] == [1, 2, 3]  # the site's owner sees what went
    assert site.export("again").reports == 3
    acknowledged(site.store, 2)
    assert site.export("later").first_seq == 3


def test_an_acknowledgement_is_bounded_and_needs_an_outbox(site: Site, tmp_path: Path) -> None:
    acknowledged(site.store, 1 << 53)  # nobody signed the number
    assert site.outbox.counts().last_seq == 3 + bundle_reports.SKIP_MAX
    site.report()
    assert site.export().first_seq == 4 + bundle_reports.SKIP_MAX
    acknowledged(tmp_path / "none", 5)
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_exported_is_said(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hub\.joined"):
        export(tmp_path / "fresh", tmp_path / "x")
    site.export()
    with pytest.raises(ConfigError, match=r"hub\.file"):
        site.export()
    acknowledged(site.store, 3)
    with pytest.raises(ConfigError, match=r"hub\.reports"):
        site.export("none")
    assert not list(tmp_path.glob("*none*"))


def test_the_ledger_goes_along_and_proves_there_what_it_proves_here(site: Site, tmp_path: Path) -> None:
    site.ledger()
    done = site.export(has_ledger=True)
    assert done.ledger_bytes > 0
    with Brought(Path(done.path)) as brought:
        brought.check("hub-1", [site.identity.public])
        copy = brought.unpack(tmp_path / "copy")
        with pytest.raises(ConfigError, match=r"hub\.file"):
            brought.unpack(tmp_path / "copy")
    trust = Trust(keys=((site.store / "site.pub").read_bytes(),))
    here, there = answered(site.store / "ledger", Question(), trust), answered(copy, Question(), trust)
    assert there.is_complete
    assert there.is_signed
    assert there.report == here.report
    assert (copy / "site.pub").read_bytes() == (site.store / "site.pub").read_bytes()


def test_a_stick_that_is_pulled_out_meanwhile_leaves_nothing_half(site: Site, tmp_path: Path) -> None:
    site.ledger()
    path = Path(site.export(has_ledger=True).path)
    with Brought(path) as brought:
        brought.check("hub-1", [site.identity.public])
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
        with pytest.raises(TrustError, match=r"bundle\.truncated"):
            brought.unpack(tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_a_full_disk_leaves_nothing_half_and_the_reports_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writing, "end", full)
    with pytest.raises(StoreError, match=r"asset\.disk_full"):
        site.export()
    assert [path.name for path in site.store.parent.iterdir()] == ["store"]
    assert site.outbox.sent() == []  # nothing is told to have gone that has not
    monkeypatch.undo()
    assert site.export().reports == 3


def test_a_line_that_is_being_written_is_left_out(site: Site, tmp_path: Path) -> None:
    site.ledger()
    segment, signed = next((site.store / "ledger").glob("*.jsonl")), site.store / "ledger" / "checkpoints"
    whole, notes = segment.read_bytes(), signed.read_bytes()
    segment.write_bytes(whole + b'{"v":1,"half')
    signed.write_bytes(notes + notes[: len(notes) // 2])
    with Brought(Path(site.export(has_ledger=True).path)) as brought:
        copy = brought.unpack(tmp_path / "copy")
    assert (copy / segment.name).read_bytes() == whole
    assert (copy / "checkpoints").read_bytes() == notes
    segment.write_bytes(b"x" * ((1 << 20) + 5))  # no line ends in it
    with Brought(Path(site.export("none", has_ledger=True).path)) as brought:
        assert (brought.unpack(tmp_path / "other") / segment.name).read_bytes() == b""


def test_a_ledger_that_shrinks_meanwhile_is_no_evidence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ledger()
    monkeypatch.setattr(bundle_reports, "_whole_lines", lambda path: path.stat().st_size + 1)
    with pytest.raises(EcotoneError, match=r"hub\.ledger"):
        site.export(has_ledger=True)
    assert not list(site.store.parent.glob("*out*"))


def test_another_sites_key_an_old_one_and_none_are_refused(site: Site, tmp_path: Path) -> None:
    path = Path(site.export().path)
    other = Site(tmp_path / "other", "inland")
    for keys in ([], [other.identity.public], [b"short"]):
        with Brought(path) as brought, pytest.raises(TrustError, match=r"bundle\.signature"):
            brought.check("hub-1", keys)
    with Brought(path) as brought:
        brought.check("hub-1", [other.identity.public, site.identity.public])  # one of two, while it changes its key
        with pytest.raises(TrustError, match=r"bundle\.other_hub"):
            brought.check("hub-2", [site.identity.public])


def test_a_signature_of_a_session_is_none_of_a_file(site: Site, tmp_path: Path) -> None:
    raw = Path(site.export().path).read_bytes()
    signature = site.identity.sign(session_message("harbour", "challenge"))
    at = raw.index(b"reports.sig") + len(b"reports.sig")
    forged = tmp_path / "forged"
    forged.write_bytes(raw[:at] + signature + raw[at + 64 :])
    with Brought(forged) as brought, pytest.raises(TrustError, match=r"bundle\.signature"):
        brought.check("hub-1", [site.identity.public])


def test_every_byte_of_it_may_be_wrong(site: Site, tmp_path: Path) -> None:
    """Whatever is changed: it is refused, or it is as it was signed."""
    site.ledger()
    raw = Path(site.export(has_ledger=True).path).read_bytes()
    path, seen = tmp_path / "bent", set[str]()
    with Brought(Path(site.export("same", has_ledger=True).path)) as brought:
        brought.check("hub-1", [site.identity.public])
    for at in [*range(0, len(raw), max(1, len(raw) // 300)), *range(600)]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x11]) + raw[at + 1 :])
        try:
            with Brought(path) as brought:
                brought.check("hub-1", [site.identity.public])
        except TrustError as error:
            seen.add(error.code)
        else:
            raise AssertionError(f"byte {at} was changed, and the file was taken")
    assert seen >= {"bundle.malformed", "bundle.signature", "bundle.digest", "bundle.truncated"}, seen


@pytest.mark.parametrize("cut", [0, 5, 17, 100, -1])
def test_a_file_that_was_not_copied_to_its_end_is_refused(site: Site, tmp_path: Path, cut: int) -> None:
    raw = Path(site.export().path).read_bytes()
    (tmp_path / "cut").write_bytes(raw[:cut])
    with pytest.raises(TrustError, match=r"bundle\.(truncated|malformed)"):
        Brought(tmp_path / "cut")


def test_what_was_signed_must_all_be_there_and_nothing_else(site: Site, tmp_path: Path) -> None:
    raw = Path(site.export().path).read_bytes()
    end = struct.pack(">HQ", 0, 3)
    assert raw.endswith(end)
    more = raw[: -len(end)] + entry("ledger/checkpoints", b"x") + struct.pack(">HQ", 0, 4)
    less = raw[: raw.rindex(b"reports.jsonl") - 10] + struct.pack(">HQ", 0, 2)
    for name, bent in (("more", more), ("less", less)):
        (tmp_path / name).write_bytes(bent)
        with Brought(tmp_path / name) as brought, pytest.raises(TrustError, match=r"bundle\.digest"):
            brought.check("hub-1", [site.identity.public])


def test_a_hubs_bundle_is_no_sites_and_the_reverse(site: Site, tmp_path: Path) -> None:
    with pytest.raises(TrustError, match=r"bundle\.malformed"):
        BundleSource(Path(site.export().path))
    path = tmp_path / "hubs"
    path.write_bytes(b"ECOTONE-BUNDLE/1\n" + struct.pack(">HQ", 0, 0))
    with pytest.raises(TrustError, match="not a site's reports"):
        Brought(path)
    with pytest.raises(ConfigError, match=r"hub\.file"):
        Brought(tmp_path / "nothing")


def test_a_store_without_a_key_signs_nothing(site: Site) -> None:
    shutil.rmtree(site.store / "hub")
    joined_file.write(site.store, Joined(url="https://hub", site="harbour", hub="hub-1"))
    with pytest.raises(ConfigError, match=r"hub\.identity"):
        site.export()
    assert isinstance(site.identity, Identity)
