"""What a configuration may say and probably does not mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from ecotone.config.build import join, meant
from ecotone.config.built_in import CLOUD_MODEL, CLOUD_URL
from ecotone.config.overlay import unknown_variables
from ecotone.config.tree import Config, LocalTarget, UrlTarget
from ecotone.values import Egress, Mode, Place

LABELS: Final = frozenset({
    "unknown", "opaque", "secret", "card", "account", "national_id", "contact", "person", "address", "medical", "legal",
    "financial", "hr", "private_mail", "place", "organisation", "date", "amount",
})  # fmt: skip
"""Labels that the site itself knows (`policy.DEFAULT_LABELS`); others come from `Ecotone-Labels`."""

WHOLE: Final = frozenset({"unknown", "opaque", "medical", "legal", "financial", "hr", "private_mail"})
"""Labels that stand for no single value."""

_HERE: Final = ("http://127.0.0.1", "http://localhost", "http://[::1]")
CAPABILITIES: Final = frozenset({
    "stream", "tools", "json_schema", "json_object", "logprobs", "n", "stop", "seed", "vision", "audio", "chat",
    "completions", "embeddings", "continue",
})  # fmt: skip
"""Words of `Features.needs`."""


def notes(config: Config, environ: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """What is allowed and worth a second look, one sentence each, with its path or variable."""
    found = (*_notes(config), *_environ_notes(config, environ))
    return (*(f"{path}: {message}" for path, message in found), *unknown_variables(environ))


def _notes(config: Config) -> Iterator[tuple[str, str]]:
    for name, target in config.targets.items():
        if isinstance(target, UrlTarget):
            yield from _url_notes(join("targets", name), target)
        else:
            yield from _local_notes(join("targets", name), target)
    yield from _model_notes(config)
    yield from _privacy_notes(config)
    yield from _hub_notes(config)
    regions = {target.region: None for target in config.targets.values() if isinstance(target, UrlTarget)}
    named = [region for region in regions if region is not None]
    for index, rule in enumerate(config.policy):
        label = rule.when.label
        known = (*LABELS, *config.privacy.labels, *(terms.label for terms in config.privacy.terms))
        if label is not None and label not in known and config.privacy.topic_examples is None:
            yield f"policy[{index}].when.label", _no_label(label, config)
        for region in rule.when.to_region:
            if region not in regions:
                hint = meant(region, named)
                yield f"policy[{index}].when.to_region", f"no target is in the region {region!r}{hint}"


def _url_notes(path: str, target: UrlTarget) -> Iterator[tuple[str, str]]:
    if target.at is Place.CLOUD:
        if target.price is None:
            yield path, "no `price`: its answers count as free, so that a budget in USD cannot hold it"
        if target.region is None:
            yield path, "no `region`: a rule with `to_region` matches it whatever the region"
        if target.url.startswith("http:"):
            yield f"{path}.url", "http: requests and the key leave the site unencrypted"
    for word in target.capabilities or ():
        if word not in CAPABILITIES:
            yield f"{path}.capabilities", f"unknown capability {word!r}{meant(word, CAPABILITIES)}"


def _local_notes(path: str, target: LocalTarget) -> Iterator[tuple[str, str]]:
    if target.model.startswith(("file:", "pypi:", "hf:")) and not (target.sha256 or "#sha256=" in target.model):
        yield path, "no `sha256`: the digest that is seen first is the one that is trusted"


def _model_notes(config: Config) -> Iterator[tuple[str, str]]:
    for name, model in config.models.items():
        path = join("models", name)
        places = {config.targets[target].at for target in model.targets if target in config.targets}
        is_learning = model.quality is not None or model.mode is Mode.SHADOW
        if is_learning and len(places) == 1:
            yield path, f"all its targets are at the {places.pop()}: there is nothing to compare, so nothing is learned"


def _privacy_notes(config: Config) -> Iterator[tuple[str, str]]:
    if not config.privacy.detectors:
        yield "privacy.detectors", "nobody looks: what carries no label from its caller may leave the site"
    if config.privacy.terms and "patterns" not in config.privacy.detectors:
        yield "privacy.terms", "they are not looked for: `patterns` does that, and is not among the detectors"
    if config.privacy.topic_examples is not None and "topics" not in config.privacy.detectors:
        yield "privacy.topic_examples", "they teach nobody: `topics` is not among the detectors"
    words = [(f"privacy.labels.{name}", name, label.egress) for name, label in config.privacy.labels.items()]
    words += [(f"policy[{index}]", rule.when.label or "", rule.egress) for index, rule in enumerate(config.policy)]
    for path, label, egress in words:
        if egress is Egress.PSEUDONYMISE and label in WHOLE:
            yield path, f"{label!r} stands for a whole text, which cannot be replaced: such data stays at the site"
        elif egress is Egress.PSEUDONYMISE:
            yield path, "pseudonymising is best effort: what the detectors do not see goes as it is"


def _hub_notes(config: Config) -> Iterator[tuple[str, str]]:
    hub = config.hub
    if hub is None:
        return
    if hub.url.startswith("http:") and not hub.url.startswith(_HERE):
        yield "hub.url", "http: who sits on the link can read reports and use the site's session"
    if hub.region is None and any(rule.when.to_region for rule in config.policy):
        yield "hub.region", "is missing: a rule with `to_region` matches the hub whatever its region"


def _no_label(label: str, config: Config) -> str:
    words = [*LABELS, *config.privacy.labels]
    return f"no detector sets the label {label!r}{meant(label, words)}; only a caller's `Ecotone-Labels` can"


def _environ_notes(config: Config, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    urls = [target.url for target in config.targets.values() if isinstance(target, UrlTarget)]
    for name in (CLOUD_URL, CLOUD_MODEL):
        if environ.get(name) and environ.get(CLOUD_URL) not in urls:
            yield name, "is not used: the configuration file says which targets there are"
