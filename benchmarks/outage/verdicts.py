"""From what callers saw to figures, verdicts and a page to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from callers import INTERACTIVE_S, JOB_S, Told

PROTOCOL = f"""\
60 % requests in one piece and 30 % streams with {INTERACTIVE_S:g} s to the whole answer, 10 % jobs with {JOB_S:g} s
(`Prefer: respond-async`; LiteLLM has no queue and gets them as plain requests with the same time). The cloud and the
edge server are measuring instruments; TLS to the cloud, by name. Both gateways prefer the cloud. They take turns within
a trouble, so each has the link for itself. LiteLLM's cloud deployment has `timeout: 2` and `stream_timeout: 2`, so that
its fallback fits in the callers' time; no retries, `allowed_fails: 1`, `cooldown_time: 5`.

Answered: the whole right text within the deadline. Explained: an error with a code and words, in OpenAI's form.
Attempts and arrivals are those of requests other than jobs, which may be tried again; LiteLLM does not tell its
attempts. Answers of the cloud: the share of all requests that the preferred target answered."""
VERDICTS = {True: "met", False: "not met", None: "not measured"}
CLOUD_NAMES = ("large-1", "assistant")
"""LiteLLM names the group that was asked for, and another one where its fallback answered."""
COLUMNS = (
    "trouble", "gateway", "answered in time", "late", "errors, explained", "unexplained", "TTFT p50 s", "TTFT p99 s",
    "failed attempts, most", "arrivals at the cloud, most", "answers of the cloud", "kB over the link",
    "cloud used again after s",
)  # fmt: skip
ENDS = ("answered", "late", "explained", "unexplained")


def quantile(values: Sequence[float], q: float) -> float | None:
    """The value below which this share lies, or None of nothing."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3) if ordered else None


def figures(told: Sequence[Told], seen: Mapping[str, int]) -> dict[str, Any]:
    """What is reported of one trouble.

    Args:
        seen: How often each request arrived at the cloud.
    """
    live = [one for one in told if one.ask.kind != "job"]
    jobs = [one for one in told if one.ask.kind == "job"]
    admitted = [one.attempts for one in live if one.attempts is not None]
    return {
        "count": len(told),
        "ends": _ends(told),
        "ends_by_kind": {
            kind: _ends([one for one in told if one.ask.kind == kind]) for kind in ("json", "stream", "job")
        },
        "whys": dict(Counter(f"{one.ask.kind}: {one.why}" for one in told if one.end != "answered").most_common(6)),
        "ttft_s_p50": quantile([one.ttft_s for one in live if one.ttft_s is not None], 0.5),
        "ttft_s_p99": quantile([one.ttft_s for one in live if one.ttft_s is not None], 0.99),
        "job_s_max": quantile([one.total_s for one in jobs if one.end == "answered"], 1.0),
        "places": dict(Counter(one.place for one in told if one.place)),
        "cloud_answers": sum(one.place in CLOUD_NAMES for one in told if one.end == "answered"),
        "cloud_arrivals_max": max((seen.get(one.ask.name, 0) for one in live), default=0),
        "failed_attempts": {"mean": round(sum(admitted) / len(admitted), 3), "max": max(admitted)}
        if admitted
        else None,
    }


def _ends(told: Sequence[Told]) -> dict[str, int]:
    counted = Counter(one.end for one in told)
    return {end: counted.get(end, 0) for end in ENDS}


def totals(phases: Mapping[str, Any]) -> dict[str, Any]:
    """Over all troubles."""
    ends = {end: sum(one["ends"][end] for one in phases.values()) for end in ENDS}
    count = sum(ends.values())
    admitted = [one["failed_attempts"]["max"] for one in phases.values() if one["failed_attempts"]]
    return {
        "count": count,
        "ends": ends,
        "answered_share": round(ends["answered"] / count, 4) if count else None,
        "ttft_s_p99_worst": max((one["ttft_s_p99"] or 0.0 for one in phases.values()), default=None),
        "link_bytes": sum(one["link_bytes"] for one in phases.values()),
        "failed_attempts_max": max(admitted, default=None),
        "jobs": {end: sum(one["ends_by_kind"]["job"][end] for one in phases.values()) for end in ENDS},
    }


def goals(all_of: Mapping[str, Any]) -> list[tuple[str, str, bool | None]]:
    """The goals of issue 4: (what, found, is met); None where nobody tells."""
    share, ends, jobs = all_of["answered_share"], all_of["ends"], all_of["jobs"]
    attempts = all_of["failed_attempts_max"]
    return [
        ("all requests answered within their deadline", f"{share:.2%}", share == 1.0),
        ("no unexplained error", str(ends["unexplained"]), ends["unexplained"] == 0),
        (
            "at most one failed attempt per request",
            "not told" if attempts is None else str(attempts),
            None if attempts is None else attempts <= 1,
        ),
        (
            "deferred work completes",
            f"{jobs['answered']} of {sum(jobs.values())}",
            jobs["answered"] == sum(jobs.values()),
        ),
    ]


def page(found: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["# Outage: what callers see while the link is in trouble", "", _how(found), "", PROTOCOL, ""]
    for name, gateway in found["gateways"].items():
        lines.append(f"- {name}: {gateway['version']}")
    lines += ["", *_table(found)]
    for name, gateway in found["gateways"].items():
        all_of = totals(gateway["phases"])
        lines += ["", f"## {name}: overall", "", "| goal | found | |", "|---|---|---|"]
        lines += [f"| {what} | {value} | {VERDICTS[met]} |" for what, value, met in goals(all_of)]
        lines += [
            "",
            f"Worst p99 of TTFT {all_of['ttft_s_p99_worst']} s; {all_of['link_bytes'] / 1e6:.2f} MB over the link.",
        ]
        wrong = [f"- {trouble}: {one['whys']}" for trouble, one in gateway["phases"].items() if one["whys"]]
        lines += ["", "What was not answered in time:", "", *wrong] if wrong else []
    lines += ["", "## The troubles", ""]
    lines += [f"- {name}: {what}" for name, what in found["troubles"].items()]
    return "\n".join(lines) + "\n"


def _how(found: Mapping[str, Any]) -> str:
    seconds = f"{found['seconds_each']:.0f} s for each trouble (15 % before it, 65 % in it, 20 % after it)"
    return (
        f"{found['date']}, seed {found['seed']}, {found['requests']} requests for each gateway, {seconds}, "
        f"load average {found['load']}. Command: `benchmarks/outage/run.py`."
    )


def _table(found: Mapping[str, Any]) -> list[str]:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for trouble in found["troubles"]:
        for name, gateway in found["gateways"].items():
            one = gateway["phases"][trouble]
            ends, attempts = one["ends"], one["failed_attempts"]
            back = "> 25" if one["back_s"] is None else one["back_s"]
            lines.append(
                f"| {trouble} | {name} | {ends['answered']} of {one['count']} | {ends['late']} | {ends['explained']} "
                f"| {ends['unexplained']} | {one['ttft_s_p50']} | {one['ttft_s_p99']} "
                f"| {attempts['max'] if attempts else '-'} | {one['cloud_arrivals_max']} "
                f"| {one['cloud_answers'] / one['count']:.0%} "
                f"| {one['link_bytes'] / 1e3:.0f} | {back} |"
            )
    return lines
