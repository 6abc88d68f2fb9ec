"""Writes the generated pages of `docs/reference`: `python -m ecotone.cli.reference [FOLDER]`.

`--check` writes nothing and leaves with 1 where a page is not up to date.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

import ecotone
from ecotone import config
from ecotone.assets import errors as stored
from ecotone.cli.root import ecotone as root
from ecotone.config.reference import tables
from ecotone.hub import settings as hub_settings
from ecotone.hub.status_metrics import METRICS as FLEET_METRICS
from ecotone.hub.web_metrics import METRICS as HUB_METRICS
from ecotone.hub.web_metrics import Metric as HubMetric
from ecotone.telemetry.metrics import METRICS, Metric
from ecotone.values import errors, reasons

_MADE: Final = "by `python -m ecotone.cli.reference`; do not edit by hand."


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {
        "configuration.md": config.reference_markdown(),
        "cli.md": cli_page(),
        "reason-codes.md": reasons_page(),
        "errors.md": errors_page(),
        "headers.md": headers_page(),
        "metrics.md": metrics_page(),
        "ecotone.schema.json": json.dumps(config.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "hub-configuration.md": hub_page(),
        "hub.schema.json": json.dumps(hub_settings.json_schema(), indent=2, ensure_ascii=False) + "\n",
    }


def hub_page() -> str:
    """Every key of `hub.yaml`."""
    lines = [
        "# Configuration of a hub",
        "",
        f"Generated from `src/ecotone/hub/settings.py` {_MADE}",
        "",
        "`ecotone hub up -c hub.yaml`; how it fits together is in [run a hub](../how-to/run-a-hub.md). Unknown keys",
        "are refused with their place: `ecotone hub validate FILE` prints every problem. Secrets are never written",
        "into the file: `env:NAME` names an environment variable, `file:PATH` a file. A key of the file that a command",
        "names too (`DIR`, `--listen`, `--processes`, `--open`) is as the command says.",
        "",
        *tables(hub_settings.file_type()),
    ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command with its help."""
    lines = [
        "# Commands",
        "",
        f"Generated from the commands' own help {_MADE}",
        "",
        "Every command takes `-c FILE` and `--json`. Exit codes: 0 done, 1 the check failed, 2 bad input or",
        "configuration, 3 not reachable. Long work shows progress on a terminal, and one line per step without one.",
        "",
        'Completion for the shell: `eval "$(_ECOTONE_COMPLETE=bash_source ecotone)"` in `~/.bashrc`,',
        '`eval "$(_ECOTONE_COMPLETE=zsh_source ecotone)"` in `~/.zshrc`, or',
        "`_ECOTONE_COMPLETE=fish_source ecotone > ~/.config/fish/completions/ecotone.fish`.",
        "",
    ]
    for path, command in commands():
        with click.Context(command, info_name=path, terminal_width=100, max_content_width=100) as ctx:
            lines += [f"## `{path}`", "", "```text", command.get_help(ctx), "```", ""]
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, click.Command]]:
    """(full name, command) of every command that can be called."""
    yield from _commands("ecotone", root)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from _commands(f"{path} {name}", inner)


def reasons_page() -> str:
    """The words of a decision."""
    lines = [
        "# Reason codes",
        "",
        f"Generated from `src/ecotone/values/reasons.py` {_MADE}",
        "",
        "A code stands in `Ecotone-Reason`, in metrics and in the ledger, and never changes its meaning.",
        "",
        *_words("Why a request was placed where it was", reasons.REASONS),
        "`fallback.<failure>`: the targets before it failed; the word is the class of the last failure, below.",
        "",
        "`refused.<obstacle>`: no target could take it; the word is the obstacle of the target that came nearest.",
        "",
        *_words("Why a job waits, or ended unanswered", reasons.DEFERRALS),
        *_words("Why a target lost: obstacles", reasons.OBSTACLES),
        *_words("How an attempt fails: failures", reasons.TARGET_FAILURES),
        *_words("How a request ends: endings", reasons.ENDINGS),
    ]
    return "\n".join(lines)


