"""Every command: its help, its exit codes, its text and its JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from ecotone import config
from ecotone.cli import reference
from ecotone.cli.root import COMMANDS, ecotone
from ecotone.values import ConfigError

COMMAND_PATHS = [path for path, command in reference.commands() if not isinstance(command, click.Group)]
GOOD = "targets:\n  a: {url: http://10.0.0.8/v1, model: m, at: edge}\n"
BAD = "sit: x\nlisten: {port: many}\n"


@pytest.mark.parametrize("path", [path for path, _ in reference.commands()])
def test_help_explains_with_an_example(shell: Any, path: str) -> None:
    result = shell(*path.split()[1:], "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    if path in COMMAND_PATHS:
        assert "Example" in result.stdout
        assert "--json" in result.stdout
        assert "--config" in result.stdout


def test_the_table_names_real_commands_in_their_words() -> None:
    ctx = click.Context(ecotone)
    for name in COMMANDS:
        found = ecotone.get_command(ctx, name)
        assert found is not None
        assert found.help
    assert ecotone.get_command(ctx, "nothing") is None


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom ecotone.cli import main\nsys.argv = ['ecotone', '--help']\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert error.code == 0\n"
        "heavy = {'rich', 'msgspec', 'yaml', 'http.client', 'ecotone.config', 'ecotone.runtime', 'asyncio'}\n"
        "loaded = sorted(heavy & set(sys.modules)) + [m for m in sys.modules if m.startswith('ecotone.cli.') "
        "and m not in ('ecotone.cli.root', 'ecotone.cli.lazy')]\n"
        "assert not [m for m in loaded if m != 'msgspec'], loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_unknown_command_is_bad_input(shell: Any) -> None:
    assert shell("nothing").exit_code == 2
    assert shell("status", "--nothing").exit_code == 2


def test_validate_says_that_a_file_is_valid(shell: Any) -> None:
    shell.write("ecotone.yaml", GOOD)
    result = shell("validate", "ecotone.yaml")
    assert (result.exit_code, result.stdout) == (0, "ecotone.yaml is valid: 1 target; models: auto, m\n")
    assert shell("validate").stdout == result.stdout
    assert json.loads(shell("validate", "--json").stdout) == {"file": "ecotone.yaml", "valid": True, "notes": []}


def test_validate_without_a_file_checks_the_built_in_one(shell: Any) -> None:
    result = shell("validate")
    assert (result.exit_code, "the built-in configuration is valid" in result.stdout) == (0, True)


def test_validate_prints_every_problem_with_its_place(shell: Any) -> None:
    shell.write("bad.yaml", BAD)
    result = shell("validate", "bad.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["bad.yaml:1:1", "bad.yaml:2:16", "ecotone"]
    said = json.loads(shell("validate", "--json", "bad.yaml").stdout)["error"]
    assert said["code"] == "config.invalid"
    assert said["problems"] == lines[:2]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * ((1 << 20) + 2), None])
def test_a_file_that_cannot_be_read_is_bad_input(shell: Any, content: bytes | None) -> None:
    if content is not None:
        (shell.folder / "x.yaml").write_bytes(content)
    result = shell("validate", "x.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("ecotone: x.yaml")


def test_schema_is_json(shell: Any) -> None:
    assert json.loads(shell("schema").stdout) == json.loads(json.dumps(config.json_schema()))


def test_version(shell: Any) -> None:
    assert shell("version").stdout.startswith("ecotone 0.1.0\n")
    assert set(json.loads(shell("version", "--json").stdout)) == {"ecotone", "python", "xllamacpp"}


def test_a_new_key_fits_its_line(shell: Any) -> None:
    result = shell("keys", "new", "research")
    key = result.stdout.strip()
    tree = config.parse(result.stderr.splitlines()[-1], "x")
    assert tree.keys == {"research": config.secrets.digest(key)}
    said = json.loads(shell("keys", "new", "no", "--json").stdout)
    assert config.secrets.digest(said["key"]) == f"sha256:{said['sha256']}"
    assert shell("keys", "new", "a b").exit_code == 2


LITELLM = "model_list: [{model_name: a, litellm_params: {model: ollama/x, rpm: 3}}]\n"


def test_import_prints_a_file_that_is_valid(shell: Any) -> None:
    shell.write("config.yaml", LITELLM)
    result = shell("import", "litellm", "config.yaml")
    assert result.exit_code == 0
    shell.write("ecotone.yaml", result.stdout)
    assert shell("validate", "ecotone.yaml").exit_code == 0
    said = json.loads(shell("import", "litellm", "--json", "config.yaml").stdout)
    assert said["text"] == result.stdout
    assert any("rpm" in note for note in said["notes"])


def test_import_of_nothing_is_bad_input(shell: Any) -> None:
    shell.write("config.yaml", "model_list: [{model_name: a, litellm_params: {model: bedrock/x}}]\n")
    result = shell("import", "litellm", "config.yaml")
    assert result.exit_code == 2
    assert "bedrock" in result.stderr


STATUS = {
    "site": "clinic-7",
    "uptime_s": 3700.5,
    "is_cloud_off": False,
    "targets": [{"name": "big", "breaker": "open", "ttft_s_p50": 0.25}, {"name": "small", "breaker": "closed"}],
    "budgets": {"usd": 1.5, "egress_bytes": 1_500_000, "usd_per_day": None},
    "engines": {"small": {"state": "ready", "settings": {"threads": 1, "batch": 256}}},
    "machine": {"cpu": {"cores": 2}},
    "names": ["auto"],
    "none": [],
}


def _at(site: Any) -> list[str]:
    return ["--url", f"http://127.0.0.1:{site.port}"]


def test_status_is_one_screen(shell: Any, site: Any) -> None:
    site.answers["GET", "/admin/status"] = (200, STATUS)
    result = shell("status", *_at(site))
    assert result.exit_code == 0
    for words in ("clinic-7", "1 h 01 min", "250 ms", "1.5 MB", "threads 1", "big", "open", "cores", "no"):
        assert words in result.stdout
    assert json.loads(shell("status", "--json", *_at(site)).stdout) == STATUS


def test_a_table_that_is_too_wide_becomes_a_block_for_each_row(shell: Any, site: Any) -> None:
    engine = {f"measured_{number}": "x" * 12 for number in range(12)} | {"why": None, "pid": 7238, "note": "y" * 150}
    site.answers["GET", "/admin/status"] = (200, {"engines": {"small": engine, "other": {"state": "ready"}}})
    lines = shell("status", *_at(site)).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[:2] == ["engines", " small"]
    assert " other" in lines
    told = "\n".join(lines)
    assert "measured 11  xxxxxxxxxxxx" in told
    assert "  7238" in told
    assert "why" not in told, "what says nothing is left out"
    assert told.count("y" * 20) >= 2, "a long value is folded, not cut"


def test_long_lists_stand_one_below_the_other(shell: Any, site: Any) -> None:
    troubles = ["big: breaker open after dns", "small: crashed: it died too often"]
    site.answers["GET", "/admin/status"] = (200, {"site": "one", "troubles": troubles})
    lines = [line.strip() for line in shell("status", *_at(site)).stdout.splitlines()]
    assert lines[1:] == [f"troubles  {troubles[0]}", troubles[1]]


def test_a_wrong_file_does_not_hide_the_way_to_a_running_site(shell: Any) -> None:
    shell.write("ecotone.yaml", BAD)
    result = shell("status")
    assert result.exit_code == 2
    assert "--url" in result.stderr


def test_status_finds_the_site_by_its_configuration(shell: Any, site: Any) -> None:
    site.answers["GET", "/admin/status"] = (200, {})
    shell.write(
        "ecotone.yaml",
        f"listen: {{address: 0.0.0.0, port: {site.port}}}\nkeys: {{a: 'sha256:{'0' * 64}', b: 'env:B'}}\n",
    )
    shell.environ = {"B": "secret-b"}
    assert shell("status").exit_code == 0
    assert site.asked[-1][2]["authorization"] == "Bearer secret-b"
    shell.environ["ECOTONE_API_KEY"] = "other"
    assert shell("status").exit_code == 0
    assert site.asked[-1][2]["authorization"] == "Bearer other"


def test_a_key_of_the_configuration_goes_nowhere_else(shell: Any, site: Any) -> None:
    site.answers["GET", "/admin/status"] = (200, {})
    shell.write("ecotone.yaml", "keys: {b: 'env:B'}\n")
    shell.environ = {"B": "secret-b"}
    assert shell("status", *_at(site)).exit_code == 0
    assert "authorization" not in site.asked[-1][2]


@pytest.mark.parametrize(
    ("status", "answer", "code", "words"),
    [
        (401, {"error": {"message": "no key", "code": "auth"}}, 2, "ECOTONE_API_KEY"),
        (400, {"error": {"message": "bad", "code": "request.json"}}, 2, "bad"),
        (404, {"error": {"message": "not here"}}, 1, "not here"),
        (503, {"error": {"message": "draining"}}, 3, "draining"),
        (500, [], 3, "HTTP 500"),
        (200, b"<html>", 3, "not an Ecotone site"),
    ],
)
def test_what_the_site_says_decides_the_exit_code(
    shell: Any, site: Any, status: int, answer: Any, code: int, words: str
) -> None:
    site.answers["GET", "/admin/status"] = (status, answer)
    result = shell("status", *_at(site))
    assert result.exit_code == code
    assert words in result.stderr
    assert json.loads(shell("status", "--json", *_at(site)).stdout)["error"]["message"] in result.stderr


@pytest.mark.parametrize("command", [["status"], ["top"], ["explain", "x"], ["explain", "--request", "r.json"]])
def test_no_site_is_not_reachable(shell: Any, command: list[str]) -> None:
    shell.write("r.json", "{}")
    result = shell(*command, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "no site answers at http://127.0.0.1:9" in result.stderr
    assert json.loads(shell(*command, "--json", "--url", "http://127.0.0.1:9").stdout)["error"]["code"]


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:3266", "http://[::1", "http://a b", "http://a:99999"])
def test_an_address_that_is_none_is_bad_input(shell: Any, url: str) -> None:
    assert shell("status", "--url", url).exit_code == 2


def test_top_looks_again(shell: Any, site: Any) -> None:
    site.answers["GET", "/admin/status"] = (200, {"site": "clinic-7"})
    result = shell("top", "--count", "2", "--every-s", "0.1", *_at(site))
    assert (result.exit_code, result.stdout.count("clinic-7")) == (0, 2)
    lines = shell("top", "--count", "2", "--every-s", "0.1", "--json", *_at(site)).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"site": "clinic-7"}] * 2


EXPLANATION = {
    "object": "ecotone.explanation", "model": "auto", "placed": "edge", "target": "small", "reason": "edge.private",
    "meaning": "policy keeps this request at the site", "order": ["small"], "labels": ["medical"],
    "targets": [
        {"target": "small", "at": "edge", "place_in_order": 1, "lost_because": None, "detail": None,
         "limit": {"egress": "free", "rule": "edge"}, "estimate": {"ttft_s_p50": 0.1}, "condition": {}},
        {"target": "big", "at": "cloud", "place_in_order": None, "lost_because": "policy", "detail": "label medical",
         "limit": {"egress": "never", "rule": "label medical"}, "estimate": {}, "condition": {"breaker": "closed"}},
    ],
}  # fmt: skip


def test_explain_says_where_a_request_would_go(shell: Any, site: Any) -> None:
    site.answers["POST", "/v1/explain"] = (200, EXPLANATION)
    shell.write("r.json", '{"model": "auto"}')
    result = shell(
        "explain", "--request", "r.json", "--label", "a", "--label", "b", "--place", "edge", "--deadline-ms", "90",
        *_at(site),
    )  # fmt: skip
    assert result.exit_code == 0
    assert "auto -> small (edge)" in result.stdout
    assert "because edge.private: policy keeps this request at the site" in result.stdout
    assert "label medical" in result.stdout
    _, _, headers, body = site.asked[-1]
    assert (headers["ecotone-labels"], headers["ecotone-place"], headers["ecotone-deadline-ms"]) == (
        "a,b",
        "edge",
        "90",
    )
    assert body == b'{"model": "auto"}'
    assert json.loads(shell("explain", "--json", "--request", "r.json", *_at(site)).stdout) == EXPLANATION


def test_explain_reads_standard_input(shell: Any, site: Any) -> None:
    site.answers["POST", "/v1/explain"] = (200, EXPLANATION)
    assert shell("explain", "--request", "-", *_at(site), stdin="{}").exit_code == 0
    assert site.asked[-1][3] == b"{}"


PAST = {
    "object": "ecotone.explanation", "request": "x/y", "reason": "fallback.refused",
    "meaning": "the targets before it failed",
    "placed": {
        "request": "x/y", "model": "auto", "labels": ["medical"], "policy": "abc",
        "candidates": [{"target": "ward", "at": "edge"}, {"target": "big", "at": "cloud"},
                       {"target": "no", "at": "cloud"}],
        "placement": {"order": ["ward", "big"], "reason": "edge.good_enough",
                      "lost": [{"target": "no", "obstacle": "policy", "detail": "label medical"}]},
    },
    "egress": [],
    "outcome": {"request": "x/y", "target": "big", "at": "cloud", "ending": "answered", "egress_bytes": 1000,
                "attempts": [{"target": "ward", "failure": "refused", "took_s": 0.001}]},
    "entries": [{"seq": 3, "at_ms": 1_700_000_000_000, "kind": "placed", "hash": "00"}],
}  # fmt: skip


def test_explain_asks_for_a_past_request_by_its_id(shell: Any, site: Any) -> None:
    site.answers["GET", "/v1/explain/x%2Fy"] = (200, PAST)
    result = shell("explain", "x/y", *_at(site))
    assert "auto -> big (cloud)\nbecause fallback.refused: the targets before it failed" in result.stdout
    for words in ("2023-11-14T22:13:20.000Z", "label medical", "refused", "answered", "1.0 kB"):
        assert words in result.stdout
    assert shell("explain", "unknown", *_at(site)).exit_code == 1


def test_explain_wants_one_of_two(shell: Any) -> None:
    assert shell("explain").exit_code == 2
    assert shell("explain", "x", "--request", "y").exit_code == 2
    assert shell("explain", "--request", "nowhere.json").exit_code == 2


def test_up_hands_over_to_the_runtime(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone import runtime

    called: list[tuple[Path | None, dict[str, Any]]] = []

    def run(path: Path | None, environ: Any, flags: dict[str, Any]) -> int:
        assert "PATH" in environ
        called.append((path, dict(flags)))
        return 2

    monkeypatch.setattr(runtime, "run", run, raising=False)
    assert shell("up").exit_code == 2
    shell.write("ecotone.yaml", GOOD)
    assert (
        shell("up", "--port", "0", "--address", "::1", "--store", "s", "--no-cloud", "--log-level", "debug").exit_code
        == 2
    )
    assert shell("up", "-c", "other.yaml", "--json").exit_code == 2
    nothing = {"port": None, "address": None, "store": None, "no_cloud": False, "log_level": None}
    assert called == [
        (None, nothing),
        (Path("ecotone.yaml"), {"port": 0, "address": "::1", "store": "s", "no_cloud": True, "log_level": "debug"}),
        (Path("other.yaml"), {**nothing, "log_format": "json"}),
    ]
    laid = config.overlay(config.Config(), {}, called[1][1])
    assert (laid.listen.port, laid.listen.address, laid.store.path, laid.log.level) == (0, "::1", "s", "debug")


def test_models_are_listed_pulled_and_removed(shell: Any) -> None:
    shell.environ["ECOTONE_STORE_PATH"] = str(shell.folder / "store")
    model = shell.write("m.gguf", "GGUF made up")
    shell.write("ecotone.yaml", f"targets: {{own: {{engine: llama.cpp, model: 'file:{model}'}}}}\n")
    assert "smollm2-135m" in shell("models", "list").stdout
    other = ("--store", str(shell.folder / "other"))
    assert shell("models", "pull", f"file:{model}", *other).exit_code == 0
    assert any(row["here"] for row in json.loads(shell("models", "list", "--json", *other).stdout))
    assert not any(row["here"] for row in json.loads(shell("models", "list", "--json").stdout))
    assert shell("models", "rm", f"file:{model}", *other).exit_code == 0
    result = shell("models", "pull")
    assert result.exit_code == 0
    assert str(model) in result.stderr
    rows = json.loads(shell("models", "list", "--json").stdout)
    assert [row["here"] for row in rows if str(model) in row["name"]] == [True]
    assert len(json.loads(shell("models", "pull", "--json").stdout)) == 1
    assert "the file stays" in shell("models", "rm", f"file:{model}").stdout
    assert model.is_file()
    assert shell("models", "rm", f"file:{model}").exit_code == 2
    assert shell("models", "pull", "nothing-of-the-kind").exit_code == 2
    assert shell("models", "pull", "--sha256", "0" * 64).exit_code == 2
    assert shell("models", "pull", f"file:{model}", "--sha256", "0" * 64).exit_code == 1


def test_pull_without_local_models_says_so(shell: Any) -> None:
    shell.write("ecotone.yaml", GOOD)
    result = shell("models", "pull")
    assert (result.exit_code, "no local models" in result.stderr) == (0, True)


def test_the_bar_takes_a_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.cli.progress import BarProgress

    with BarProgress() as bar:
        bar.advance(1)
        bar.step("before [it]")
        bar.start(10, "one")
        bar.advance(10)
        bar.done()
        bar.start(None, "two")
        bar.done()


def test_a_config_error_with_a_heading_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    from ecotone.cli.failures import show

    show(ConfigError("config.import", "nothing carried over", problems=("a: x", "b: y")), is_json=False)
    assert capsys.readouterr().err == "a: x\nb: y\necotone: nothing carried over (2 problems)\n"


def test_main_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ecotone.cli import main

    monkeypatch.setattr(sys, "argv", ["ecotone", "version"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("ecotone ")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal in place of standard output is shown."""
    shown = io.StringIO()
    made = Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr("ecotone.cli.screen.console", lambda: made)
    return shown


