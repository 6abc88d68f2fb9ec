"""The section `hub`: where a site's models come from, and what it tells there."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from ecotone.config.kinds import Region, Section, Text

__all__ = ["TARGET", "Hub"]

TARGET: Final = "hub"
"""What the hub is called in the ledger, in `policy` and in metrics: no target may have this name beside it."""


class Hub(Section, frozen=True, kw_only=True):
    """The hub that this site belongs to. All but `url` and the deliveries counts only once it has joined."""

    url: Annotated[
        str, Meta(pattern=r"^https?://\S+$", description="The hub's address.", extra={"is": "an http(s) address"})
    ]
    mirrors: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^(neighbour\+)?https?://\S+$",
                    extra={"is": "an http(s) address, or neighbour+http://HOST:PORT"},
                ),
            ],
            ...,
        ],
        Meta(
            max_length=16,
            description="Addresses nearer by that have the hub's folder or its `packs` alone, or "
            "`neighbour+http://HOST:PORT`, a site that gives what it holds: weights are fetched there first and "
            "checked alike. What is signed comes from `url`.",
        ),
    ] = ()
    kbit_per_s_max: Annotated[
        Annotated[int, Meta(ge=8, le=100_000_000)] | None,
        Meta(description="Most that a delivery takes of the link, kbit/s. Default: no limit."),
    ] = None
    in_windows: Annotated[
        bool,
        Meta(description="Whether deliveries wait for `link.windows`: outside them the hub is not asked for weights."),
    ] = False
    deliver: Annotated[
        Literal["auto", "command"],
        Meta(
            description="`auto`: a site that has joined takes what the hub wants there by itself. `command`: only "
            "`ecotone models pull hub:NAME` does."
        ),
    ] = "auto"
    reports: Annotated[
        Literal["on", "off"],
        Meta(
            description="Whether a site that has joined tells its hub how it is: numbers, names of assets and stable "
            "codes, never content (`ecotone status --sent`). `off`: it only asks what is wanted."
        ),
    ] = "on"
    report_minutes: Annotated[
        float, Meta(ge=0.05, le=1440, description="Minutes between two reports where nothing changes.")
    ] = 15.0
    report_kb_per_day: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Most that reports take in a UTC day, kilobytes (1,000 bytes).")
    ] = 2000
    poll_s: Annotated[
        float,
        Meta(
            ge=1,
            le=300,
            description="Seconds that the hub may hold back its answer to 'is there anything new?' while there is "
            "nothing; then it is asked again.",
        ),
    ] = 55.0
    pause_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Seconds between two such questions. More than 0 saves bytes on a metered link, and news come "
            "so much later.",
        ),
    ] = 0.0
    region: Annotated[
        Region | None, Meta(description="Where the hub's data rests, such as `eu`; policy can speak about it.")
    ] = None
    ca_file: Annotated[
        Text | None, Meta(description="PEM file with the authorities to trust for the hub instead of the system's.")
    ] = None