def _words(title: str, words: Mapping[str, str]) -> list[str]:
    return [f"## {title}", "", "| code | meaning |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in words.items()), ""]


def errors_page() -> str:
    """Every error code that the sources raise, with who acts on it."""
    lines = [
        "# Errors",
        "",
        f"Generated from the sources {_MADE}",
        "",
        'Over HTTP an error is the object `{"error": {"message", "type", "param", "code"}}`; 429 and 503 carry',
        '`Retry-After`. After the first byte of a stream it is a last `data: {"error": ...}` event. On the command',
        "line it is one line and an exit code. `{...}` stands for what the message fills in. A TargetError is the",
        "failure of one attempt: the next target is tried.",
        "",
        "| error | who acts |",
        "|---|---|",
    ]
    kinds = _kinds()
    lines += [f"| `{name}` | {_first_line(kind)} |" for name, kind in kinds.items()]
    lines += ["", "| code | error | HTTP | says, for example |", "|---|---|---|---|"]
    for code, (kind, status, message) in sorted(error_codes().items()):
        lines.append(f"| `{code}` | {kind} | {status} | {message} |")
    return "\n".join(lines) + "\n"


def error_codes() -> dict[str, tuple[str, str, str]]:
    """Code -> (error, HTTP status, message) of every error that is raised with a literal code."""
    found: dict[str, tuple[str, str, str]] = {}
    kinds = _kinds()
    package = Path(ecotone.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.is_relative_to(package / "sim"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
                code = _constant(node.args[0])
                if code is not None:
                    found.setdefault(code, _raised(node, kinds[node.func.id]))
    return found


def _raised(call: ast.Call, kind: type[errors.EcotoneError]) -> tuple[str, str, str]:
    status = next((_shown(word.value) for word in call.keywords if word.arg == "status"), str(kind.default_status))
    is_http = not issubclass(kind, errors.ConfigError | errors.TrustError)
    message = _shown(call.args[1]) if len(call.args) > 1 else ""
    return kind.__name__, status if is_http else "–", " ".join(message.replace("|", "\\|").split())


def _constant(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def _shown(node: ast.expr) -> str:
    """A literal or an f-string as text, what is filled in as `{...}`; other expressions as nothing."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{...}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _shown(node.left) + _shown(node.right)
    return ""


def _kinds() -> dict[str, type[errors.EcotoneError]]:
    found = {}
    for name, kind in {**vars(errors), **vars(stored)}.items():
        if isinstance(kind, type) and issubclass(kind, errors.EcotoneError) and kind is not errors.EcotoneError:
            found[name] = kind
    return found


def _first_line(kind: type[errors.EcotoneError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


REQUEST_HEADERS: Final = {
    "Ecotone-Place": "`auto`, `edge` or `cloud`: a wish. The wish for the edge is a hard limit; policy wins over the "
    "wish for the cloud.",
    "Ecotone-Deadline-Ms": "Milliseconds from arrival by which the whole answer must be there: at most 24 hours; for a "
    "job at most 30 days, by default 24 hours.",
    "Ecotone-Labels": "Labels, with commas between. They add to what is found, and never remove.",
    "Ecotone-Debug": "`1` asks for all response headers.",
    "Prefer": "`respond-async` (RFC 7240) makes a durable job of the request: 202 and `Location`. `wait=N`, alone or "
    "with it: the answer itself, if it is there within N seconds (at most 300); else 202.",
    "Idempotency-Key": "Of a job: a second request with the same key is the same job; with another body it is 422. "
    "Without `Prefer` it is ignored.",
    "Ecotone-Priority": "Of a job or batch: `0` (when there is time) to `9` (before all others); a job has 5, a "
    "batch 2. What waits gains a step in ten minutes.",
    "Ecotone-Webhook": "Of a job: a URL inside the site that is told when it ends; "
    "[how it is signed](../how-to/jobs-and-batches.md).",
    "Last-Event-ID": "Of `/v1/jobs/events`: what came after this number is told first.",
}
"""Request headers (DESIGN.md, 1.2)."""

RESPONSE_HEADERS: Final = {
    "Ecotone-Id": "The request's id, for `ecotone explain`; of a job its own.",
    "Ecotone-Placed": "`edge`, `cloud` or `deferred`: where the answer came from.",
    "Ecotone-Target": "The target that answered.",
    "Ecotone-Reason": "Why, as a [reason code](reason-codes.md).",
    "Location": "Of a job: where it is.",
    "Preference-Applied": "What of `Prefer` was kept to (RFC 7240).",
    "Ecotone-Overhead-Ms": "Debug: Ecotone's own time, milliseconds.",
    "Ecotone-Attempts": "Debug: targets that were tried, and how each ended.",
    "Ecotone-Labels": "Debug: the labels that the request carries.",
    "Ecotone-Cost-Usd": "Debug: price of all billed attempts, US dollars, as far as it is known at the head.",
    "Ecotone-Egress-Bytes": "Debug: bytes of the request that left the site.",
}
"""Response headers (DESIGN.md, 1.2)."""


def headers_page() -> str:
    """The HTTP headers."""
    lines = [
        "# HTTP headers",
        "",
        f"Generated from `src/ecotone/cli/reference.py` {_MADE}",
        "",
        "Response names that come in with a request are stripped. `Authorization: Bearer KEY` is the caller's key; a",
        "site without `keys` ignores it.",
        "",
        *_words("Requests", REQUEST_HEADERS),
        *_words("Responses", RESPONSE_HEADERS),
        "The body's `model` names what really answered.",
    ]
    return "\n".join(lines) + "\n"


def metrics_page() -> str:
    """The metrics of `GET /metrics`."""
    lines = ["# Metrics", "", f"Generated from `src/ecotone/telemetry/metrics.py` {_MADE}", ""]
    lines += ["`GET /metrics`, Prometheus text. No label ever holds content.", ""]
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for name, metric in METRICS.items():
        lines.append(_metric(name, metric))
    lines += [
        "",
        "## A hub",
        "",
        "Generated from `src/ecotone/hub/{web,status}_metrics.py`. `GET /metrics` of a hub, for callers on its",
    ]
    lines += [
        "own machine, and for people who may read the fleet. All processes of one machine are counted together.",
        "",
    ]
    lines += ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for name, found in {**HUB_METRICS, **FLEET_METRICS}.items():
        lines.append(_metric(name, found))
    return "\n".join(lines) + "\n"


def _metric(name: str, metric: Metric | HubMetric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{name}` | {metric.kind} | {labels} | {metric.help} |"


def main(arguments: list[str]) -> int:
    """Writes or checks the pages; the exit code."""
    is_check = "--check" in arguments
    folders = [argument for argument in arguments if argument != "--check"]
    folder = Path(folders[0] if folders else "docs/reference")
    stale = []
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path))
            if not is_check:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path_name in stale:
        click.echo(f"{'not up to date' if is_check else 'written'}: {path_name}")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
