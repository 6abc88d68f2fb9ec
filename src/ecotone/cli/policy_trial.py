"""Runs the examples of `ecotone policy test` through what a site would do: the same detectors, the same policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click
import msgspec

from ecotone import config as settings
from ecotone import privacy
from ecotone.cli.policy_table import Example, Known
from ecotone.config.tree import Config, LocalTarget
from ecotone.policy import Policy, constrain
from ecotone.values import Egress, Endpoint, Features, Finding, Findings, Limit, Place, Request, TargetSpec

CALLER: Final = "the caller"


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """Policy's word on one target, by which rule, and which labels it wants replaced."""

    egress: Egress
    rule: str
    replace: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """What came of one example.

    Attributes:
        labels: Label -> who saw what, such as `email by patterns`. No content.
        differs: What is not as expected, in words; empty where all is.
    """

    name: str
    line: int
    labels: Mapping[str, tuple[str, ...]]
    egress: Mapping[str, Said]
    differs: tuple[str, ...]


class Report(msgspec.Struct, frozen=True):
    """What came of all.

    Attributes:
        detectors: Name -> version.
        missing: Name -> why it does not look; every example is then `unknown`, as it would be at the site.
    """

    detectors: Mapping[str, str]
    missing: Mapping[str, str]
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> int:
        """Examples that are not as expected."""
        return sum(bool(verdict.differs) for verdict in self.verdicts)


class Site(msgspec.Struct, frozen=True):
    """What of a site decides on egress, without its shells.

    Attributes:
        dear: The detectors that a site runs in its worker, here in this process.
        specs: The cloud targets.
    """

    policy: Policy
    look: privacy.Look
    dear: Mapping[str, Any]
    detectors: Mapping[str, str]
    missing: Mapping[str, str]
    specs: tuple[TargetSpec, ...]


def known(config: Config) -> Known:
    """The names that examples may use."""
    places: dict[Place, list[str]] = {Place.CLOUD: [], Place.EDGE: []}
    for name, target in config.targets.items():
        places[target.at].append(name)
    models = tuple(settings.model_names(config))
    return Known(tuple(config.keys), models, tuple(places[Place.CLOUD]), tuple(places[Place.EDGE]))


def specs(config: Config) -> tuple[TargetSpec, ...]:
    """The cloud targets, as policy sees them."""
    return tuple(
        TargetSpec(name=name, at=target.at, model=target.model, region=target.region, surrogates=target.surrogates)
        for name, target in config.targets.items()
        if not isinstance(target, LocalTarget) and target.at is Place.CLOUD
    )


def run(site: Site, examples: Sequence[Example]) -> Report:
    """All examples, in the order of the file."""
    return Report(site.detectors, site.missing, tuple(_verdict(site, example) for example in examples))


def show(report: Report) -> None:
    """Prints a line for each example, and what differs below it."""
    for name, why in report.missing.items():
        click.echo(f"detector {name} does not look ({why}): whatever it should have seen is `unknown`", err=True)
    width = max((len(verdict.name) for verdict in report.verdicts), default=0)
    wide = max((len(_labels(verdict)) for verdict in report.verdicts), default=0)
    for verdict in report.verdicts:
        words = ", ".join(f"{target}: {said.egress}" for target, said in verdict.egress.items())
        mark = "differs" if verdict.differs else "ok     "
        click.echo(f"{mark}  {verdict.name:{width}}  {_labels(verdict):{wide}}  {words}".rstrip())
        for line in verdict.differs:
            click.echo(f"         {line}")
    count = len(report.verdicts)
    click.echo(f"{count - report.failed} of {count} examples are as expected")


def _labels(verdict: Verdict) -> str:
    return ", ".join(verdict.labels) or "–"


def _verdict(site: Site, example: Example) -> Verdict:
    findings = _findings(site, example)
    labels = _seen(findings, example)
    limits = {
        spec.name: constrain(site.policy, findings, spec, key=example.key, model=example.model) for spec in site.specs
    }
    differs = (*_labels_differ(labels, example), *_words_differ(limits, example))
    egress = {name: Said(limit.egress, limit.rule, limit.replace) for name, limit in limits.items()}
    return Verdict(example.name, example.line, labels, egress, differs)


def _findings(site: Site, example: Example) -> Findings:
    request = Request(
        id="policy-test", endpoint=Endpoint.CHAT, model=example.model, body=msgspec.json.encode(example.body),
        is_stream=False, is_usage_asked=False, features=Features(0), received_at_s=0.0, key=example.key,
        labels=example.labels,
    )  # fmt: skip
    findings = privacy.inspect(request, site.look)
    seen = privacy.unseen(findings, site.look)
    return privacy.deepen(request, findings, site.look, seen, _looked(site, seen))


def _looked(site: Site, seen: privacy.Unseen) -> tuple[list[list[Finding]], list[tuple[str, str]]]:
    from ecotone.detectors import checked

    found: list[list[Finding]] = [[] for _ in seen.texts]
    failed = []
    for name in seen.names:
        detector = site.dear.get(name)
        if detector is None:
            failed.append((name, site.missing.get(name, "absent")))
            continue
        try:
            answer = checked(seen.texts, detector.find(seen.texts), name)
        except Exception as error:  # noqa: BLE001 - fail closed, as the site's worker does
            failed.append((name, type(error).__name__))
            continue
        for at, ones in enumerate(answer):
            found[at] += ones
    return found, failed


def _seen(findings: Findings, example: Example) -> dict[str, tuple[str, ...]]:
    """Label -> who saw what."""
    by: dict[str, dict[str, None]] = {label: {} for label in findings.labels}
    for _, one in findings.spots:
        by[one.label][f"{one.kind} by {one.detector}"] = None
    for label in example.labels:
        by[label][CALLER] = None
    if privacy.UNKNOWN in by:
        by[privacy.UNKNOWN].update(dict.fromkeys(findings.missing))
    return {label: tuple(who) for label, who in by.items()}


def _labels_differ(labels: Mapping[str, tuple[str, ...]], example: Example) -> Iterator[str]:
    expected = example.expected
    wanted = (*expected.contain, *(expected.exactly or ()))
    for label in dict.fromkeys(wanted):
        if label not in labels:
            yield f"labels: expected {label}, which was not found"
    extra = [label for label in labels if expected.exactly is not None and label not in expected.exactly]
    for label in dict.fromkeys((*extra, *(label for label in expected.without if label in labels))):
        who = ", ".join(labels[label])
        yield f"labels: did not expect {label}" + (f" ({who})" if who else "")


def _words_differ(limits: Mapping[str, Limit], example: Example) -> Iterator[str]:
    expected = example.expected.egress
    for name, limit in limits.items():
        word = expected.get(name, expected.get(""))
        if word is not None and word is not limit.egress:
            yield f"{name}: expected {word}, got {limit.egress} ({limit.rule})"
