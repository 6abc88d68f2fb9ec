"""A director with many sites: hash bins, and what a thief or a mirror may try with them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.trust.made_hub import DAY_S, NOW_S, Files, World, refused, resigned, walked

from ecotone.delivery import assigning, hub_keys
from ecotone.delivery.assigning import bits_for
from ecotone.trust import terms, writing
from ecotone.values import ConfigError

SITES = [f"site-{n:03}" for n in range(60)]


@pytest.fixture
def many(tmp_path: Path) -> World:
    """60 sites, in 16 bins."""
    made = World(tmp_path / "hub")
    made.publish("smol", "1")
    made.publish("smol", "2")
    assign(made, SITES, "1")
    return made


def assign(world: World, sites: list[str], version: str) -> None:
    asset = world.hub.find("smol", version).asset
    world.hub.assign_many({site: [asset] for site in sites}, world.key("director"))
    world.hub.refresh(world.online)


def newest(world: World, role: str) -> str:
    return f"director/metadata/{world.hub.director.version(role)}.{role}.json"


def bin_of(world: World, site: str) -> str:
    return world.hub.director_roles(site)[-1]


def fetched(world: World, site: str) -> int:
    """Bytes that a site reads of the director, which knows nothing of it."""
    director = world.hub.director
    stamp = director.timestamp()
    files = world.files()
    names = ["timestamp.json", f"{stamp.snapshot_meta.version}.snapshot.json"]
    names += [f"{director.version(role)}.{role}.json" for role in world.hub.director_roles(site)]
    return sum(len(files[f"director/metadata/{name}"]) for name in names)


def test_every_site_finds_its_own(many: World) -> None:
    assert writing.bits(many.hub.director.targets) == 4
    assert many.hub.director.targets.targets == {}
    files = many.files()
    for site in SITES[::7]:
        agreed, _ = walked(many.memory(site), files)
        assert (agreed.site, agreed.generation, agreed.assets[0].asset.version) == (site, 1, "1")
    assert many.hub.generations() == dict.fromkeys(SITES, 1)
    assert refused(many.memory("nowhere"), files)[0] == "trust.not_assigned"


def test_few_sites_are_one_list_and_a_site_follows_when_they_are_many(tmp_path: Path) -> None:
    world = World(tmp_path / "hub")
    world.publish("smol", "1")
    assign(world, SITES[:3], "1")
    assert world.hub.director_roles("site-001") == ["targets"]
    _, memory = walked(world.memory("site-001"), world.files())
    assign(world, SITES, "1")
    assert world.hub.director_roles("site-001")[0] == "targets"
    agreed, memory = walked(memory, world.files())
    assert agreed.generation == 2
    assert walked(memory, world.files())[0].generation == 2


def test_only_the_bins_of_changed_sites_are_signed_anew(many: World) -> None:
    before = many.hub.director.versions()
    assign(many, ["site-007"], "2")
    after = many.hub.director.versions()
    changed = {role for role in after if after[role] != before.get(role)}
    assert changed == {bin_of(many, "site-007"), "snapshot"}


def test_a_bin_by_another_key(many: World) -> None:
    """A mirror that has any other key of the hub, and a director that was tricked into announcing it."""
    role = bin_of(many, "site-007")
    repository = many.hub.director
    forged = resigned(repository.content(role), [many.key("online")], version=repository.version(role) + 1)
    assert refused(many.memory("site-007"), many.files() | {newest(many, role): forged})[0] == "trust.mixed"
    key = many.key("director")
    meta = dict(repository.snapshot().meta)
    snapshot = writing.snapshot(
        repository.version("snapshot") + 1, {role: forged}, {role: repository.version(role) + 1}, None
    )
    snapshot.meta = {**meta, **snapshot.meta}
    raw = writing.signed(snapshot, [key], NOW_S, DAY_S).to_bytes()
    stamp = writing.timestamp(repository.timestamp().version + 1, snapshot.version, raw, terms.ONLINE)
    files: Files = many.files() | {
        f"director/metadata/{repository.version(role) + 1}.{role}.json": forged,
        f"director/metadata/{snapshot.version}.snapshot.json": raw,
        "director/metadata/timestamp.json": writing.signed(stamp, [key], NOW_S, DAY_S).to_bytes(),
    }
    assert refused(many.memory("site-007"), files)[0] == "trust.signature"


def test_one_bin_in_the_place_of_another(many: World) -> None:
    role = bin_of(many, "site-007")
    other = next(bin_of(many, site) for site in SITES if bin_of(many, site) != role)
    files = many.files()
    assert (
        refused(many.memory("site-007"), files | {newest(many, role): files[newest(many, other)]})[0] == "trust.mixed"
    )


def test_a_bin_of_another_time(many: World) -> None:
    role = bin_of(many, "site-007")
    old = many.files()[newest(many, role)]
    assign(many, ["site-007"], "2")
    files = many.files()
    assert refused(many.memory("site-007"), files | {newest(many, role): old})[0] == "trust.mixed"
    assert (
        refused(many.memory("site-007"), {k: v for k, v in files.items() if k != newest(many, role)})[0]
        == "trust.missing"
    )


def test_an_older_bin_under_a_newer_snapshot_is_a_rollback(many: World) -> None:
    """Whoever has the director's key cannot make a site forget what it knows of its bin."""
    role = bin_of(many, "site-007")
    repository, key = many.hub.director, many.key("director")
    old = repository.content(role), repository.version(role)
    assign(many, ["site-007"], "2")
    _, memory = walked(many.memory("site-007"), many.files())
    meta = dict(repository.snapshot().meta)
    snapshot = writing.snapshot(repository.version("snapshot") + 1, {role: old[0]}, {role: old[1]}, None)
    snapshot.meta = {**meta, **snapshot.meta}
    raw = writing.signed(snapshot, [key], NOW_S, DAY_S).to_bytes()
    stamp = writing.timestamp(repository.timestamp().version + 1, snapshot.version, raw, terms.ONLINE)
    files: Files = many.files() | {
        f"director/metadata/{snapshot.version}.snapshot.json": raw,
        "director/metadata/timestamp.json": writing.signed(stamp, [key], NOW_S, DAY_S).to_bytes(),
    }
    assert refused(memory, files)[0] == "trust.rollback"


