"""Publishing over the wire, on both databases and stores: uploads that are cut, hostile files, and who signs what."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tests.hub.press import Press, pieces, text
from tests.hub.rollout import OWNER, now
from tuf.api.metadata import Metadata, Targets

from ecotone.access import Grant
from ecotone.delivery import hub_keys
from ecotone.delivery.objects import Folder, Objects
from ecotone.delivery.packs import Packed
from ecotone.hub.database import Database
from ecotone.hub.publications import About, Ask
from ecotone.hub.publishing_signing import compare, next_signed
from ecotone.hub.uploads import OPEN_MAX, Begin
from ecotone.transfer import decode
from ecotone.trust import terms, writing
from ecotone.values import ConfigError, EcotoneError, RefusalError, RequestError, TrustError

ONE, TWO = text(1), text(2)


@pytest.fixture
def press(database: Database, objects: Objects, tmp_path: Path) -> Press:
    return Press(database, objects, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Press]:
    database = Database.open(str(tmp_path / "hub.db"))
    yield Press(database, Folder(tmp_path / "objects"), tmp_path)
    database.close()


def refused(work: Callable[[], object]) -> EcotoneError:
    with pytest.raises(EcotoneError) as found:
        work()
    return found.value


def test_files_come_in_pieces_are_cut_signed_elsewhere_and_announced(press: Press) -> None:
    files = [("smol.txt", ONE), ("card.txt", b"a card\n")]
    done = press.publish("1", *files, residency=("eu",))
    assert (done.state, done.why) == ("announced", "")
    named = press.hub.find("smol", "1")
    assert (named.publisher, named.asset.sha256) == ("models", done.sha256)
    manifest = press.hub.manifest(named.asset)
    assert manifest.residency == ("eu",)
    for part, (_, content) in zip(manifest.parts, files, strict=True):
        assert Packed(press.objects, manifest, part).read(0, part.bytes) == content
    # What the catalogue announces names it: a site finds it by the snapshot.
    snapshot = press.hub.catalogue.snapshot()
    assert snapshot.meta["models.json"].version == press.hub.catalogue.version("models")
    assert press.names("uploads/") == set()
    assert not list((press.folder / "scratch").iterdir())
    assert press.written()[-3:] == ["publish.begin", "publish.sign", "publish.announce"]


def test_what_is_there_is_not_stored_again(press: Press) -> None:
    press.publish("1", ("smol.txt", ONE))
    before = press.names("packs/")
    press.publish("2", ("smol.txt", ONE + b"one line more\n"))
    fresh = press.names("packs/") - before
    assert sum(press.objects.size(name) or 0 for name in fresh) < len(ONE) / 2


def test_an_upload_goes_on_where_it_was_cut(press: Press) -> None:
    made = press.uploads.begin(OWNER, Begin(file="a.txt", bytes=3000, sha256="0" * 64))

    def cut() -> Iterator[bytes]:
        yield b"x" * 700
        raise RequestError("hub.cut", "the line was cut")

    assert refused(lambda: press.uploads.append(OWNER, made.id, 0, cut())).code == "hub.cut"
    assert press.uploads.at(OWNER, made.id).offset == 700
    wrong = refused(lambda: press.uploads.append(OWNER, made.id, 0, pieces(b"y" * 100)))
    assert (wrong.code, wrong.status) == ("hub.offset", 409)
    too_long = refused(lambda: press.uploads.append(OWNER, made.id, 700, pieces(b"y" * 2301)))
    assert (too_long.code, too_long.status) == ("hub.uploads", 413)
    assert press.uploads.append(OWNER, made.id, 700, pieces(b"y" * 2300)) == 3000
    assert press.uploads.append(OWNER, made.id, 3000, pieces(b"")) == 3000
    assert press.uploads.at(OWNER, made.id).is_whole


def test_two_who_send_the_same_piece_at_once_harm_nothing(press: Press) -> None:
    content = b"x" * 2000
    made = press.uploads.begin(OWNER, Begin(file="a.txt", bytes=2000, sha256="0" * 64))

    def overtaken() -> Iterator[bytes]:
        yield content[:1000]
        press.uploads.append(OWNER, made.id, 0, pieces(content))

    assert refused(lambda: press.uploads.append(OWNER, made.id, 0, overtaken())).code == "hub.offset"
    assert press.uploads.at(OWNER, made.id).offset == 2000
    assert len(press.names("uploads/")) == 1


def test_uploads_are_their_owners_alone_and_not_too_many(small: Press) -> None:
    bob = small.members.actor("bob", Grant(role="publisher"))
    eve = small.members.actor("eve", Grant(role="reader"))
    mine = small.uploads.begin(OWNER, Begin(file="a", bytes=1, sha256="0" * 64))
    for forbidden in (
        lambda: small.uploads.at(bob, mine.id),
        lambda: small.uploads.append(bob, mine.id, 0, pieces(b"x")),
        lambda: small.uploads.drop(bob, mine.id),
    ):
        assert refused(forbidden).code == "hub.unknown"
    assert refused(lambda: small.uploads.begin(eve, Begin(file="a", bytes=1, sha256="0" * 64))).code == "hub.may"
    for _ in range(OPEN_MAX):
        last = small.uploads.begin(bob, Begin(file="a", bytes=1, sha256="0" * 64))
    many = refused(lambda: small.uploads.begin(bob, Begin(file="a", bytes=1, sha256="0" * 64)))
    assert (many.code, many.status) == ("hub.uploads", 429)
    small.uploads.append(bob, last.id, 0, pieces(b"x"))
    small.uploads.drop(bob, last.id)
    assert small.names("uploads/") == set()
    small.uploads.begin(bob, Begin(file="a", bytes=1, sha256="0" * 64))


@pytest.mark.parametrize("name", ["../a", ".hidden", "a/b", "", "a" * 200, "a\n"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"file": name, "bytes": 1, "sha256": "0" * 64}, Begin)


def archive() -> bytes:
    with io.BytesIO() as out:
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr("data.pkl", pickle.dumps([1]))
        return out.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (pickle.dumps({"a": 1}), "delivery.unsafe"),
        (archive(), "delivery.unsafe"),
        (b"\x7fELF" + bytes(100), "delivery.unsafe"),
        (b"<!doctype html><script>alert(1)</script>", "delivery.unsafe"),
        (b"GGUF" + bytes(60), "delivery.malformed"),
    ],
    ids=["pickle", "archive", "program", "page", "broken"],
)
def test_unsafe_files_are_refused_with_the_same_errors_and_nothing_of_them_stays(
    small: Press, content: bytes, code: str
) -> None:
    made = small.work(small.ask("1", ("model.safetensors", content)))
    assert (made.state, made.why) == ("refused", code)
    assert made.message
    assert small.names("uploads/") == small.names("packs/") == set()
    assert "publish.refuse" in small.written()
    unknown = refused(lambda: small.publications.manifest(OWNER, made.id))
    assert unknown.code == "hub.unknown"


def test_a_file_that_came_otherwise_than_was_said_is_refused(small: Press) -> None:
    made = small.uploads.begin(OWNER, Begin(file="a.txt", bytes=5, sha256="0" * 64))
    small.uploads.append(OWNER, made.id, 0, pieces(b"hello"))
    about = About(name="smol", version="1", licence="MIT")
    asked = small.publications.begin(OWNER, Ask(about=about, publisher="models", uploads=(made.id,)))
    done = small.work(asked)
    assert (done.state, done.why) == ("refused", "hub.upload")


def test_what_is_asked_wrongly(small: Press) -> None:
    about = About(name="smol", version="1", licence="MIT")
    begin = small.publications.begin
    whole = small.upload("a.txt", b"hello")
    half = small.uploads.begin(OWNER, Begin(file="b.txt", bytes=5, sha256="0" * 64))
    twin = small.upload("a.txt", b"hullo")
    wrong = {
        "hub.unknown": Ask(about=about, publisher="nobody", uploads=(whole.id,)),
        "hub.offset": Ask(about=about, publisher="models", uploads=(half.id,)),
        "hub.asked": Ask(about=about, publisher="models", uploads=(whole.id, twin.id)),
    }
    for code, asked in wrong.items():
        assert refused(partial(begin, OWNER, asked)).code == code
    bob = small.members.actor("bob", Grant(role="publisher", assets=("adapters/*",)))
    with pytest.raises(RefusalError):
        begin(bob, Ask(about=about, publisher="models", uploads=(whole.id,)))
    assert small.publications.list(OWNER) == []


Change = Callable[[Press, Targets], None]
PATH, OLD = "models/smol@2", "models/smol@1"


def resigned(
    press: Press, raw: bytes, change: Callable[[Press, Targets], None], key: str = "publisher-models"
) -> bytes:
    """What a publisher would sign that does not do as it should."""
    targets: Targets = Metadata[Targets].from_bytes(raw).signed
    made = writing.signed(targets, [press.key(key)], press.clock(), terms.LIFETIME_S["publisher"])
    change(press, made.signed)
    made.sign(press.key(key))
    return made.to_bytes()


def more(press: Press, targets: Targets) -> None:
    targets.targets["models/evil@1"] = targets.targets[PATH]


def other(press: Press, targets: Targets) -> None:
    targets.targets[PATH].hashes = {"sha256": "0" * 64}


def none(press: Press, targets: Targets) -> None:
    del targets.targets[PATH]


def rewritten(press: Press, targets: Targets) -> None:
    targets.targets[OLD].hashes = {"sha256": "0" * 64}


def dropped(press: Press, targets: Targets) -> None:
    del targets.targets[OLD]


def future(press: Press, targets: Targets) -> None:
    targets.unrecognized_fields[terms.ISSUED_AT] = int(press.clock() + 86_400)


def short(press: Press, targets: Targets) -> None:
    targets.expires = targets.expires.fromtimestamp(press.clock() + 3600, targets.expires.tzinfo)


def delegating(press: Press, targets: Targets) -> None:
    writing.delegated(targets, "eve", press.key("other").public_key, ["model"])


def chatty(press: Press, targets: Targets) -> None:
    targets.targets[PATH].unrecognized_fields["custom"] = {"run": "me"}


def again(press: Press, targets: Targets) -> None:
    targets.version = press.hub.catalogue.version("models")


def same(press: Press, targets: Targets) -> None:
    pass


WRONG = ((other, none, future, short, delegating, chatty), (more, rewritten, dropped, again))


def test_only_what_was_prepared_is_taken_and_only_by_the_publishers_key(small: Press) -> None:
    small.publish("1", ("smol.txt", ONE))
    files = [("smol.txt", TWO)]
    made = small.work(small.ask("2", *files))
    good = small.signed(made, files)
    hub_keys.written(hub_keys.made(), small.keys / "other.key")
    foreign = [resigned(small, good, same, "other"), b"{}", b"x" * (terms.TARGETS_BYTES_MAX + 1)]
    foreign.append(small.hub.catalogue.content("root"))
    hostile = {
        "hub.signed": [
            *(resigned(small, good, one) for one in WRONG[0]),
            *foreign,
            small.hub.catalogue.content("root"),
        ],
        "hub.stale": [resigned(small, good, one) for one in WRONG[1]],
    }
    before = small.hub.catalogue.content("models")
    for code, raws in hostile.items():
        for raw in raws:
            assert refused(partial(small.publications.sign, OWNER, made.id, raw)).code == code
    assert small.hub.catalogue.content("models") == before
    assert small.publications.show(OWNER, made.id).state == "unsigned"
    small.publications.sign(OWNER, made.id, good)
    assert small.work(made).state == "announced"
    late = refused(partial(small.publications.sign, OWNER, made.id, good))
    assert late.code == "hub.stale"


def test_a_version_is_never_changed_whoever_publishes(small: Press) -> None:
    small.publish("1", ("smol.txt", ONE))
    made = small.work(small.ask("1", ("smol.txt", TWO)))
    raw = refused(lambda: small.publications.sign(OWNER, made.id, small.signed(made, [("smol.txt", TWO)])))
    assert raw.code == "hub.signed"
    assert "never changed" in raw.message
    # Another publisher's version of the same name and number is found when it is written.
    hub = small.hub
    roots = [small.key(f"root-{n}") for n in (1, 2)]
    hub_keys.written(hub_keys.made(), small.keys / "publisher-other.key")
    with hub.locked():
        hub.trust_publisher("other", roots, small.key("publisher-other"))
        hub.refresh([small.key("online")])
    whole = small.upload("smol.txt", TWO)
    about = About(name="smol", version="1", licence="MIT")
    asked = small.publications.begin(OWNER, Ask(about=about, publisher="other", uploads=(whole.id,)))
    small.work(asked)
    newest = small.publications.newest(OWNER, "other")
    manifest = small.publications.manifest(OWNER, asked.id)
    small.clock.now_s += 1
    signed = next_signed(newest, "other", manifest, small.key("publisher-other"), small.clock())
    small.publications.sign(OWNER, asked.id, signed)
    done = small.work(asked)
    assert (done.state, done.why) == ("unsigned", "hub.version")
    assert hub.find("smol", "1").publisher == "models"


def test_two_publications_of_one_publisher_do_not_undo_each_other(small: Press) -> None:
    first = small.work(small.ask("1", ("smol.txt", ONE)))
    second = small.work(small.ask("2", ("smol.txt", TWO)))
    small.clock.now_s += 1
    signed = [small.signed(first, [("smol.txt", ONE)]), small.signed(second, [("smol.txt", TWO)])]
    small.publications.sign(OWNER, first.id, signed[0])
    small.publications.sign(OWNER, second.id, signed[1])
    assert small.work(first).state == "announced"
    stale = small.work(second)
    assert (stale.state, stale.why) == ("unsigned", "hub.stale")
    small.clock.now_s += 1
    small.publications.sign(OWNER, second.id, small.signed(second, [("smol.txt", TWO)]))
    assert small.work(second).state == "announced"
    assert [one.asset.version for one in small.hub.assets()] == ["1", "2"]


def test_the_publisher_signs_nothing_but_its_own_files(small: Press) -> None:
    files = [("smol.txt", ONE)]
    made = small.work(small.ask("1", *files))
    manifest = decode(small.publications.manifest(OWNER, made.id))
    paths = [Path("smol.txt")]

    def reading(content: bytes) -> Callable[[Path], Callable[[int, int], bytes]]:
        return lambda path: lambda at, n: content[at : at + n]

    compare(manifest, {"name": "smol", "residency": ()}, paths, reading(ONE))
    for about, names, content in (
        ({"name": "smol", "licence": "GPL-2.0"}, paths, ONE),
        ({}, [Path("other.txt")], ONE),
        ({}, paths, ONE[:-1] + b"x"),
        ({}, paths, ONE + b"x"),
    ):
        wrong = refused(partial(compare, manifest, about, names, reading(content)))
        assert wrong.code == "hub.prepared"
    raw = small.publications.manifest(OWNER, made.id)
    newest = small.publications.newest(OWNER, "models")
    other = hub_keys.made()
    assert refused(lambda: next_signed(newest, "models", raw, other, small.clock())).code == "hub.signed"


def test_without_the_online_key_it_waits_for_who_has_it(small: Press) -> None:
    small.has_online = False
    done = small.publish("1", ("smol.txt", ONE))
    assert done.state == "written"
    announced = small.hub.catalogue.snapshot().meta["models.json"].version
    assert announced < small.hub.catalogue.version("models")
    small.has_online = True
    small.clock.now_s += 1
    assert small.resigning(now, "").in_s == terms.DAY_S
    assert small.publications.show(OWNER, done.id).state == "announced"
    assert small.hub.catalogue.snapshot().meta["models.json"].version == small.hub.catalogue.version("models")


def test_given_up(small: Press) -> None:
    made = small.ask("1", ("smol.txt", ONE))
    small.publications.drop(OWNER, made.id)
    small.publishing(now, made.id)
    assert small.names("uploads/") == set()
    assert small.publications.list(OWNER) == []
    assert small.publishing.cut(made.id) == "gone"
    done = small.publish("2", ("smol.txt", TWO))
    with pytest.raises(RequestError) as found:
        small.publications.drop(OWNER, done.id)
    assert (found.value.code, found.value.status) == ("hub.state", 409)
    with pytest.raises(ConfigError):
        small.publications.newest(OWNER, "nobody")
    with pytest.raises(TrustError):
        compare(decode(small.publications.manifest(OWNER, done.id)), {"name": "x"}, [], lambda path: lambda at, n: b"")
