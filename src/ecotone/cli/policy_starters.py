"""The policies that ship with Ecotone, each with its table of examples; and a trial of one, or of a site's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from ecotone import config as settings
from ecotone.cli import policy_site, policy_table, policy_trial
from ecotone.cli.policy_trial import Report
from ecotone.cli.settings import load
from ecotone.cli.settings import text_of as file_text
from ecotone.config.build import meant, shown
from ecotone.values import RequestError

NAMES: Final = ("health", "cards", "gdpr", "pipl")


def titles() -> dict[str, str]:
    """Name -> what it is for: the first line of its comments."""
    return {name: text_of(name).partition("\n")[0].lstrip("# ") for name in NAMES}


def text_of(name: str, *, is_table: bool = False) -> str:
    """A starter policy, or its table of examples, as it ships.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in NAMES:
        raise RequestError(
            "policy.unknown", f"no starter policy {shown(name)}{meant(name, NAMES)}; there: {', '.join(NAMES)}"
        )
    return _path(name, is_table).read_text(encoding="utf-8")


def tried(name: str) -> Report:
    """What came of a starter's own examples.

    Raises:
        RequestError: there is none of that name.
    """
    where = f"{name}.yaml", f"{name}.examples.yaml"
    config = settings.parse(text_of(name), where[0])
    examples = policy_table.parse(text_of(name, is_table=True), where[1], policy_trial.known(config))
    return policy_trial.run(policy_site.site(config), examples)


def tried_file(file: Path, config_path: Path | None) -> Report:
    """What came of a file's examples under the configuration that a site started here would have.

    Raises:
        ConfigError: with every problem of the configuration or the file.
    """
    config = load(config_path)
    examples = policy_table.parse(file_text(file), str(file), policy_trial.known(config))
    return policy_trial.run(policy_site.site(config), examples)


def _path(name: str, is_table: bool) -> resources.abc.Traversable:
    return resources.files("ecotone.cli").joinpath("policies", f"{name}.examples.yaml" if is_table else f"{name}.yaml")
