"""What hub and sites tell each other: wishes that are signed, reports that are content-free.

A wish and a report are levels and not events: each says all there is to say of its subject, so that one that was lost,
doubled or late harms nothing. Silence says nothing.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.values.errors import ConfigError

__all__ = [
    "ASSETS_MAX", "PINNED", "REPORT_BYTES_MAX", "AssetReport", "AssetState", "Figures", "MachineReport", "Report",
    "Terms", "Traffic",
]  # fmt: skip

ASSETS_MAX: Final = 256
REPORT_BYTES_MAX: Final = 256 << 10
"""Longest report, before it is packed."""

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Version = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")]
SiteName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
PINNED: Final = r"^[a-z0-9][a-z0-9._-]{0,63}@[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z"
"""NAME@VERSION."""
Pinned = Annotated[str, Meta(pattern=PINNED)]
Why = Annotated[str, Meta(pattern=r"^[a-z0-9_.]{0,64}\Z")]
"""A stable code, or `''`. Never words: words can hold content."""

AssetState = Literal["wanted", "fetching", "ready", "trying", "good", "failed", "refused"]
"""Of one version at one site:

    wanted     the hub wants it here; nothing has begun
    fetching   parts of it are here
    ready      it is here whole and checked, and not used yet
    trying     it is used, on trial: the version before is kept
    good       it is used, and its trial is over
    failed     its trial failed: the version before is used again, and this one is not tried until it is signed anew
    refused    it was never used: not verified, no room, no such machine
"""


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a new version must show at a site before it is good. Signed with the wish; each has a default.

    Attributes:
        hours_min, requests_min: It is tried for at least so long, and by at least so many requests.
        hours_max: A site that has not seen enough requests by then calls it good if nothing spoke against it.
        errors_over: Most that the share of failed requests may lie above the version before's: 0.02 = two in a hundred.
        latency_times: Most that the p95 of the first token may be, as a multiple of the version before's.
        parity_under: Most that the mean quality against the cloud may lie below the version before's, where known.
        memory_times: Most that its memory may be, as a multiple of the version before's.
        crashes_max: Crashes of its engine on trial, from which on it has failed.
        boots_max: Starts of the site on trial without an end of it, from which on it has failed.
    """

    hours_min: Amount = 1.0
    requests_min: Count = 50
    hours_max: Amount = 72.0
    errors_over: Annotated[float, Meta(ge=0, le=1)] = 0.02
    latency_times: Annotated[float, Meta(ge=1, le=1000)] = 1.5
    parity_under: Annotated[float, Meta(ge=0, le=1)] = 0.02
    memory_times: Annotated[float, Meta(ge=1, le=1000)] = 2.0
    crashes_max: Annotated[int, Meta(ge=1, le=1000)] = 3
    boots_max: Annotated[int, Meta(ge=1, le=1000)] = 3

    def __post_init__(self) -> None:
        if self.hours_max < self.hours_min:
            raise ValueError("hours_max is less than hours_min: a trial cannot end before it may")


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one version did at one site, in numbers.

    Attributes:
        hours: For so long it was used.
        errors: Requests that failed by its fault: no answer, a broken one, a crash.
        ttft_p50_ms, ttft_p95_ms: Time to the first token.
        decode_tok_s: Tokens a second of one answer.
        parity: Mean quality against the cloud, 1 = as good; None where nothing was compared.
        pairs: Answers that were compared.
        memory_bytes: Most that its engine took.
    """

    hours: Amount = 0.0
    requests: Count = 0
    errors: Count = 0
    ttft_p50_ms: Amount = 0.0
    ttft_p95_ms: Amount = 0.0
    decode_tok_s: Amount = 0.0
    parity: Annotated[float, Meta(ge=-1, le=2)] | None = None
    pairs: Count = 0
    crashes: Count = 0
    memory_bytes: Count = 0


class AssetReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version at one site: where it stands.

    Attributes:
        sha256: Of its manifest, as signed.
        attempt: Of the wish that brought it: a version that failed is tried again only at a higher one.
        since_s: Unix seconds by the site's reckoning (never below its time floor) of the last change of `state`.
        why: For `failed` and `refused`, the code of it: `crashes`, `errors`, `latency`, `parity`, `memory`, `boots`,
            `load`, or an error's code such as `delivery.segment`.
        bytes_left: Still to be fetched, while `fetching`.
        figures: On trial and after: this version's. before: The one's that it was compared with.
    """

    name: Name
    version: Version
    kind: Annotated[str, Meta(pattern=r"^[a-z]{1,20}\Z")]
    sha256: Digest
    state: AssetState
    attempt: Count = 0
    since_s: Amount = 0.0
    why: Why = ""
    bytes_left: Count = 0
    figures: Figures | None = None
    before: Figures | None = None


class MachineReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a site runs on, as far as it matters to what it can run."""

    cores: Count = 0
    memory_bytes: Count = 0
    models_bytes: Count = 0
    disk_free_bytes: Count = 0
    arch: Annotated[str, Meta(pattern=r"^[a-z0-9_]{0,20}\Z")] = ""
    read_bytes_s: Amount = 0.0
    """Weights that it reads a second while it writes an answer: decode speed times the model's bytes, measured."""


class Traffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests since `since_s`, in numbers."""

    since_s: Amount = 0.0
    requests: Count = 0
    at_edge: Count = 0
    at_cloud: Count = 0
    deferred: Count = 0
    refused: Count = 0
    failed: Count = 0
    cloud_usd: Amount = 0.0
    saved_usd: Amount = 0.0
    """What the answers of the edge would have cost at the dearest cloud target that might have been asked."""
    egress_bytes: Count = 0
    ttft_p50_ms: Amount = 0.0
    ttft_p95_ms: Amount = 0.0


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a site tells its hub. No field can hold content: numbers, names of assets, and stable codes.

    Attributes:
        seq: Counts up by one with each report that a site makes, for ever: the hub keeps the one with the highest.
        boot: Counts the starts of the site.
        made_s: Unix seconds by the site's reckoning.
        generation: Of the wish that the site has verified last; 0: none yet.
        fresh_s: When what it has verified was signed; 0: never.
        link: State of the site's link to the world.
        dropped: Reports that were never sent, as the outbox was full.
        trouble: Codes of what an operator should look at.
        pinned: Assets that somebody at the site holds fast: NAME@VERSION.
    """

    type: Literal["ecotone-report"] = "ecotone-report"
    format: Literal[1] = 1
    site: SiteName
    seq: Annotated[int, Meta(ge=1, le=1 << 53)]
    boot: Count = 0
    made_s: Amount
    software: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{0,40}\Z")] = ""
    generation: Count = 0
    fresh_s: Amount = 0.0
    assets: Annotated[tuple[AssetReport, ...], Meta(max_length=ASSETS_MAX)] = ()
    machine: MachineReport = MachineReport()
    traffic: Traffic = Traffic()
    link: Literal["up", "degraded", "down", "unknown"] = "unknown"
    rtt_ms: Amount = 0.0
    kbit_per_s: Amount = 0.0
    dropped: Count = 0
    trouble: Annotated[tuple[Why, ...], Meta(max_length=32)] = ()
    pinned: Annotated[tuple[Pinned, ...], Meta(max_length=ASSETS_MAX)] = ()


def decode_report(raw: bytes, site: str) -> Report:
    """A report that came over a wire or by stick.

    Raises:
        ConfigError: `hub.report`: it is too long, malformed, or another site's.
    """
    if len(raw) > REPORT_BYTES_MAX:
        raise ConfigError("hub.report", f"a report of {len(raw)} bytes: {REPORT_BYTES_MAX} are the most")
    try:
        report = msgspec.json.decode(raw, type=Report)
    except msgspec.DecodeError as error:
        raise ConfigError("hub.report", f"this is no report that this version can read: {error}") from error
    if report.site != site:
        raise ConfigError("hub.report", f"the report is of '{report.site}', and who brings it is '{site}'")
    return report
