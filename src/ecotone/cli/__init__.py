"""The `ecotone` command. One file per command; each is imported when it is called."""

from __future__ import annotations


def main() -> None:
    """Runs the command line; leaves with 0 done, 1 the check failed, 2 bad input or configuration, 3 not reachable."""
    from ecotone.cli.root import ecotone

    ecotone(prog_name="ecotone")
