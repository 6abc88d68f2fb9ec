"""A site takes what both repositories name, and refuses every attack with a code of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.unit.trust.made_hub import DAY_S, NOW_S, Files, World, manifest, refused, resigned, walked
from tuf.api.metadata import Targets

from ecotone.delivery import hub_keys
from ecotone.transfer import encode
from ecotone.trust import Memory, terms, writing
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError, TrustError


def stamped(files: Files, repository: str, name: str = "timestamp") -> str:
    """Path of a file of metadata."""
    return f"{repository}/metadata/{name}.json"


def test_a_site_gets_what_both_repositories_name(world: World) -> None:
    agreed, memory = walked(world.memory(), world.files())
    (assigned,) = agreed.assets
    assert (agreed.site, agreed.generation, assigned.asset.name, assigned.asset.version) == ("harbour", 1, "smol", "2")
    assert assigned.manifest == encode(manifest("smol", "2"))
    assert (memory.generation, memory.issued_s, memory.expires_s) == (1, NOW_S, NOW_S + 7 * DAY_S)
    assert memory.floor_s == NOW_S
    again, same = walked(memory, world.files())
    assert (again, same) == (agreed, memory)


def test_a_site_that_was_away_follows_every_rotation(world: World) -> None:
    _, memory = walked(world.memory(), world.files())
    hub, fresh = world.hub, [hub_keys.made() for _ in range(3)]
    hub.rotate_root(world.roots, fresh)
    director, online, publisher = hub_keys.made(), hub_keys.made(), hub_keys.made()
    hub.rotate_online("director", fresh[:2], director)
    hub.rotate_online("online", fresh[1:], online)
    hub.trust_publisher("models", fresh[:2], publisher)
    hub.refresh([online, director])
    agreed, memory = walked(memory, world.files())
    assert agreed.assets[0].asset.version == "2"
    assert b'"version":3' in memory.director.root.replace(b" ", b"")


def test_each_publisher_is_asked_in_turn(world: World) -> None:
    world.hub.publish(manifest("rules", "1", "policy"), world.key("publisher-policies"))
    world.hub.refresh(world.online)
    world.assign("harbour", "rules", "smol@1")
    agreed, _ = walked(world.memory(), world.files())
    assert [one.asset.name for one in agreed.assets] == ["rules", "smol"]


# Rollback, freeze, mix-and-match.


def test_an_older_copy_is_a_rollback(world: World) -> None:
    old = world.files()
    world.assign("harbour", "smol@1")
    _, memory = walked(world.memory(), world.files())
    code, kept = refused(memory, old)
    assert code == "trust.rollback"
    assert kept == memory


def test_a_hub_restored_from_an_old_backup_turns_no_site_back(world: World, tmp_path: Path) -> None:
    backup = world.copied(tmp_path / "backup")
    for _ in range(2):
        world.hub.refresh(world.online)
    _, memory = walked(world.memory(), world.files())
    assert refused(memory, backup.files())[0] == "trust.rollback"
    for _ in range(2):
        backup.hub.refresh(backup.online)
    backup.assign("harbour", "smol@1")
    assert walked(memory, backup.files())[0].assets[0].asset.version == "1"


def test_a_frozen_copy_is_refused_when_its_time_is_over(world: World) -> None:
    _, memory = walked(world.memory(), world.files())
    code, kept = refused(memory, world.files(), NOW_S + 7.1 * DAY_S)
    assert (code, kept.generation) == ("trust.expired", 1)


def test_an_old_snapshot_under_a_new_name_is_mixed(world: World) -> None:
    files = world.files()
    number = world.hub.catalogue.version("snapshot")
    files[stamped(files, "catalogue", f"{number}.snapshot")] = files[
        stamped(files, "catalogue", f"{number - 1}.snapshot")
    ]
    assert refused(world.memory(), files)[0] == "trust.mixed"


def test_targets_of_another_time_are_mixed(world: World) -> None:
    files = world.files()
    newest = world.hub.catalogue.version("models")
    files[stamped(files, "catalogue", f"{newest}.models")] = files[stamped(files, "catalogue", f"{newest - 1}.models")]
    assert refused(world.memory(), files)[0] == "trust.mixed"


def test_a_snapshot_that_names_less_is_a_rollback(world: World) -> None:
    """The online key alone cannot make a site forget a publisher's newest version."""
    _, memory = walked(world.memory(), world.files())
    repository = world.hub.catalogue
    number = repository.version("snapshot") + 1
    old = msgspec.json.decode(repository.content("snapshot"))["signed"]["meta"]
    meta = {**old, "models.json": {**old["models.json"], "version": 1}}
    key = [world.key("online")]
    snapshot = resigned(repository.content("snapshot"), key, version=number, meta=meta)
    stamp = writing.timestamp(repository.timestamp().version + 1, number, snapshot, terms.ONLINE)
    files = world.files()
    files[stamped(files, "catalogue", f"{number}.snapshot")] = snapshot
    signed = writing.signed(stamp, key, NOW_S, terms.LIFETIME_S[terms.ONLINE])
    files[stamped(files, "catalogue")] = signed.to_bytes()
    assert refused(memory, files)[0] == "trust.rollback"


