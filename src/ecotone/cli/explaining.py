"""What `explain` asks for, and how the answer reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from ecotone.cli.failures import NotFoundError, UnreachableError
from ecotone.cli.site import path_of, running
from ecotone.values import ConfigError

REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024


def would_go(config_path: Path | None, url: str | None, request: Path, asked: Mapping[str, Any]) -> Any:
    """Where the request in the file would go now, by the running site."""
    body = _bytes_of(request)
    headers: dict[str, str] = {}
    if asked.get("labels"):
        headers["Ecotone-Labels"] = ",".join(asked["labels"])
    if asked.get("place"):
        headers["Ecotone-Place"] = asked["place"]
    if asked.get("deadline_ms"):
        headers["Ecotone-Deadline-Ms"] = str(asked["deadline_ms"])
    return running(config_path, url).post("/v1/explain", body, headers)


def _bytes_of(request: Path) -> bytes:
    try:
        if str(request) == "-":
            return sys.stdin.buffer.read(REQUEST_BYTES_MAX)
        with request.open("rb") as file:
            return file.read(REQUEST_BYTES_MAX)
    except OSError as error:
        raise ConfigError("config.unreadable", f"{request} cannot be read: {error.strerror}") from error


def went(config_path: Path | None, url: str | None, request_id: str) -> Any:
    """What the ledger holds of a past request: by the running site, else read from the store."""
    try:
        return running(config_path, url).get(path_of("/v1/explain", request_id))
    except UnreachableError:
        if url is not None:
            raise
        from ecotone.cli import proof

        folder = proof.folder_of(config_path)
        if not folder.is_dir():
            raise
        found = proof.entries_of(folder, request_id)
        if not found:
            message = f"no request {request_id!r} in {folder}, and no site is running"
            raise NotFoundError("request.unknown", message, status=404) from None
        return {"id": request_id, "entries": found}


def show(answer: Any) -> None:
    """Prints an explanation: the decision first, then each target and why it lost."""
    from ecotone.cli.screen import show as show_screen

    plain = msgspec.to_builtins(answer)
    if isinstance(plain, dict) and isinstance(plain.get("entries"), list):
        _show_entries(plain["entries"])
        return
    if not isinstance(answer, Mapping) or answer.get("object") != "ecotone.explanation":
        show_screen(plain)
        return
    click.echo(f"{answer.get('model')} -> {answer.get('target') or 'nowhere'} ({answer.get('placed')})")
    click.echo(f"because {answer.get('reason')}: {answer.get('meaning')}\n")
    labels = answer.get("labels") or ["none"]
    show_screen({"labels": labels, "targets": [_row(row) for row in answer.get("targets", [])]})


def _show_entries(entries: list[dict[str, Any]]) -> None:
    from ecotone.cli.proof import instant
    from ecotone.cli.screen import show as show_screen

    for entry in entries:
        body = {key: value for key, value in entry.get("body", {}).items() if key != "request"}
        click.echo(f"{instant(entry.get('at_ms', 0))}  {entry.get('kind')}  (entry {entry.get('seq')})")
        show_screen(body)
        click.echo()


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that matter, flat."""
    estimate, limit, state = (row.get(name) or {} for name in ("estimate", "limit", "condition"))
    return {
        "try": row.get("place_in_order"),
        "target": row.get("target"),
        "at": row.get("at"),
        "lost because": row.get("lost_because"),
        "detail": row.get("detail"),
        "egress": limit.get("egress"),
        "by": limit.get("rule"),
        "breaker": state.get("breaker", "closed"),
        "ttft_s_p50": estimate.get("ttft_s_p50"),
        "total_s_p50": estimate.get("total_s_p50"),
        "price_usd": estimate.get("price_usd", 0.0),
    }
