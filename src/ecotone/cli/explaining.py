"""What `explain` asks for, and how the answer reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
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


def went(config_path: Path | None, url: str | None, request_id: str) -> Any:
    """What the ledger holds of a past request: by the running site, else read from the store.

    Raises:
        UnreachableError: no site answers, and there is no ledger to read.
        NotFoundError: there is no such request.
    """
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
        from ecotone.flow import retell

        return retell(request_id, [msgspec.to_builtins(entry) for entry in found])


def _bytes_of(request: Path) -> bytes:
    try:
        if str(request) == "-":
            return sys.stdin.buffer.read(REQUEST_BYTES_MAX)
        with request.open("rb") as file:
            return file.read(REQUEST_BYTES_MAX)
    except OSError as error:
        raise ConfigError("config.unreadable", f"{request} cannot be read: {error.strerror}") from error


def show(answer: Any) -> None:
    """Prints an explanation: the decision first, then each target and why it lost."""
    from ecotone.cli.screen import show as show_screen

    if not isinstance(answer, Mapping) or "reason" not in answer:
        show_screen(answer)
        return
    if "entries" in answer:
        _show_past(answer)
        return
    click.echo(f"{answer.get('model')} -> {answer.get('target') or 'nowhere'} ({answer.get('placed')})")
    click.echo(f"because {answer['reason']}: {answer.get('meaning')}\n")
    show_screen({**_seen(answer, answer.get("detectors_missing")), "targets": _rows(answer["targets"])})


def _show_past(answer: Mapping[str, Any]) -> None:
    from ecotone.cli.proof import instant
    from ecotone.cli.screen import show as show_screen

    placed, outcome = answer.get("placed") or {}, answer.get("outcome") or {}
    model = placed.get("model") or outcome.get("model")
    click.echo(f"{model} -> {outcome.get('target') or 'nowhere'} ({outcome.get('at') or '-'})")
    click.echo(f"because {answer['reason']}: {answer.get('meaning')}\n")
    placement = placed.get("placement") or {}
    order, lost = list(placement.get("order", [])), {loss["target"]: loss for loss in placement.get("lost", [])}
    targets = _rows(_judged(row, order, lost) for row in placed.get("candidates", []))
    single = {name: value for name, value in outcome.items() if name not in ("request", "reason", "attempts", "model")}
    entries = [
        {"entry": entry.get("seq"), "at": instant(entry.get("at_ms", 0)), "kind": entry.get("kind")}
        for entry in answer["entries"]
    ]
    sections = {
        **_seen(placed, placed.get("missing")), "policy": placed.get("policy"), "targets": targets,
        "attempts": outcome.get("attempts") or [], "outcome": single, "ledger": entries,
    }  # fmt: skip
    show_screen(sections)


def _seen(told: Mapping[str, Any], missing: Any) -> dict[str, Any]:
    """What was seen in it: labels, how much of each kind, and who could not look or has yet to."""
    seen: dict[str, Any] = {"labels": told.get("labels") or ["none"]}
    for name, value in (("found", told.get("found")), ("not looked", missing), ("yet to look", told.get("pending"))):
        if value:
            seen[name] = value
    return seen


def _judged(row: Mapping[str, Any], order: list[str], lost: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A candidate with its place in the order, or why it lost."""
    name = row.get("target", "")
    loss = lost.get(name, {})
    place = order.index(name) + 1 if name in order else None
    return {**row, "place_in_order": place, "lost_because": loss.get("obstacle"), "detail": loss.get("detail")}


def _rows(said: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The targets as rows, without the columns that say nothing of any of them."""
    rows = [_row(row) for row in said]
    silent = {key for key in (rows[0] if rows else {}) if all(row[key] is None for row in rows)}
    return [{key: value for key, value in row.items() if key not in silent} for row in rows]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that matter, flat."""
    estimate, limit, state = (row.get(name) or {} for name in ("estimate", "limit", "condition"))
    return {
        "target": row.get("target"),
        "try": row.get("place_in_order"),
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