def test_one_version_of_a_timestamp_announces_one_snapshot(world: World) -> None:
    _, memory = walked(world.memory(), world.files())
    repository = world.hub.director
    stamp = writing.timestamp(repository.timestamp().version, 77, b"{}", terms.ONLINE)
    signed = writing.signed(stamp, [world.key("director")], NOW_S, terms.LIFETIME_S[terms.ONLINE])
    files = world.files() | {"director/metadata/timestamp.json": signed.to_bytes()}
    assert refused(memory, files)[0] == "trust.rollback"


# Keys: too few, rotated, revoked, stolen.


def test_one_key_of_the_root_is_not_enough(world: World) -> None:
    files = world.files()
    root = world.hub.catalogue.content("root")
    files[stamped(files, "catalogue", "2.root")] = resigned(root, world.roots[:1], version=2)
    assert refused(world.memory(), files)[0] == "trust.signature"


def test_two_signatures_of_one_key_are_not_two(world: World) -> None:
    files = world.files()
    root = world.hub.catalogue.content("root")
    tree = msgspec.json.decode(resigned(root, world.roots[:1], version=2))
    tree["signatures"] *= 2
    files[stamped(files, "catalogue", "2.root")] = msgspec.json.encode(tree)
    assert refused(world.memory(), files)[0] == "trust.malformed"


def test_a_root_that_skips_a_version_is_refused(world: World) -> None:
    files = world.files()
    root = world.hub.catalogue.content("root")
    files[stamped(files, "catalogue", "2.root")] = resigned(root, world.roots, version=3)
    assert refused(world.memory(), files)[0] == "trust.rollback"


def test_a_rotated_key_counts_for_nothing(world: World, tmp_path: Path) -> None:
    _, memory = walked(world.memory(), world.files())
    thief = world.copied(tmp_path / "thief")
    fresh = hub_keys.made()
    world.hub.rotate_online("director", world.roots, fresh)
    world.hub.refresh([world.key("online"), fresh])
    _, memory = walked(memory, world.files())
    thief.assign("harbour", "smol@1")
    files = world.files()
    files |= {path: raw for path, raw in thief.files().items() if path.startswith("director/") and ".root." not in path}
    assert refused(memory, files)[0] == "trust.signature"


def test_versions_that_a_thief_has_run_up_end_with_the_key(world: World, tmp_path: Path) -> None:
    """Fast forward: with a stolen key the numbers are driven to where no honest one follows."""
    thief = world.copied(tmp_path / "thief")
    repository = thief.hub.director
    key = [thief.key("director")]
    number = 900_000_000
    snapshot = resigned(repository.content("snapshot"), key, version=number)
    stamp = writing.timestamp(number, number, snapshot, terms.ONLINE)
    files = thief.files()
    files[stamped(files, "director", f"{number}.snapshot")] = snapshot
    files[stamped(files, "director")] = writing.signed(stamp, key, NOW_S, 7 * DAY_S).to_bytes()
    _, memory = walked(world.memory(), files)
    world.hub.refresh(world.online)
    assert refused(memory, world.files())[0] == "trust.rollback"
    fresh = hub_keys.made()
    world.hub.rotate_online("director", world.roots, fresh)
    world.hub.refresh([world.key("online"), fresh])
    assert walked(memory, world.files())[0].generation == 1


def test_what_a_revoked_publisher_signed_is_in_the_catalogue_no_more(world: World) -> None:
    world.hub.revoke_publisher("models", world.roots)
    world.hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


