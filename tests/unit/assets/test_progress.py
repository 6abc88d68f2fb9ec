"""Lines for logs and pipes."""

from __future__ import annotations

import io

from ecotone.assets.progress import LineProgress, NoProgress


def test_one_line_for_each_step_and_quarter():
    out = io.StringIO()
    progress = LineProgress(out)
    progress.step("looking")
    progress.start(1_000_000, "a.whl")
    progress.advance(600_000)
    progress.start(1_000_000, "a.whl")
    progress.advance(600_000)
    progress.advance(300_000)
    progress.advance(100_000)
    progress.done()
    assert out.getvalue().splitlines() == [
        "looking",
        "fetching a.whl (1.0 MB)",
        "50 % of a.whl",
        "75 % of a.whl",
        "fetched a.whl",
    ]


def test_an_unknown_size_has_no_quarters():
    out = io.StringIO()
    progress = LineProgress(out)
    progress.start(None, "a")
    progress.advance(5)
    progress.done()
    assert out.getvalue() == "fetching a\nfetched a\n"


def test_the_default_is_standard_error(capsys):
    LineProgress().step("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_silence_is_silent(capsys):
    progress = NoProgress()
    progress.start(1, "a")
    progress.advance(1)
    progress.step("a")
    progress.done()
    assert capsys.readouterr() == ("", "")
