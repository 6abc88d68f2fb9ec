"""What of a site decides on egress, built from a configuration in this process, without a server or a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone.cli.policy_trial import Site, specs
from ecotone.config import Config
from ecotone.values import ConfigError

PATTERNS: Final = "patterns"


def site(config: Config) -> Site:
    """The detectors and the policy that a site with this configuration has; those of the worker run here.

    Raises:
        ConfigError: a file of terms or of examples cannot be read.
    """
    from ecotone.detectors import DetectorError, load
    from ecotone.runtime import build
    from ecotone.runtime.inspecting import Inspecting

    look = Inspecting(Path(config.store.path).expanduser()).arrange(config, is_cloud_off=False)
    given = {"store": config.store.path, "topics_examples": _topic_examples(config)}
    dear: dict[str, Any] = {}
    missing = {name: "absent" for name in config.privacy.detectors if name not in (*look.quick, *look.dear)}
    for name in look.dear:
        try:
            dear[name] = load(name, given)
        except DetectorError as error:
            missing[name] = error.why
    versions = {name: str(detector.version) for name, detector in dear.items()}
    if PATTERNS in look.quick:
        versions = {PATTERNS: str(look.quick[PATTERNS].__self__.version), **versions}  # type: ignore[attr-defined]  # it is a method of `Patterns`
    return Site(build.policy(config)[0], look, dear, versions, missing, specs(config))


def _topic_examples(config: Config) -> list[dict[str, str]]:
    """The site's own examples; `Inspecting` has found them right."""
    path = config.privacy.topic_examples
    if path is None or "topics" not in config.privacy.detectors:
        return []
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError("config.unreadable", f"privacy.topic_examples: {path}: {error.strerror}") from error
    return [
        msgspec.json.decode(line, type=dict[str, str]) for line in lines if line.strip() and not line.startswith("#")
    ]