def test_a_version_that_was_withdrawn_is_not_installed(world: World) -> None:
    world.hub.withdraw("smol", "2", world.key("publisher-models"))
    world.hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


def test_a_stolen_key_of_the_director_brings_no_unknown_weights(world: World) -> None:
    raw = encode(manifest("smol", "2-evil"))
    asset = Asset("smol", "2-evil", "model", "ab" * 32, len(raw))
    world.hub.assign("harbour", [asset], world.key("director"))
    world.hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


def test_nor_known_names_with_other_weights(world: World) -> None:
    asset = world.hub.find("smol", "2").asset
    for wrong in (
        msgspec.structs.replace(asset, sha256="ab" * 32),
        msgspec.structs.replace(asset, bytes=asset.bytes + 1),
    ):
        world.hub.assign("harbour", [wrong], world.key("director"))
        world.hub.refresh(world.online)
        assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


def test_a_stolen_key_of_a_publisher_sends_nothing_to_a_site(world: World) -> None:
    world.publish("smol", "3")
    agreed, _ = walked(world.memory(), world.files())
    assert agreed.assets[0].asset.version == "2"
    # And it signs nothing in the director's name.
    repository = world.hub.director
    top = resigned(repository.content("targets"), [world.key("publisher-models")], version=9)
    files = world.files() | {f"director/metadata/{repository.version('targets')}.targets.json": top}
    assert refused(world.memory(), files)[0] == "trust.mixed"
    with pytest.raises(ConfigError, match=r"hub\.keys"):
        world.hub.assign("harbour", [], world.key("publisher-models"))


def test_a_publisher_speaks_of_what_it_is_trusted_with(world: World) -> None:
    """One for policies names a model: the catalogue does not know it."""
    hub = world.hub
    top = hub.catalogue.targets
    writing.delegated(top, "policies", world.key("publisher-policies").public_key, ["policy"])
    writing.undelegated(top, "models")
    top.version += 1
    hub.catalogue.write("targets", top, world.roots, NOW_S, hub.catalogue.root)
    targets = Targets(version=2)
    path = terms.asset_path("model", "smol", "2")
    targets.targets[path] = hub.catalogue.add_document(path, encode(manifest("smol", "2")), NOW_S)
    hub.catalogue.write("policies", targets, [world.key("publisher-policies")], NOW_S, top)
    hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


@pytest.mark.parametrize(
    ("name", "code"),
    [("root", "trust.malformed"), ("../../etc", "trust.malformed"), ("A", "trust.malformed"), ("ghost", "trust.mixed")],
)
def test_a_publisher_that_cannot_be_is_not_followed(world: World, name: str, code: str) -> None:
    hub = world.hub
    top = hub.catalogue.targets
    writing.undelegated(top, "models")
    writing.undelegated(top, "policies")
    writing.delegated(top, name, world.key("publisher-models").public_key, terms.FOLDERS)
    top.version += 1
    hub.catalogue.write("targets", top, world.roots, NOW_S, hub.catalogue.root)
    repository = hub.catalogue
    number = repository.version("snapshot") + 1
    snapshot = writing.snapshot(number, {"targets": repository.content("targets")}, {"targets": top.version}, None)
    raw = writing.signed(snapshot, [world.key("online")], NOW_S, DAY_S).to_bytes()
    stamp = writing.timestamp(repository.timestamp().version + 1, number, raw, terms.ONLINE)
    repository.put(f"{number}.snapshot.json", raw)
    repository.put("timestamp.json", writing.signed(stamp, [world.key("online")], NOW_S, DAY_S).to_bytes())
    assert refused(world.memory(), world.files())[0] == code


def test_top_level_targets_and_final_delegations_are_followed(world: World) -> None:
    hub = world.hub
    top = hub.catalogue.targets
    path = terms.asset_path("model", "smol", "2")
    top.targets[path] = hub.catalogue.add_document(path, encode(manifest("smol", "2")), NOW_S)
    top.delegations = None
    top.version += 1
    hub.catalogue.write("targets", top, world.roots, NOW_S, hub.catalogue.root)
    hub.refresh(world.online)
    assert walked(world.memory(), world.files())[0].assets
    # The director names sites by itself; it has no publishers to ask.
    assert refused(world.memory("inland"), world.files())[0] == "trust.not_assigned"
    asset = world.hub.state("harbour").assets[0]
    world.hub.assign("harbour", [msgspec.structs.replace(asset, version="1")], world.key("director"))
    world.hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


