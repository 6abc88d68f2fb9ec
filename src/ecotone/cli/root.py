"""The command tree as one table."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import click

from ecotone import __version__
from ecotone.cli.lazy import LazyGroup

COMMANDS: Final = MappingProxyType(
    {
        "up": ("ecotone.cli.up", "up", "Start a site and answer until stopped."),
        "validate": ("ecotone.cli.validate", "validate", "Check a configuration file."),
        "schema": ("ecotone.cli.schema", "schema", "Print the JSON Schema of the configuration."),
        "status": ("ecotone.cli.status", "status", "Show the running site in one screen."),
        "top": ("ecotone.cli.top", "top", "Show the running site, live."),
        "jobs": ("ecotone.cli.jobs", "jobs", "List, show, cancel and retry jobs."),
        "explain": ("ecotone.cli.explain", "explain", "Say why a request goes where it goes."),
        "evidence": ("ecotone.cli.evidence", "evidence", "Say what left the site, and prove it."),
        "report": ("ecotone.cli.report", "report", "Say what moved to the edge, and what it cost in quality."),
        "replay": ("ecotone.cli.replay", "replay", "Say what other configurations would have done."),
        "ledger": ("ecotone.cli.ledger", "ledger", "Verify the ledger, and prove what stands in it."),
        "store": ("ecotone.cli.store", "store", "Back up, restore and check the queue of jobs."),
        "policy": ("ecotone.cli.policy", "policy", "Test what may leave, and show policies to start from."),
        "models": ("ecotone.cli.models", "models", "List, pull and remove local models."),
        "enroll": ("ecotone.cli.enroll", "enroll", "Join a hub with a one-time token."),
        "trust": ("ecotone.cli.trusting", "trust", "Pin the hub that this site takes models from."),
        "bundle": ("ecotone.cli.bundle", "bundle", "Carry models to a site on a stick."),
        "neighbour": ("ecotone.cli.neighbour", "neighbour", "Give segments of delivered assets to sites nearby."),
        "hub": ("ecotone.cli.hub", "hub", "Publish models signed, and say which site shall have which."),
        "keys": ("ecotone.cli.keys", "keys", "Make API keys for callers."),
        "import": ("ecotone.cli.importing", "importing", "Make an ecotone.yaml from another gateway's file."),
        "version": ("ecotone.cli.version", "version", "Print the version."),
    }
)
"""Command -> (module, attribute, one line of help)."""

ecotone = LazyGroup(
    name="ecotone",
    table=COMMANDS,
    help="""One OpenAI-compatible endpoint that places each request at the edge or in the cloud.

    \b
    ecotone up                         start with the built-in configuration
    ecotone up -c ecotone.yaml         start with a file
    ecotone status                     what the site is doing

    Every command takes -c FILE and --json. Exit codes: 0 done, 1 the check failed, 2 bad input or configuration,
    3 not reachable.
    """,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
ecotone = click.version_option(__version__, prog_name="ecotone", message="%(prog)s %(version)s")(ecotone)