def test_a_site_in_a_bin_that_is_not_its_own_is_not_found(many: World) -> None:
    role = bin_of(many, "site-007")
    repository, key = many.hub.director, many.key("director")
    other = next(bin_of(many, site) for site in SITES if bin_of(many, site) != role)
    own, wrong = repository.publisher(role), repository.publisher(other)
    wrong.targets[terms.site_path("site-007")] = own.targets.pop(terms.site_path("site-007"))
    for name, content in ((role, own), (other, wrong)):
        content.version += 1
        repository.write(name, content, [key], NOW_S, repository.targets)
    many.hub.refresh(many.online)
    assert refused(many.memory("site-007"), many.files())[0] == "trust.not_assigned"


def test_a_generation_that_falls_is_refused_whoever_signed_it(many: World) -> None:
    """As after a hub was restored from an old copy, which signs at higher versions than before."""
    assign(many, ["site-007"], "2")
    _, memory = walked(many.memory("site-007"), many.files())
    assert memory.generation == 2
    role, repository = bin_of(many, "site-007"), many.hub.director
    content = repository.publisher(role)
    path = terms.site_path("site-007")
    state = msgspec.structs.replace(many.hub.state("site-007"), generation=1)
    content.targets[path] = repository.add_document(path, msgspec.json.encode(state), NOW_S, 1)
    content.version += 1
    repository.write(role, content, [many.key("director")], NOW_S, repository.targets)
    many.hub.refresh(many.online)
    code, after = refused(memory, many.files())
    assert code == "trust.rollback"
    assert after.generation == 2