def test_a_final_delegation_ends_the_search(world: World) -> None:
    hub = world.hub
    top = hub.catalogue.targets
    assert top.delegations is not None
    assert top.delegations.roles is not None
    top.delegations.roles["policies"].terminating = True
    roles = top.delegations.roles
    top.delegations.roles = {"policies": roles["policies"], "models": roles["models"]}
    top.version += 1
    hub.catalogue.write("targets", top, world.roots, NOW_S, hub.catalogue.root)
    hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.not_in_both"


# Time.


@pytest.mark.parametrize("clock_s", [0.0, NOW_S - DAY_S])
def test_a_clock_that_is_behind_takes_what_is_new_and_not_what_is_old(world: World, clock_s: float) -> None:
    old = world.files()
    _, memory = walked(world.memory(), old, clock_s)
    assert memory.floor_s == NOW_S
    world.now_s += 30 * DAY_S
    world.hub.refresh(world.online)
    _, memory = walked(memory, world.files(), clock_s)
    world_later = memory.floor_s
    assert world_later == (NOW_S + 30 * DAY_S if clock_s == 0.0 else clock_s + terms.CLOCK_SLACK_S)
    code, kept = refused(memory, old, clock_s)
    assert (code, kept.floor_s) == ("trust.rollback" if clock_s else "trust.expired", world_later)


def test_a_clock_at_1970_does_not_thaw_a_frozen_copy(world: World) -> None:
    """The director alone is held back: its signatures are older than what the catalogue's say of the time."""
    _, memory = walked(world.memory(), world.files(), 0.0)
    frozen = world.files()
    world.now_s += 30 * DAY_S
    world.hub.refresh([world.key("online")])
    files = world.files() | {path: raw for path, raw in frozen.items() if path.startswith("director/")}
    _, memory = refused(memory, files, NOW_S + 30 * DAY_S)
    assert refused(memory, files, 0.0)[0] == "trust.expired"


def test_a_clock_a_year_ahead_takes_nothing_and_learns_nothing(world: World) -> None:
    _, memory = walked(world.memory(), world.files())
    code, kept = refused(memory, world.files(), NOW_S + 365 * DAY_S)
    assert (code, kept.floor_s) == ("trust.expired", NOW_S)
    assert walked(kept, world.files())[0].generation == 1


def test_everything_has_expired(world: World) -> None:
    for is_import in (False, True):
        assert refused(world.memory(), world.files(), NOW_S + 900 * DAY_S, is_import=is_import)[0] == "trust.expired"


def test_a_wrong_instant_that_was_signed_does_not_become_the_floor(world: World) -> None:
    world.now_s += 3000 * DAY_S
    world.hub.refresh(world.online)
    _, memory = walked(world.memory(), world.files())
    assert memory.floor_s == NOW_S + terms.CLOCK_SLACK_S


# Grades.


def test_a_bundle_holds_for_half_a_year(world: World) -> None:
    later_s = NOW_S + 179 * DAY_S
    agreed, memory = walked(world.memory(), world.files(), later_s, is_import=True)
    assert agreed.generation == 1
    assert refused(world.memory(), world.files(), NOW_S + 181 * DAY_S, is_import=True)[0] == "trust.expired"
    # The link is up again, and says nothing newer than it did.
    assert refused(memory, world.files(), later_s)[0] == "trust.expired"
    world.now_s = later_s
    world.hub.refresh(world.online)
    assert walked(memory, world.files(), later_s)[0].generation == 1


def test_after_a_link_a_bundle_of_the_same_moment_will_do(world: World) -> None:
    _, memory = walked(world.memory(), world.files())
    assert walked(memory, world.files(), NOW_S + 100 * DAY_S, is_import=True)[0].generation == 1


def test_what_is_meant_for_a_stick_is_not_taken_from_a_link(world: World) -> None:
    files = world.files()
    for repository in ("catalogue", "director"):
        files[stamped(files, repository)] = files[stamped(files, repository, "bundle")]
    assert refused(world.memory(), files)[0] == "trust.grade"


