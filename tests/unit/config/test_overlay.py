"""The environment over the file, flags over the environment; the built-in tree; secrets; notes; the schema."""

from __future__ import annotations

import json

import msgspec
import pytest

from ecotone import config
from ecotone.config.check import problems
from ecotone.config.notes import CAPABILITIES, LABELS
from ecotone.config.overlay import FLAGS, OTHER_VARIABLES, variables
from ecotone.config.secrets import SECRET_BYTES_MAX
from ecotone.policy import DEFAULT_LABELS
from ecotone.values import ConfigError, Place


def _no_file(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", name)


def _message(error: pytest.ExceptionInfo[ConfigError]) -> str:
    return "\n".join(error.value.problems)


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    tree = config.parse("listen: {port: 1, address: '::1'}\nlog: {level: error}\n", "x")
    environ = {"ECOTONE_LISTEN_PORT": "2", "ECOTONE_LOG_LEVEL": "debug", "ECOTONE_STORE_PATH": ""}
    laid = config.overlay(tree, environ, {"port": 3, "store": None, "no_cloud": True})
    assert (laid.listen.port, laid.listen.address, laid.log.level) == (3, "::1", "debug")
    assert laid.store == tree.store


def test_nothing_laid_over_changes_nothing() -> None:
    tree = config.Config()
    assert config.overlay(tree, {}) is tree


def test_every_problem_of_the_environment_is_named_by_its_variable() -> None:
    environ = {"ECOTONE_LISTEN_PORT": "many", "ECOTONE_LOG_LEVEL": "inf", "ECOTONE_FAST_LANE": "no"}
    with pytest.raises(ConfigError) as caught:
        config.overlay(config.Config(), environ, {"address": "0.0.0.0"})
    assert sorted(caught.value.problems) == [
        "settings: ECOTONE_FAST_LANE (fast_lane): expected true or false, got 'no'; write false",
        "settings: ECOTONE_LISTEN_PORT (listen.port): expected a whole number, got 'many'",
        (
            "settings: ECOTONE_LOG_LEVEL (log.level): expected one of debug, error, info, warning; got 'inf' "
            "(did you mean 'info'?)"
        ),
    ]


def test_a_problem_of_the_file_keeps_its_path() -> None:
    tree = msgspec.structs.replace(config.Config(), breaker=config.Breaker(open_s=60.0))
    with pytest.raises(ConfigError) as caught:
        config.overlay(tree, {}, {"port": 1})
    assert _message(caught).startswith("settings: breaker.open_s_max: ")


def test_an_open_address_by_flag_is_refused_too() -> None:
    with pytest.raises(ConfigError) as caught:
        config.overlay(config.Config(), {}, {"address": "0.0.0.0"})
    assert "--address (listen.address): 0.0.0.0 can be reached" in _message(caught)


@pytest.mark.parametrize(("variable", "path"), variables().items())
def test_every_variable_sets_its_path(variable: str, path: str) -> None:
    section, _, name = path.rpartition(".")
    before = getattr(config.Config(), section) if section else config.Config()
    value = getattr(before, name)
    new = _other(variable, value)
    after = config.overlay(config.Config(), {variable: str(new).lower() if isinstance(new, bool) else str(new)})
    assert getattr(getattr(after, section) if section else after, name) == new


OTHERS: dict[str, object] = {
    "ECOTONE_LISTEN_ADDRESS": "::1",
    "ECOTONE_JOBS_KEY": "env:NAME",
    "ECOTONE_JOBS_WEBHOOK_SECRET": "env:NAME",
    "ECOTONE_LOG_LEVEL": "error",
    "ECOTONE_LOG_FORMAT": "json",
    "ECOTONE_LINK_INTERACTIVE": "refused",
    "ECOTONE_LEARNING_SHADOW_SHARE": 0.5,
    "ECOTONE_PRIVACY_TOPIC_EXAMPLES": "other",
    "ECOTONE_BREAKER_OPEN_S": 2.0,
}


def _other(variable: str, value: object) -> object:
    if variable in OTHERS:
        return OTHERS[variable]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return "other"
    if variable.startswith("ECOTONE_BUDGETS"):
        return 2.5
    return 3600 if value is None else type(value)(value * 2)  # type: ignore[call-arg,operator]  # a number by now


def test_no_variable_means_two_things() -> None:
    assert not set(variables()) & set(OTHER_VARIABLES)
    assert set(FLAGS.values()) <= set(variables().values())


def test_the_built_in_site_has_a_local_model_alone() -> None:
    tree = config.built_in({})
    assert list(tree.targets) == ["local"]
    assert list(config.model_names(tree)) == ["auto", "smollm2-135m"]
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("key", "reference"),
    [("sk-abc", "env:ECOTONE_CLOUD_KEY"), ("env:MY_KEY", "env:MY_KEY"), ("file:/k", "file:/k"), ("", None)],
)
def test_the_environment_adds_a_cloud_target(key: str, reference: str | None) -> None:
    environ = {"ECOTONE_CLOUD_URL": "https://api.example.com/v1", "ECOTONE_CLOUD_MODEL": "m", "ECOTONE_CLOUD_KEY": key}
    tree = config.built_in({**environ, "ECOTONE_CLOUD_REGION": "eu"})
    cloud = tree.targets["cloud"]
    assert isinstance(cloud, config.UrlTarget)
    assert (cloud.at, cloud.key, cloud.region) == (Place.CLOUD, reference, "eu")
    assert config.model_names(tree)["auto"].targets == ("local", "cloud")
    assert "sk-abc" not in repr(tree)


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"ECOTONE_CLOUD_URL": "https://a/v1"}, "ECOTONE_CLOUD_MODEL"),
        ({"ECOTONE_CLOUD_MODEL": "m"}, "ECOTONE_CLOUD_URL"),
        ({"ECOTONE_CLOUD_URL": "a/v1", "ECOTONE_CLOUD_MODEL": "m"}, "ECOTONE_CLOUD_URL"),
        ({"ECOTONE_CLOUD_URL": "https://a/v1", "ECOTONE_CLOUD_MODEL": "a b"}, "ECOTONE_CLOUD_MODEL"),
        ({"ECOTONE_CLOUD_URL": "https://u:p@a/v1", "ECOTONE_CLOUD_MODEL": "m"}, "targets.cloud.url"),
    ],
)
def test_half_a_cloud_target_is_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.built_in(environ)
    assert name in _message(caught)


