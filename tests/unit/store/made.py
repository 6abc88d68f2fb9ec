"""A signed ledger, made by hand: what a site writes, without a site."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ecotone.store import chain, merkle, notes
from ecotone.store.signing import Signer

SEED = b"\x01" * 32
OTHER_SEED = b"\x02" * 32
SIGNER = Signer(SEED, "clinic-7")
OTHER = Signer(OTHER_SEED, "clinic-7")
DAY_MS = 86_400_000


def egress(number: int) -> tuple[bytes, dict[str, object]]:
    """An entry."""
    return b"egress", {
        "request": f"req-{number}",
        "target": "big" if number % 2 else "small",
        "region": "eu" if number % 3 else None,
        "transform": "pseudonymise:ab" if number % 2 else "none",
        "labels": ["person", "contact"] if number % 2 else ["person"],
        "body_bytes": 100,
        **({"replaced": {"person": 2}} if number % 2 else {}),
    }


def made(folder: Path, count: int, per_segment: int = 4, every: int = 3, signer: Signer = SIGNER) -> list[bytes]:
    """Writes so many entries, a second apart and each segment a day, and checkpoints over them; the lines."""
    folder.mkdir(parents=True, exist_ok=True)
    tree, prev, lines, raws = merkle.Tree(), chain.NOTHING, [], []
    owed: list[int] = []
    for seq in range(count):
        if seq and seq % per_segment == 0:
            raws.append(signer.note(seq, tree.root(), {"peaks": notes.joined(tree.peaks)}))
            owed += [seq] if seq % every else []
        kind, body = egress(seq)
        if owed:
            size = owed.pop()
            kind, body = b"checkpoint", {"root": root_of(lines[:size]).hex(), "size": size}
        at_ms = seq // per_segment * DAY_MS + seq * 1000
        text, prev = chain.line(seq, at_ms, kind, msgspec.json.encode(body), prev)
        lines.append(text)
        tree.append(text[:-1])
        if tree.size % every == 0:
            raws.append(signer.note(tree.size, tree.root()))
            owed.append(tree.size)
    if tree.size % every:
        raws.append(signer.note(tree.size, tree.root()))
    for first in range(0, count, per_segment):
        (folder / f"{first:016d}.jsonl").write_bytes(b"".join(lines[first : first + per_segment]))
    (folder / "checkpoints").write_bytes(b"".join(raw + b"\n" for raw in raws))
    return lines


def root_of(lines: list[bytes]) -> bytes:
    """Root over some lines, as the RFC defines it: by halves."""
    if len(lines) == 1:
        return merkle.leaf(lines[0][:-1])
    split = 1 << ((len(lines) - 1).bit_length() - 1)
    return merkle.sha256(b"\1" + root_of(lines[:split]) + root_of(lines[split:])).digest()
