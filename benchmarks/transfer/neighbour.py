"""What a building with several sites takes over its long link, with a neighbour as a source and without.

    .venv/bin/python benchmarks/transfer/neighbour.py [--sites 4] [--out PATH]

A real hub's folder behind a server that counts every byte (500 for each request included), real `ecotone neighbour up`
in a process of its own, and each site a delivery by `ecotone.delivery`: first the model from nothing, then a light
fine-tune of it. The first site has no neighbour; the others name it. Bytes from the neighbour stay in the building.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import link as links
import variants

from ecotone.assets import open_store
from ecotone.delivery.install import install
from ecotone.delivery.neighbour import Neighbour
from ecotone.delivery.packs import About, publish
from ecotone.delivery.sources import HttpSource, Source
from ecotone.transfer import Manifest, encode

ROOT = Path(__file__).parents[2]
WORK = ROOT / "benchmarks" / ".work" / "transfer"
LOOPBACK_BYTES_PER_S = 400e6


@contextlib.contextmanager
def neighbour(store: Path) -> Iterator[str]:
    """The command, for the store of a site; its address."""
    config = store.parent / f"{store.name}.yaml"
    config.write_text(json.dumps({"store": {"path": str(store)}}))
    command = [str(Path(sys.executable).with_name("ecotone")), "neighbour", "up", "-c", str(config)]
    process = subprocess.Popen([*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def delivered(manifest: Manifest, store: Path, sources: list[Source]) -> None:
    """A version at a site, its manifest beside, as `site_trust.deliver` keeps it."""
    install(manifest, sources, store)
    raw = encode(manifest)
    kept = store / "trust" / "manifests" / hashlib.sha256(raw).hexdigest()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(raw)


def main() -> None:
    """Prints a table."""
    options = argparse.ArgumentParser(description="The long link of a building.")
    options.add_argument("--sites", type=int, default=4)
    options.add_argument("--out", type=Path, help="write PATH.json")
    given = options.parse_args()
    os.environ["OLLAMA_MODELS"] = "/nonexistent"
    starter = open_store(os.environ.get("ECOTONE_TEST_STORE", ROOT / ".venv" / ".ecotone-test-store")).pull(
        "smollm2-135m"
    )
    paths = variants.write_all(Path(starter.path), WORK / "variants")
    report: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(dir=WORK) as temporary:
        folder = Path(temporary)
        base: Manifest | None = None
        for name in ("base", "FT-0.1pct"):
            about = About(name="smol", version=name, licence="Apache-2.0")
            earlier = () if base is None else (base,)
            base = publish([paths[name]], folder / "hub", about, earlier=earlier, base=base)
            with links.serving(folder / "hub", LOOPBACK_BYTES_PER_S, 0.0) as link:
                counts = []
                for number in range(given.sites):
                    before = link.wire_bytes
                    with contextlib.ExitStack() as stack:
                        sources: list[Source] = [HttpSource(link.url)]
                        if number:
                            sources.insert(0, Neighbour(stack.enter_context(neighbour(folder / "site-0"))))
                        delivered(base, folder / f"site-{number}", sources)
                    counts.append(link.wire_bytes - before + len(encode(base)))
            row = {"step": name, "model_bytes": base.bytes, "first_bytes": counts[0], "others_bytes": counts[1:]}
            report.append({**row, "building_bytes": sum(counts), "without_bytes": counts[0] * given.sites})
            print(
                f"{name}: the first site {counts[0] / 1e6:.2f} MB over the long link, each of the others "
                f"{max(counts[1:]) / 1e6:.2f} MB at most; the building {sum(counts) / 1e6:.1f} MB in place of "
                f"{counts[0] * given.sites / 1e6:.1f} MB"
            )
    if given.out is not None:
        given.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