def test_secrets_are_read_where_their_references_point() -> None:
    files = {"/k": b" from-file\n"}
    assert config.secrets.resolve("env:A", {"A": "from-env"}, _no_file) == "from-env"
    assert config.secrets.resolve("file:/k", {}, files.__getitem__) == "from-file"


@pytest.mark.parametrize(
    ("reference", "content", "words"),
    [
        ("env:B", b"", "keys.x: the environment variable B is not set"),
        ("file:/none", None, "keys.x: the file /none cannot be read: No such file"),
        ("file:/empty", b"\n", "is empty"),
        ("file:/long", b"x" * (SECRET_BYTES_MAX + 1), "too large"),
        ("file:/lines", b"a\nb", "holds a line break"),
        ("sha256:" + "0" * 64, b"", "not a reference that can be read"),
    ],
)
def test_a_secret_that_cannot_be_read_is_said(reference: str, content: bytes | None, words: str) -> None:
    read = _no_file if content is None else (lambda _name: content)
    with pytest.raises(ConfigError) as caught:
        config.secrets.resolve(reference, {}, read, path="keys.x")
    assert words in caught.value.message
    assert caught.value.code == "config.secret"


def test_references_name_every_secret() -> None:
    text = (
        """
targets:
  a b.c: {engine: llama.cpp, model: m}
""".replace("a b.c", "a.c")
        + """
  big: {url: https://a/v1, model: m, at: cloud, key: "file:/k", headers: {api-key: "env:H", X-Team: plain}}
keys: {r: "env:R"}
"""
    )
    assert config.secrets.references(config.parse(text, "x")) == {
        "targets.big.key": "file:/k", "targets.big.headers.api-key": "env:H", "keys.r": "env:R"
    }  # fmt: skip


