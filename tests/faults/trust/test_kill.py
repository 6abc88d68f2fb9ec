"""SIGKILL before every sync and rename of an import: then the old version is loaded or the new, and it goes on."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.delivery.made_site import FIRST, SECOND, Site

from ecotone.assets import Asset
from ecotone.delivery import site_trust
from ecotone.delivery.bundle import BundleSource

STEPS_MAX = 200


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Runs it in a process that is killed before its sync or rename number `step`; False: it had fewer."""
    child = os.fork()
    if child == 0:
        try:
            seen = 0

            def counted(real: Callable[..., object]) -> Callable[..., object]:
                def call(*args: object, **more: object) -> object:
                    nonlocal seen
                    seen += 1
                    if seen == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*args, **more)

                return call

            os.fsync = counted(os.fsync)  # type: ignore[assignment]  # as it is called
            Path.replace = counted(Path.replace)  # type: ignore[assignment,method-assign]  # as it is called
            act()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("is_bundle", [False, True])
def test_an_import_that_is_killed_anywhere(tmp_path: Path, is_bundle: bool) -> None:
    site = Site(tmp_path)
    path, store, seen = site.bundle("two", 1), site.store, set[bytes]()

    def take() -> list[Asset]:
        if not is_bundle:
            return list(site.take().assets)
        with BundleSource(path) as source:
            return list(site_trust.deliver(source, [source], site.store, is_import=True).assets)

    for step in range(1, STEPS_MAX):
        site.store = tmp_path / f"store-{step}"
        shutil.copytree(store, site.store)
        was_killed = killed_at(step, take)
        assert site.installed() in (FIRST, SECOND)
        seen.add(site.installed())
        assert site_trust.memory(site.store).site == "harbour"
        take()
        assert site.installed() == SECOND
        assert site_trust.memory(site.store).generation == 2
        shutil.rmtree(site.store)
        if not was_killed:
            assert step > 10
            assert seen == {FIRST, SECOND}
            return
    raise AssertionError("it never comes to its end")
