"""Tables of what sites reported, of releases, of publishing over the wire, and of work that is due."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, String, Table, Text

from ecotone.hub.meta import metadata

__all__ = [
    "garbage", "pins", "publications", "release_sites", "releases", "report_assets", "report_changes", "reports",
    "tasks", "upload_parts", "uploads",
]  # fmt: skip

_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""A number that counts up by itself: SQLite does so for INTEGER only."""

reports: Final = Table(
    "reports",
    metadata,
    # The newest report of each site, verbatim in `raw`; what many are asked for at once stands in columns.
    Column("site", String(40), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("came_s", Float, nullable=False),
    Column("made_s", Float, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("fresh_s", Float, nullable=False),
    Column("software", String(40), nullable=False),
    Column("arch", String(20), nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("link", String(10), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("at_edge", BigInteger, nullable=False),
    Column("at_cloud", BigInteger, nullable=False),
    Column("deferred", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("egress_bytes", BigInteger, nullable=False),
    Column("cloud_usd", Float, nullable=False),
    Column("saved_usd", Float, nullable=False),
    Column("bytes_left", BigInteger, nullable=False),
    Column("dropped", BigInteger, nullable=False),
    Column("trouble", Integer, nullable=False),
    Column("pinned", Text, nullable=False),
    Column("raw", Text, nullable=False),
)

report_assets: Final = Table(
    "report_assets",
    metadata,
    Column("site", String(40), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("why", String(64), nullable=False),
    Column("since_s", Float, nullable=False),
    # By the hub's clock, when the state was first reported.
    Column("came_s", Float, nullable=False),
    Column("bytes_left", BigInteger, nullable=False),
    Column("figures", Text),
    Column("before", Text),
    Index("report_assets_of", "name", "version"),
)

report_changes: Final = Table(
    "report_changes",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("site", String(40), nullable=False),
    Column("at_s", Float, nullable=False),
    Column("name", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("why", String(64), nullable=False),
    Index("report_changes_of", "site", "number"),
)

releases: Final = Table(
    "releases",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    # Of `standing`, so that it can be asked for.
    Column("state", String(20), nullable=False),
    Column("why", String(64), nullable=False),
    Column("by", String(80), nullable=False),
    Column("created_s", Float, nullable=False),
    Column("looked_s", Float, nullable=False),
    Column("ended_s", Float, nullable=False),
    # Counts looks at which wishes were noted: a look that was killed does not note them twice.
    Column("looks", BigInteger, nullable=False),
    # JSON: `releases_values.Scope`, regions, `fleet.waves.Plan`, the assets to wish (best first), `Standing`, `Tally`.
    Column("scope", Text, nullable=False),
    Column("residency", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("variants", Text, nullable=False),
    Column("standing", Text, nullable=False),
    Column("tally", Text, nullable=False),
    Index("releases_of", "name", "state"),
)

release_sites: Final = Table(
    "release_sites",
    metadata,
    # A site for which a release was wished, noted before the wish is signed.
    Column("release", String(20), primary_key=True),
    Column("site", String(40), primary_key=True),
    Column("name", String(64), nullable=False),
    # JSON: the assets of that name to go back to.
    Column("before", Text, nullable=False),
    Column("wished_s", Float, nullable=False),
    Column("back_s", Float, nullable=False),
    Index("release_sites_of", "name", "site"),
)

pins: Final = Table(
    "pins",
    metadata,
    Column("site", String(40), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", String(64), nullable=False),
    Column("by", String(80), nullable=False),
    Column("at_s", Float, nullable=False),
)

uploads: Final = Table(
    "uploads",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("file", String(128), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("by", String(80), nullable=False),
    Column("touched_s", Float, nullable=False),
)

upload_parts: Final = Table(
    "upload_parts",
    metadata,
    Column("upload", String(20), primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("object", String(120), nullable=False),
)

publications: Final = Table(
    "publications",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("publisher", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("why", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("by", String(80), nullable=False),
    Column("touched_s", Float, nullable=False),
    # JSON: what the publisher says of it, and its uploads.
    Column("about", Text, nullable=False),
    Column("uploads", Text, nullable=False),
    Column("manifest", LargeBinary),
    Column("sha256", String(64), nullable=False),
    Column("signed", LargeBinary),
)

garbage: Final = Table(
    "garbage",
    metadata,
    # What nothing needed when it was first looked for; it goes when that has been so for the time of grace.
    Column("object", String(255), primary_key=True),
    Column("seen_s", Float, nullable=False),
)

tasks: Final = Table(
    "tasks",
    metadata,
    # A task is one kind of work on one subject, done again and again: `number` counts how often it was.
    Column("kind", String(20), primary_key=True),
    Column("subject", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("due_s", Float, nullable=False),
    # Counts calls to wake: one that comes while the task is at work is not lost.
    Column("woken", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("why", String(64), nullable=False),
    Index("tasks_due", "due_s"),
)
