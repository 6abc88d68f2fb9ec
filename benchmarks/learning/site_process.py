"""A real `ecotone up` in a process of its own, as an operator runs it: a file, an address, signals."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ECOTONE = str(Path(sys.executable).parent / "ecotone")
STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
STARTER_STORE = Path(os.environ.get("ECOTONE_TEST_STORE", Path(sys.prefix) / ".ecotone-test-store"))
START_S = 90.0
STOP_S = 60.0
LIMIT_S = 300.0


class BenchError(Exception):
    """The measurement cannot go on; the message says why."""


def wait_for(condition: Callable[[], Any], what: str, within_s: float) -> Any:
    """Waits until the condition holds, looking four times a second; what it gave.

    Raises:
        BenchError: it did not hold in time.
    """
    until_s = time.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > until_s:
            raise BenchError(f"not within {within_s:g} s: {what}")
        time.sleep(0.25)


def link_starter(store: Path) -> None:
    """Puts the starter model into a site's store, where `make test` has fetched it; else the site fetches it itself."""
    name = Path("assets") / "sha256" / STARTER_SHA256[:2] / STARTER_SHA256
    if (STARTER_STORE / name).is_file() and not (store / name).exists():
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (store / name).hardlink_to(STARTER_STORE / name)
        except OSError:
            shutil.copyfile(STARTER_STORE / name, store / name)


class Site:
    """One site and its folder; started again, it goes on with the same store."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Starts it.

        Args:
            config: All but `listen`, `store`, detectors and measured engine settings, which are the same for all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.store = folder / "store"
        self.file = folder / "ecotone.yaml"
        self.log = folder / "site.log"
        self._base: dict[str, Any] = {
            "listen": {"address": "127.0.0.1", "port": 0},
            "store": {"path": str(self.store)},
            "privacy": {"detectors": ["patterns"]},
            "engines": {"measure": False},
        }
        link_starter(self.store)
        self.write(config)
        self.start()

    def write(self, config: Mapping[str, Any]) -> None:
        """The configuration file, whole or not at all; a running site takes it in by itself."""
        self.beside("ecotone.new", config).replace(self.file)

    def beside(self, name: str, config: Mapping[str, Any]) -> Path:
        """Another configuration of the same site, in a file of its own."""
        file = self.file.with_name(name)
        # JSON is YAML.
        file.write_text(json.dumps(self._base | dict(config), indent=1))
        return file

    def start(self) -> None:
        """Starts it and waits until its models are ready.

        Raises:
            BenchError: it does not start.
        """
        with self.log.open("ab") as log:
            begun = log.tell()
            self.process = subprocess.Popen([ECOTONE, "up", "-c", str(self.file)], stdout=log, stderr=log)
        self.port = wait_for(lambda: self._listening(begun), f"{self.file} listens", START_S)
        wait_for(self.is_ready, f"{self.file}: models ready", START_S)

    def _listening(self, begun: int) -> int:
        if self.process.poll() is not None:
            raise BenchError(f"the site ended: {self.log.read_text()[-600:]}")
        for line in self.log.read_bytes()[begun:].decode().splitlines():
            if line.startswith("listening on http://"):
                return int(line.rpartition(":")[2].strip("/ "))
        return 0

    def is_ready(self) -> bool:
        """Whether all its models are loaded."""
        return all(row["state"] == "ready" for row in self.status().get("engines", {}).values())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, politely or not."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(
        self, path: str, body: Mapping[str, Any] | None = None, connection: http.client.HTTPConnection | None = None
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """One request: (status, headers in lower case, decoded body).

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        own = connection is None
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, json.loads(answer.read())
        finally:
            if own:
                connection.close()

    def status(self) -> dict[str, Any]:
        """`GET /admin/status`."""
        return self.ask("/admin/status")[2]

    def ledger(self) -> list[dict[str, Any]]:
        """All entries on disk."""
        entries: list[dict[str, Any]] = []
        for segment in sorted((self.store / "ledger").glob("*.jsonl")):
            entries += [json.loads(line) for line in segment.read_bytes().splitlines() if line.startswith(b"{")]
        return entries

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ecotone ...` over this site's store."""
        return subprocess.run([ECOTONE, *arguments], capture_output=True, text=True, check=False, timeout=LIMIT_S)
