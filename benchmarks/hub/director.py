"""What many sites cost the director: bytes that a site reads at a change, one list against bins; time to sign wishes.

    .venv/bin/python benchmarks/hub/director.py [--sites 10,100,1000,10000] [--write benchmarks/results]

Nothing is sent: what is counted are the files that a site of this program asks for when it knows all that stood there
before the change. Wishes are signed into a folder and SQLite.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ecotone.delivery import assigning, hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.database import Database
from ecotone.hub.wishes import Wishes
from ecotone.transfer import Manifest, Part, Segment
from ecotone.trust import Known, Memory, Refresh, Roots, Wanted, writing


class Row(msgspec.Struct):
    """One layout with so many sites."""

    sites: int
    layout: str
    bytes_read: int
    snapshot_bytes: int
    all_s: float
    one_s: float


class Director:
    """A hub with one asset in two versions, and wishes for some sites."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hub"
        self.database = Database.open(str(folder / "hub.db"))
        self.hub = Hub(self.folder, time.time)
        self.hub.create(["models"])
        keys = hub_keys.beside(self.folder)
        for version in ("1", "2"):
            self.hub.publish(_manifest(version), hub_keys.read(keys / "publisher-models.key"))
        self.hub.refresh([hub_keys.read(keys / "online.key")])
        self.wishes = Wishes(self.database, self.hub, hub_keys.read(keys / "director.key"))
        roots = Roots.decode(self.hub.pins())
        self.first = Memory(
            site="site-00007", catalogue=Known(bytes(roots.catalogue)), director=Known(bytes(roots.director)), pinned=""
        )

    def set(self, sites: list[str], version: str) -> float:
        """Seconds that it took."""
        asset = self.hub.find("smol", version).asset
        began_s = time.monotonic()
        self.wishes.set({site: [asset] for site in sites}, "bench")
        return time.monotonic() - began_s

    def read(self, memory: Memory) -> tuple[dict[str, int], Memory]:
        """Metadata of the director that a site asks for, in bytes."""
        asked: dict[str, int] = {}
        refresh = Refresh(memory, time.time(), is_import=False)
        walk = refresh.walk()
        wanted: Wanted = next(walk)
        while True:
            path = self.folder / wanted.path
            content = path.read_bytes() if path.exists() else None
            if wanted.path.startswith("director/metadata/") and content is not None:
                asked[wanted.path] = len(content)
            try:
                wanted = walk.send(content)
            except StopIteration:
                return asked, refresh.memory


def _manifest(version: str) -> Manifest:
    digest = hashlib.sha256(version.encode()).hexdigest()
    segments = (Segment(digest, 1, 0, 0),)
    part = Part(path="file.txt", bytes=1, blake3=digest, sha256=digest, format="text", segments=segments)
    return Manifest(name="smol", version=version, kind="model", licence="MIT", packs=(digest,), parts=(part,))


def measured(sites: int, list_max: int) -> Row:
    """One row."""
    assigning.LIST_MAX = list_max  # type: ignore[misc]  # the yardstick: one list, however long
    with tempfile.TemporaryDirectory() as folder:
        own = Director(Path(folder))
        all_s = own.set([f"site-{n:05}" for n in range(max(sites, 8))], "1")
        _, memory = own.read(own.first)
        one_s = own.set(["site-00007"], "2")
        asked, _ = own.read(memory)
        bits = writing.bits(own.hub.director.targets)
        own.database.close()
    snapshot = sum(size for name, size in asked.items() if name.endswith(".snapshot.json"))
    return Row(sites, f"{1 << bits} bins" if bits else "one list", sum(asked.values()), snapshot, all_s, one_s)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", default="10,100,1000,10000")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    known = assigning.LIST_MAX
    rows = [measured(int(n), most) for n in given.sites.split(",") for most in (1 << 30, known)]
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "",
        "| sites | layout | bytes a site reads at a change | of that the snapshot | a wish for all, s | for one, s |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.sites:,} | {row.layout} | {row.bytes_read:,} | {row.snapshot_bytes:,} | "
        f"{row.all_s:.2f} | {row.one_s:.3f} |"
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        name = f"director-{datetime.now(UTC):%Y-%m-%d}"
        (given.write / f"{name}.md").write_text(f"# What many sites cost the director\n\n{text}")
        (given.write / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=1))


if __name__ == "__main__":
    main()
