"""Bytes into a frozen tree. Doors: `parse`, `built_in`, `overlay`. No file, environment or clock is read here."""

from ecotone.config import secrets
from ecotone.config.built_in import built_in
from ecotone.config.check import model_names
from ecotone.config.jobs import Jobs
from ecotone.config.learning import Quality
from ecotone.config.link import Budgets
from ecotone.config.notes import notes
from ecotone.config.overlay import overlay
from ecotone.config.parse import parse
from ecotone.config.protection import Privacy, Rule
from ecotone.config.reference import reference_markdown
from ecotone.config.render import render
from ecotone.config.schema import json_schema
from ecotone.config.tree import (
    Breaker,
    Config,
    Engines,
    Limits,
    LocalTarget,
    Model,
    Target,
    Timeouts,
    UrlTarget,
)

__all__ = [
    "Breaker", "Budgets", "Config", "Engines", "Jobs", "Limits", "LocalTarget", "Model", "Privacy", "Quality",
    "Rule", "Target", "Timeouts", "UrlTarget", "built_in", "json_schema", "model_names", "notes", "overlay", "parse",
    "reference_markdown", "render", "secrets",
]  # fmt: skip