@pytest.mark.parametrize("lifetime_s", [9 * DAY_S, -1.0])
def test_a_timestamp_for_longer_than_its_grade_allows_is_refused(world: World, lifetime_s: float) -> None:
    repository = world.hub.director
    stamp = writing.timestamp(99, repository.version("snapshot"), repository.content("snapshot"), terms.ONLINE)
    if lifetime_s < 0:
        stamp.unrecognized_fields[terms.GRADE] = "for ever"
    signed = writing.signed(stamp, [world.key("director")], NOW_S, abs(lifetime_s))
    files = world.files() | {"director/metadata/timestamp.json": signed.to_bytes()}
    assert refused(world.memory(), files, NOW_S - DAY_S)[0] == "trust.grade"


# Damage, and what never ends.


def test_endless_documents_are_cut(world: World) -> None:
    files = world.files()
    files[stamped(files, "catalogue")] += b" " * terms.TIMESTAMP_BYTES_MAX
    assert refused(world.memory(), files)[0] == "trust.too_large"


def test_endless_roots_are_cut(world: World) -> None:
    files = world.files()
    root = world.hub.catalogue.content("root")
    for version in range(2, terms.ROOTS_MAX + 2):
        files[stamped(files, "catalogue", f"{version}.root")] = resigned(root, world.roots, version=version)
    assert refused(world.memory(), files)[0] == "trust.too_large"


def test_a_changed_manifest_is_refused(world: World) -> None:
    files = world.files()
    path = next(path for path in files if path.endswith(".smol@2"))
    files[path] = files[path].replace(b"MIT", b"BSD")
    assert refused(world.memory(), files)[0] == "trust.digest"


@pytest.mark.parametrize("part", ["timestamp", "1.targets", "smol@2"])
def test_a_copy_with_a_hole_says_so(world: World, part: str) -> None:
    files = {path: raw for path, raw in world.files().items() if part not in path}
    assert refused(world.memory(), files)[0] == "trust.missing"


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"signed": {"_type": "timestamp"}, "signatures": []}', b"[]"])
def test_what_is_no_metadata_is_refused(world: World, raw: bytes) -> None:
    files = world.files() | {"director/metadata/timestamp.json": raw}
    assert refused(world.memory(), files)[0] == "trust.malformed"


def test_a_manifest_is_never_longer_than_a_manifest(world: World) -> None:
    hub = world.hub
    path = terms.site_path("harbour")
    targets = hub.director.targets
    targets.targets[path].length = terms.DOCUMENT_BYTES_MAX + 1
    targets.version += 1
    hub.director.write("targets", targets, [world.key("director")], NOW_S, hub.director.root)
    hub.refresh(world.online)
    assert refused(world.memory(), world.files())[0] == "trust.too_large"


# Another site, another hub.


def test_a_site_that_has_nothing_is_told_so(world: World) -> None:
    assert refused(world.memory("inland"), world.files())[0] == "trust.not_assigned"


def put_state(world: World, content: bytes) -> None:
    """The director signs this as what `inland` shall have."""
    hub, path = world.hub, terms.site_path("inland")
    targets = hub.director.targets
    targets.targets[path] = hub.director.add_document(path, content, NOW_S)
    targets.version += 1
    hub.director.write("targets", targets, [world.key("director")], NOW_S, hub.director.root)
    hub.refresh(world.online)


def test_what_is_signed_for_another_site_is_refused(world: World) -> None:
    put_state(world, msgspec.json.encode(world.hub.state("harbour")))
    assert refused(world.memory("inland"), world.files())[0] == "trust.other_site"


def test_a_state_that_cannot_be_read_is_refused(world: World) -> None:
    put_state(world, b'{"type": "ecotone-site", "format": 2}')
    assert refused(world.memory("inland"), world.files())[0] == "trust.malformed"


def test_another_hub_is_not_this_one(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.publish("smol", "2")
    other.assign("harbour", "smol")
    assert refused(world.memory(), other.files())[0] == "trust.signature"


def test_a_pinned_root_that_is_damaged_is_none(world: World) -> None:
    memory = world.memory()
    root = resigned(memory.catalogue.root, world.roots[:1])
    damaged = msgspec.structs.replace(memory, catalogue=msgspec.structs.replace(memory.catalogue, root=root))
    with pytest.raises(TrustError, match=r"trust\.signature"):
        walked(damaged, world.files())


def test_a_damaged_memory_is_no_memory() -> None:
    with pytest.raises(TrustError, match=r"trust\.memory"):
        Memory.decode(b'{"site": 1}')
