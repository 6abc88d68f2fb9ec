"""`ecotone ledger`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared

HEAD = click.option("--head", "heads", metavar="SEQ:HASH", multiple=True, help="A head that an earlier run printed.")
KEY = click.option(
    "--key",
    "keys",
    metavar="FILE|KEY",
    multiple=True,
    help="The site's public key: `site.pub`, or the line that `ecotone ledger key` prints. May be given again.",
)
CHECKPOINT = click.option(
    "--checkpoint",
    "checkpoints",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A signed checkpoint that was kept elsewhere; it must still fit.",
)


@click.group()
def ledger() -> None:
    """Verify the ledger, and prove what stands in it."""


@ledger.command()
@shared
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@HEAD
@KEY
@CHECKPOINT
def verify(config_path: Path | None, is_json: bool, files: tuple[Path, ...], **trust: tuple[str, ...]) -> None:
    """Recompute the chain and the tree of the ledger, or of a copy of it: a folder, or single segments.

    Leaves with 1, and names the first bad entry, if anything was changed, dropped, reordered or cut off; also if --key
    is given and no checkpoint is signed by it. Without --key the store's own site.pub is used, and a copy's signatures
    are not checked. Against somebody who has the site's key, or an old copy, only a checkpoint or head that was kept
    elsewhere helps. It may run beside the site.

    \b
    Examples:
      ecotone ledger verify
      ecotone ledger verify /mnt/usb/ledger --key site.pub
      ecotone ledger verify /mnt/usb/ledger --key site.pub --checkpoint last-month.txt
    """
    import sys

    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    report = proof.verified(config_path, files, proof.trusted(config_path, files, **trust))
    is_good = report.is_whole and (report.attested.is_signed or not trust["keys"])
    if is_json:
        show_json({"whole": report.is_whole, "signed": report.attested.is_signed, "report": report})
    else:
        proof.show(report)
    sys.exit(0 if is_good else 1)


@ledger.command()
@shared
def key(config_path: Path | None, is_json: bool) -> None:
    """Print the site's public key, for whoever checks what it signs.

    In PEM, as in the store's file site.pub, and on standard error as a verifier key for tools that read C2SP signed
    notes. The private key, site.key, is made at a site's first start and never leaves the store.

    \b
    Examples:
      ecotone ledger key > site.pub
      ecotone ledger key --json
    """
    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    pem, line = proof.public_key(config_path)
    if is_json:
        show_json({"pem": pem, "verifier_key": line})
        return
    click.echo(pem, nl=False)
    click.echo(line, err=True)


@ledger.command()
@shared
def checkpoint(config_path: Path | None, is_json: bool) -> None:
    """Print the newest signed checkpoint: a few lines without secrets, to be kept somewhere else.

    Later, `ecotone ledger verify --checkpoint FILE` shows whether the ledger still is what it was.

    \b
    Examples:
      ecotone ledger checkpoint | mail -s "checkpoint clinic-7" audit@example.org
    """
    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    note = proof.newest(config_path)
    if is_json:
        show_json({"origin": note.origin, "size": note.size, "root": note.root.hex(), "note": note.raw.decode()})
    else:
        click.echo(note.raw.decode(), nl=False)


@ledger.command()
@shared
@click.argument("what", metavar="SEQ|REQUEST")
@click.option("--file", "copy", metavar="FOLDER", type=click.Path(path_type=Path), help="A copy of the ledger.")
@KEY
def prove(config_path: Path | None, is_json: bool, what: str, copy: Path | None, keys: tuple[str, ...]) -> None:
    """Print the proof that one entry, or all entries of one request, are in the ledger.

    The proof is JSON: the entry, the hashes from it to a root, and the signed checkpoint with that root. Who has the
    site's public key checks it without the rest of the ledger: `ecotone ledger check-proof`.

    \b
    Examples:
      ecotone ledger prove 8112 > proof.json
      ecotone ledger prove req-019abd3c2f1-4
    """
    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    show_json(proof.proved(config_path, what, copy, keys))


@ledger.command("check-proof")
@shared
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@KEY
def check_proof(config_path: Path | None, is_json: bool, file: Path, keys: tuple[str, ...]) -> None:
    """Check the proof in FILE, which `ecotone ledger prove` has made; `-` is standard input.

    Needs the public key and nothing else. Leaves with 1 if any of it does not hold.

    \b
    Examples:
      ecotone ledger check-proof proof.json --key site.pub
    """
    import sys

    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    results = proof.checked(config_path, file, keys)
    if is_json:
        show_json({"holds": all(why == "" for _, why in results), "entries": results})
    for item, why in () if is_json else results:
        click.echo(f"entry {item.index}: {why or 'proved'}")
        click.echo(item.entry)
    sys.exit(1 if any(why for _, why in results) else 0)