def test_a_layout_that_was_cut_off_changes_nothing(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """New bins are written under names of their own, and count when the list that leads to them is there."""
    _, memory = walked(many.memory("site-007"), many.files())
    monkeypatch.setattr(assigning, "bits_for", lambda _longest, _bits: 5)
    write = assigning.Assigning._write
    left = [20]

    def cut(self: assigning.Assigning, *given: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(self, *given)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(assigning.Assigning, "_write", cut)
    with pytest.raises(KeyboardInterrupt):
        assign(many, ["site-007"], "2")
    assert not many.hub.has_unannounced()
    many.hub.refresh(many.online)
    assert walked(memory, many.files())[0].generation == 1
    monkeypatch.setattr(assigning.Assigning, "_write", write)
    assign(many, ["site-007"], "2")
    assert writing.bits(many.hub.director.targets) == 5
    assert walked(memory, many.files())[0].generation == 2
    assert walked(many.memory("site-008"), many.files())[0].generation == 1


def test_a_new_key_of_the_director_holds_for_all_bins(many: World) -> None:
    _, memory = walked(many.memory("site-007"), many.files())
    fresh = hub_keys.made()
    old = many.key("director")
    many.hub.rotate_online("director", many.roots, fresh)
    many.hub.refresh([many.key("online"), fresh])
    agreed, memory = walked(memory, many.files())
    assert agreed.generation == 1
    asset = many.hub.find("smol", "2").asset
    with pytest.raises(Exception, match=r"hub\.keys"):
        many.hub.assign("site-007", [asset], old)
    many.hub.assign("site-007", [asset], fresh)
    many.hub.refresh([fresh])
    assert walked(memory, many.files())[0].generation == 2


def test_what_ends_soon_is_signed_anew(many: World) -> None:
    assert many.hub.renew(many.key("director")) == []
    many.now_s += 300 * DAY_S
    done = many.hub.renew(many.key("director"))
    assert len(done) == 17
    many.hub.refresh(many.online)
    assert walked(many.memory("site-007"), many.files(), many.now_s)[0].generation == 1
    ends_s = many.hub.director.publisher(bin_of(many, "site-007")).expires.timestamp()
    assert ends_s >= many.now_s + terms.LIFETIME_S["publisher"] - 1
    assert many.hub.renew(many.key("director")) == []


def test_what_no_site_could_read_is_not_signed(many: World) -> None:
    asset = many.hub.find("smol", "2").asset
    before = many.files()
    for wanted in ([asset] * (terms.ASSETS_MAX + 1), [msgspec.structs.replace(asset, name="A B")]):
        with pytest.raises(ConfigError, match=r"hub\.assign"):
            many.hub.assign_many({"site-001": [asset], "site-002": wanted}, many.key("director"))
    assert many.files() == before


@given(st.integers(0, 200_000), st.sampled_from([0, 4, 5, 7, 10]))
def test_there_are_never_fewer_bins_and_they_are_never_long(longest: int, bits: int) -> None:
    fresh = bits_for(longest, bits)
    assert bits <= fresh <= max(bits, assigning.BITS_MAX)
    if fresh not in (0, assigning.BITS_MAX):
        assert longest >> (fresh - bits) <= (1 << fresh) * 4 // 3
    assert bits_for(longest >> (fresh - bits), fresh) == fresh


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=5))
def test_whatever_is_assigned_every_site_finds_its_newest(
    tmp_path_factory: pytest.TempPathFactory, acts: list[list[int]]
) -> None:
    world = World(tmp_path_factory.mktemp("bins") / "hub")
    world.publish("smol", "1")
    expected: dict[str, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assigning, "LIST_MAX", 4)
        patch.setattr(assigning, "BITS_MIN", 1)
        for act in acts:
            sites = sorted({f"site-{n}" for n in act})
            assign(world, sites, "1")
            expected.update({site: expected.get(site, 0) + 1 for site in sites})
    files = world.files()
    assert world.hub.generations() == expected
    for site, generation in expected.items():
        assert walked(world.memory(site), files)[0].generation == generation


def test_a_list_by_an_ecotone_that_knew_no_generations_in_it_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path / "hub")
    world.publish("smol", "1")
    assign(world, ["harbour", "inland"], "1")
    assign(world, ["harbour"], "1")
    director = world.hub.director
    old = director.targets
    for target in old.targets.values():
        target.unrecognized_fields["custom"].pop("generation")
    old.version += 1
    director.write("targets", old, [world.key("director")], NOW_S, director.root)
    world.hub.refresh(world.online)
    assert world.hub.generations() == {"harbour": 2, "inland": 1}
    assert walked(world.memory("harbour"), world.files())[0].generation == 2
    assign(world, ["harbour", *SITES], "1")
    assert world.hub.generations() == {"harbour": 3, "inland": 1, **dict.fromkeys(SITES, 1)}
    assert walked(world.memory("inland"), world.files())[0].generation == 1


def test_a_refresh_stays_short(tmp_path: Path) -> None:
    """Bytes of the director that a site reads: with 600 sites a fraction of one list of them."""
    world = World(tmp_path / "hub")
    world.publish("smol", "1")
    assign(world, [f"site-{n:05}" for n in range(600)], "1")
    assert fetched(world, "site-00007") < 12_000
    whole = sum(len(raw) for name, raw in world.files().items() if ".b" in name)
    assert whole > 90_000
