"""What of a site decides on egress, built from a configuration in this process, without a server or a worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone import privacy
from ecotone.cli.policy_trial import Site, specs
from ecotone.config.tree import Config
from ecotone.privacy.patterns import Patterns
from ecotone.values import ConfigError

PATTERNS: Final = "patterns"


def site(config: Config) -> Site:
    """The detectors and the policy that a site with this configuration has.

    Raises:
        ConfigError: a file of terms or of examples cannot be read.
    """
    from ecotone.detectors import DetectorError, load
    from ecotone.runtime import build

    wanted = config.privacy.detectors
    quick, versions, missing, dear = {}, {}, {}, {}
    if PATTERNS in wanted:
        patterns = Patterns(_terms(config))
        quick[PATTERNS], versions[PATTERNS] = patterns.find, patterns.version
    given: Mapping[str, Any] = {"store": config.store.path, "topics_examples": _topic_examples(config)}
    for name in (name for name in wanted if name != PATTERNS):
        try:
            dear[name] = load(name, given)
            versions[name] = dear[name].version
        except DetectorError as error:
            missing[name] = error.why
    look = privacy.Look(quick, tuple(name for name in wanted if name != PATTERNS))
    return Site(build.policy(config)[0], look, dear, versions, missing, specs(config))


def _terms(config: Config) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for index, terms in enumerate(config.privacy.terms):
        lines = _lines(terms.file, f"privacy.terms[{index}].file")
        found.setdefault(terms.label, []).extend(line for line in lines if not line.startswith("#"))
    return found


def _topic_examples(config: Config) -> list[dict[str, str]]:
    path = config.privacy.topic_examples
    if path is None:
        return []
    try:
        return [msgspec.json.decode(line, type=dict[str, str]) for line in _lines(path, "privacy.topic_examples")]
    except msgspec.DecodeError as error:
        raise ConfigError("config.invalid", f"privacy.topic_examples: {path}: {error}") from error


def _lines(path: str, where: str) -> list[str]:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config.unreadable", f"{where}: {path} cannot be read: {type(error).__name__}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
