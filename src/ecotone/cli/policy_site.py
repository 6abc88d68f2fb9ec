"""What of a site decides on egress, built from a configuration in this process, without a server or a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ecotone.cli.policy_trial import Site, specs
from ecotone.config import Config

PATTERNS: Final = "patterns"


def site(config: Config) -> Site:
    """The detectors and the policy that a site with this configuration has; those of the worker run here.

    Raises:
        ConfigError: a file of terms or of examples cannot be read.
    """
    from ecotone.detectors import DetectorError, load
    from ecotone.runtime import build
    from ecotone.runtime.inspecting import Inspecting

    inspecting = Inspecting(Path(config.store.path).expanduser())
    look = inspecting.arrange(config, is_cloud_off=False)
    dear: dict[str, Any] = {}
    missing = {name: "absent" for name in config.privacy.detectors if name not in (*look.quick, *look.dear)}
    for name in look.dear:
        try:
            dear[name] = load(name, inspecting.plain)
        except DetectorError as error:
            missing[name] = error.why
    versions = {name: str(detector.version) for name, detector in dear.items()}
    if PATTERNS in look.quick:
        versions = {PATTERNS: str(look.quick[PATTERNS].__self__.version), **versions}  # type: ignore[attr-defined]  # it is a method of `Patterns`
    return Site(build.policy(config)[0], look, dear, versions, missing, specs(config))