def test_notes_say_what_is_probably_not_meant() -> None:
    text = """
targets:
  own: {engine: llama.cpp, model: "file:/m.gguf"}
  big: {url: http://api.example.com/v1, model: m, at: cloud, capabilities: [tool]}
models: {a: {targets: [own, big], mode: shadow, quality: {}}, b: {targets: [big], quality: {}}}
privacy:
  detectors: [names]
  labels: {person: {egress: pseudonymise}, ours: {egress: never}, medical: {egress: pseudonymise}}
  terms: [{file: patients.txt, label: patient}]
policy:
  - {when: {label: patient}, egress: never}
  - {when: {label: medicall, to_region: [us]}, egress: pseudonymise}
  - {when: {label: ours}, egress: never}
"""
    notes = config.notes(config.parse(text, "x"), {"ECOTONE_CLOUD_URL": "https://b/v1", "ECOTONE_LISTEN_PROT": "1"})
    paths = [note.split(": ")[0] for note in notes]
    assert paths == [
        "targets.own", "targets.big", "targets.big", "targets.big.url", "targets.big.capabilities",
        "models.b", "privacy.terms", "privacy.labels.person", "privacy.labels.medical", "policy[1]",
        "policy[1].when.label", "policy[1].when.to_region", "ECOTONE_CLOUD_URL", "ECOTONE_LISTEN_PROT",
    ]  # fmt: skip
    assert "did you mean 'ECOTONE_LISTEN_PORT'" in notes[-1]


def test_detectors_that_do_not_look_are_noted() -> None:
    text = (
        "targets: {own: {engine: llama.cpp, model: smollm2-135m}}\nprivacy: {detectors: [], topic_examples: t.jsonl}\n"
    )
    notes = config.notes(config.parse(text, "x"))
    assert [note.split(": ")[0] for note in notes] == ["privacy.detectors", "privacy.topic_examples"]
    assert "nobody looks" in notes[0]


def test_a_file_with_nothing_strange_has_no_notes() -> None:
    text = """
targets:
  here: {engine: llama.cpp, model: "hf:a/b/c.gguf", sha256: DIGEST}
  big: {url: https://a/v1, model: m, at: cloud, region: eu, price: {}, capabilities: [tools]}
  ward: {url: http://10.0.0.8/v1, model: m, at: edge}
models: {a: {targets: [here, big]}}
policy: [{when: {label: person, to_region: [eu]}, egress: never}]
""".replace("DIGEST", "0" * 64)
    assert config.notes(config.parse(text, "x")) == ()


def test_the_built_in_tree_has_no_notes_but_on_price_and_region() -> None:
    environ = {"ECOTONE_CLOUD_URL": "https://a/v1", "ECOTONE_CLOUD_MODEL": "m", "ECOTONE_PORT": "tcp://10.0.0.1:1"}
    assert config.notes(config.built_in({})) == ()
    assert [note.split(":")[0] for note in config.notes(config.built_in(environ), environ)] == ["targets.cloud"] * 2


def test_labels_and_capabilities_are_those_of_the_other_rooms() -> None:
    assert set(DEFAULT_LABELS) == LABELS
    assert "tools" in CAPABILITIES


def test_the_schema_is_stable_and_knows_every_key() -> None:
    schema = config.json_schema()
    assert json.dumps(schema) == json.dumps(config.json_schema())
    assert set(schema["properties"]) == set(config.Config.__struct_fields__)
    assert schema["$defs"]["UrlTarget"]["required"] == ["url", "model", "at"]
    for part in (schema, *schema["$defs"].values()):
        for name, value in part.get("properties", {}).items():
            assert value.get("description") or part["title"] == "Price", (part["title"], name)
            assert part["additionalProperties"] is False


def test_a_tree_is_frozen() -> None:
    with pytest.raises(AttributeError):
        config.Config().site = "x"  # type: ignore[misc]
    assert msgspec.structs.replace(config.Config(), site="x").site == "x"


@pytest.mark.parametrize("reference", ["keyring:ecotone/ward7", "keyring:ecotone/a/b", "env:K", "file:/run/key"])
def test_the_key_of_the_jobs_may_lie_in_the_systems_keyring(reference: str) -> None:
    tree = config.parse(f"jobs: {{key: '{reference}'}}", "x")
    assert tree.jobs.key == reference
    assert config.secrets.is_readable(reference) is not reference.startswith("keyring:")


@pytest.mark.parametrize("reference", ["keyring:ecotone", "keyring:/ward7", "keyring:a b/c", "0f" * 32])
def test_what_names_no_place_of_a_keyring_is_told(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"jobs.key.*keyring:SERVICE/NAME") as told:
        config.parse(f"jobs: {{key: '{reference}'}}", "x")
    assert "0f0f" not in str(told.value)