def test_a_terminal_gets_a_live_screen(terminal: io.StringIO) -> None:
    from ecotone.cli.failures import UnreachableError
    from ecotone.cli.looks import json_lines, live, looks
    from ecotone.cli.screen import show

    answers: list[Any] = [{"site": "one"}, UnreachableError("site.unreachable", "gone for now"), ["two"]]

    def look() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    live(looks(look, 0.0, 3))
    for words in ("one", "gone for now", "two"):
        assert words in terminal.getvalue()
    show({"state": "open"})
    assert "open" in terminal.getvalue()
    answers[:] = [{}, UnreachableError("site.unreachable", "gone for now")]
    json_lines(looks(look, 0.0, 2))


def test_without_a_terminal_a_site_that_went_away_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    from ecotone.cli.failures import UnreachableError
    from ecotone.cli.looks import live

    live(iter([{"site": "one"}, UnreachableError("site.unreachable", "gone for now")]))
    assert "gone for now" in capsys.readouterr().out


def test_pull_draws_a_bar_on_a_terminal(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.cli import shelf

    monkeypatch.setattr(shelf, "is_terminal", lambda: True)
    shell.environ["ECOTONE_STORE_PATH"] = str(shell.folder / "store")
    model = shell.write("m.gguf", "GGUF made up")
    assert shell("models", "pull", f"file:{model}").exit_code == 0
    removed = json.loads(shell("models", "rm", "--json", f"file:{model}").stdout)
    assert [row["is_own_file"] for row in removed] == [True]


def test_notes_are_printed(shell: Any) -> None:
    shell.write("ecotone.yaml", GOOD + "privacy: {detectors: []}\n")
    assert shell("validate").stdout.startswith("note: privacy.detectors: ")


@pytest.mark.parametrize(
    ("key", "value", "cell"),
    [
        ("n", 1234, "1,234"), ("n", 0.5, "0.5"), ("n", 1234.5, "1,234"), ("a_usd", 0.25, "0.25"), ("s", 3, "3"),
        ("a_bytes", 12, "12 B"), ("a_bytes", 5e15, "5000.0 TB"), ("a_s", 1.5, "1.5 s"), ("a_s", 200, "3 min 20 s"),
        ("n", [], "-"), ("n", "", "-"), ("decode_tokens_per_s", 30.5, "30.5"), ("n", {}, "-"),
        ("n", "a\x1b[2Jb", "a [2Jb"),
    ],
)  # fmt: skip
def test_cells_read_their_units_off_their_names(key: str, value: Any, cell: str) -> None:
    from ecotone.cli.screen import _cell

    assert _cell(key, value) == cell
