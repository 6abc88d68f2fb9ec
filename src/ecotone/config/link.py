"""The sections `link`, `budgets` and `proxy`: when, how much and which way things go over the site's link."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from ecotone.config.kinds import Amount, Hostish, Secret, Section

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
DAYS = rf"^(daily|{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*)$"

Days = Annotated[
    str, Meta(pattern=DAYS, max_length=64, extra={"is": "`daily`, or days such as `mon-fri` or `sat,sun`"})
]
Time = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", extra={"is": "a time of day such as `22:00`"})]
Zone = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$",
        extra={"is": "a time zone such as `Europe/Berlin`, `UTC` or `local`"},
    ),
]


def days(text: str) -> tuple[int, ...]:
    """The days that a text names, 0 is Monday: `daily`, `mon-fri`, `sat,sun`; `fri-mon` goes over the week's end."""
    if text == "daily":
        return tuple(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = _DAYS.index(first)
        long = (_DAYS.index(last or first) - begin) % 7
        found |= {(begin + day) % 7 for day in range(long + 1)}
    return tuple(sorted(found))


def minutes(text: str) -> int:
    """Minutes after midnight of a time such as `22:00`."""
    hours, _, rest = text.partition(":")
    return 60 * int(hours) + int(rest)


class Window(Section, frozen=True, kw_only=True):
    """A time in which work that can wait may go over the link."""

    days: Annotated[
        Days, Meta(description="Days on which it begins: `daily`, or such as `mon-fri`, `sat,sun`, `fri-mon`.")
    ] = "daily"
    from_: Annotated[Time, Meta(description="When it begins, site time, such as `22:00`.")] = field(name="from")
    to: Annotated[
        Time, Meta(description="When it ends; not after `from`, it is the day after. The same is a whole day.")
    ]
    egress_mb: Annotated[
        Amount | None,
        Meta(
            description="Megabytes (1,000,000 bytes) of request bodies of work that can wait, each time; what uses it "
            "up is still sent. Default: no limit."
        ),
    ] = None


class Link(Section, frozen=True, kw_only=True):
    """A link that is metered, or free at night only."""

    windows: Annotated[
        tuple[Window, ...],
        Meta(
            description="Jobs, batches and paid comparisons go to the cloud only within these; else they wait "
            "(`deferred.window`), or the edge does them. Default: at any time."
        ),
    ] = ()
    timezone: Annotated[
        Zone, Meta(description="Site time: a name of the IANA database, or `local`, the machine's own.")
    ] = "UTC"
    interactive: Annotated[
        Literal["allowed", "refused"],
        Meta(
            description="Whether requests whose callers wait may go to the cloud outside the windows. `refused`: no "
            "request goes there then, the edge serves what it can."
        ),
    ] = "allowed"


class Budgets(Section, frozen=True, kw_only=True):
    """What may go to the cloud in a UTC day."""

    cloud_usd_per_day: Annotated[Amount | None, Meta(description="US dollars. Default: no limit.")] = None
    egress_mb_per_day: Annotated[
        Amount | None, Meta(description="Megabytes (1,000,000 bytes) of request bodies. Default: no limit.")
    ] = None


class Proxy(Section, frozen=True, kw_only=True):
    """The HTTP proxy through which the site reaches cloud targets and its hub. Without this section none is used, and
    variables such as HTTPS_PROXY mean nothing to a running site."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^http://[^\s/@?#]+/?$",
            max_length=512,
            description="Its address, `http://HOST:PORT`. It is asked for a tunnel (`CONNECT`) to each target, looks "
            "the target's name up, and cannot look into its TLS.",
            extra={"is": "an address like http://proxy.example.org:3128, without a user or a path"},
        ),
    ]
    credentials: Annotated[
        Secret | None, Meta(description="`USER:PASSWORD` for it, by reference: `env:NAME` or `file:PATH`.")
    ] = None
    direct: Annotated[
        tuple[Hostish, ...],
        Meta(max_length=64, description="Hosts that are reached without it; `.example.org` is all below that name."),
    ] = ()
