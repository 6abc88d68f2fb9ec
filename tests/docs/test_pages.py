"""The pages hold together: links lead somewhere, the house is complete, pictures and examples are those of the code.

To draw the pictures anew: `python -m tests.docs.test_pages`.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.docs.blocks import ROOT, blocks, text_of
from tests.docs.test_tutorial import LANGUAGES, NOT_RUN, PAGES, commands, is_listed

from ecotone import config
from ecotone.flow import breaker
from ecotone.placement import decide
from ecotone.values import reasons

ALL = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
)
CONTINUITY_PICTURES = 3
PICTURE = re.compile(r"(<!-- picture: (\S+)\.(\w+) -->\n```mermaid\n)(.*?)(```\n)", re.DOTALL)


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _anchors(path: Path) -> set[str]:
    return {_anchor(found) for found in re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)}


def _drawn(text: str) -> str:
    """A page with its pictures as the code has them now."""
    return PICTURE.sub(
        lambda found: f"{found[1]}{getattr(importlib.import_module(found[2]), found[3])()}\n{found[5]}", text
    )


@pytest.mark.parametrize("page", ALL)
def test_every_link_leads_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} leads to {target}"
        assert not anchor or anchor in _anchors(path), f"{page} leads to {target}"


@pytest.mark.parametrize("page", ALL)
def test_every_fence_is_closed(page: str) -> None:
    assert len(re.findall(r"^```", text_of(page), re.MULTILINE)) == 2 * len(blocks(page))


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        if path.is_dir():
            waiting += path.glob("*.md")
        elif path.suffix == ".md":
            links = re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8"))
            waiting += [path.parent / link for link in links if ":" not in link]
    assert not [page for page in ALL if page.startswith("docs/") and (ROOT / page).resolve() not in seen]


def test_the_house_names_every_room() -> None:
    page = text_of("ARCHITECTURE.md")
    rooms = {path.name for path in (ROOT / "src/ecotone").iterdir() if (path / "__init__.py").is_file()}
    layers = re.findall(r"```\n(cli .*?)```", page, re.DOTALL)[0]
    assert not {room for room in rooms if not re.search(rf"\b{room}\b", layers)}
    described = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert described == rooms - {"cli", "ports"}


def test_decisions_are_numbered_without_gaps_and_say_what_they_cost() -> None:
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        assert "**Choice.**" in text, path.name
        assert "**Cost.**" in text, path.name


def test_the_pictures_are_those_of_the_tables() -> None:
    for name, pictures in (("continuity", CONTINUITY_PICTURES), ("learning", 1)):
        page = text_of(f"docs/explanation/{name}.md")
        assert len(PICTURE.findall(page)) == pictures
        assert page == _drawn(page), "run `python -m tests.docs.test_pages`"


def test_the_page_on_continuity_sorts_failures_as_the_breaker_does() -> None:
    page = " ".join(text_of("docs/explanation/continuity.md").split())
    costly, repeating = (
        set(re.findall(r"`(\w+)`", found))
        for found in re.findall(r"costs a wait \((.*?)\).*?would only repeat \((.*?)\)", page)[0]
    )
    assert costly == breaker.UNREACHABLE
    assert repeating == breaker.AT_ONCE - breaker.UNREACHABLE
    named = set(re.findall(r"`(\w+)`", page))
    assert named >= breaker.UNREACHABLE | breaker.AT_ONCE
    settings = breaker.BreakerSettings()
    assert (settings.failures, settings.open_s, settings.open_s_max) == (3, 1.0, 10.0), "mend the page too"


def test_the_page_on_placement_names_every_reason_and_obstacle() -> None:
    page = text_of("docs/explanation/placement.md")
    missing = [word for word in [*reasons.REASONS, *reasons.OBSTACLES] if f"`{word}`" not in page]
    assert missing == ["no_target"]
    assert decide.__name__ in page


def test_every_block_is_run_or_listed_with_a_reason() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert not [block.place for block in found if block.language not in LANGUAGES]
    listed = {line for block in found if is_listed(block) for line in commands(block)}
    assert listed == set(NOT_RUN)
    for block in found:
        assert is_listed(block) or not listed & set(commands(block)), f"{block.place} mixes what runs and what does not"


@pytest.mark.parametrize("page", [page for page in ALL if page.startswith("docs/how-to/")])
def test_examples_of_configurations_are_valid(page: str) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            text = re.sub(r"\b[0-9a-f]*…", "0" * 64, block.text)
            assert yaml.safe_load(text)
            config.parse(text, block.place)


def test_the_importers_page_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    (tmp_path / "config.yaml").write_text(
        "model_list: [{model_name: a, litellm_params: {model: openai/x, api_key: os.environ/KEY, rpm: 3}}]\n"
    )
    script = next(block.text for block in blocks("docs/how-to/move-from-litellm.md") if block.language == "sh")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert "is valid" in done.stdout
    assert "env:KEY" in (tmp_path / "ecotone.yaml").read_text()
    assert "no `price`" in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = text_of("docs/how-to/ecotone.service")
    unit = tmp_path / "ecotone.service"
    # Only the path of the command is not on this machine.
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


if __name__ == "__main__":
    for name in ALL:
        drawn = _drawn(text_of(name))
        if drawn != text_of(name):
            (ROOT / name).write_text(drawn, encoding="utf-8")
            print(f"drawn: {name}")
