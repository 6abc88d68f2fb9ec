"""Starting the upstream and a contender, and the time to the first proxied answer.

Run as a script (`starting.py NAME`), it does so once and prints one JSON object: the bench runs it inside a network
namespace of its own, where only loopback exists, for the start with no network.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import contenders
from contenders import Contender, Place, SetupError
from processes import GATEWAY_CORE, INSTRUMENT_CORE, Processes

POLL_S = 0.001
BODY = json.dumps({"model": "assistant", "messages": [{"role": "user", "content": "Are you there?"}]})
HEADERS = {"Authorization": f"Bearer {contenders.KEY}", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Running:
    """A contender that has answered. `pid` and `child` are None for direct."""

    port: int
    pid: int | None
    start_s: float
    child: subprocess.Popen[bytes] | None = None
    log: Path | None = None

    def death(self) -> str:
        """How it ended by itself, with its last words; '' while it runs."""
        if self.child is None or self.log is None or self.child.poll() is None:
            return ""
        return f"ended with {self.child.returncode}: {contenders.last_words(self.log)}"


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_upstream(processes: Processes, chunks: int) -> int:
    """Starts the fake upstream and returns its port.

    Raises:
        SetupError: it does not come up.
    """
    port = free_port()
    argv = [str(contenders.WORK / "upstream"), str(port), str(chunks)]
    child = processes.start(argv, INSTRUMENT_CORE, log=None)
    assert child.stdout is not None
    if child.stdout.readline().strip() != b"ready":
        raise SetupError("the fake upstream did not start")
    return port


def _ask(port: int, limit_s: float) -> str:
    """One chat request; returns what is wrong with its answer, or ''."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)
    try:
        connection.request("POST", "/v1/chat/completions", BODY, HEADERS)
        response = connection.getresponse()
        text = response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    is_good = response.status == 200 and b"chat.completion" in text
    return "" if is_good else f"status {response.status}: {text[:200].decode(errors='replace')}"


def _first_answer_s(child: subprocess.Popen[bytes], port: int, began_s: float, limit_s: float, log: Path) -> float:
    """Seconds from `began_s` to the first whole answer.

    Raises:
        SetupError: it ended, or gave no good answer within `limit_s`.
    """
    wrong = ""
    while (left_s := began_s + limit_s - time.monotonic()) > 0:
        wrong = _ask(port, min(left_s, 10))
        if not wrong:
            return time.monotonic() - began_s
        if child.poll() is not None:
            raise SetupError(f"ended with {child.returncode}: {contenders.last_words(log)}")
        time.sleep(POLL_S)
    raise SetupError(f"no good answer within {limit_s:.0f} s ({wrong}); log: {contenders.last_words(log)}")


@contextlib.contextmanager
def running(processes: Processes, contender: Contender, upstream_port: int) -> Iterator[Running]:
    """A started contender on its core, in a fresh directory on disk; stopped and removed at the end.

    Raises:
        SetupError: it does not start.
    """
    if contender.launch is None:
        yield Running(upstream_port, None, 0.0)
        return
    runs = contenders.WORK / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=runs))
    port = free_port()
    log = contenders.WORK / f"{contender.name}.log"
    try:
        launch = contender.launch(Place(directory, port, upstream_port))
        began_s = time.monotonic()
        try:
            child = processes.start(launch.argv, GATEWAY_CORE, log, launch.env)
        except OSError as error:
            raise SetupError(f"cannot run {launch.argv[0]}: {error}") from error
        try:
            start_s = _first_answer_s(child, port, began_s, contender.start_limit_s, log)
            yield Running(port, child.pid, start_s, child, log)
        finally:
            processes.stop(child)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def start_offline_s(contender: Contender) -> float:
    """Seconds to the first answer in a fresh network namespace that has nothing but loopback.

    Raises:
        SetupError: the machine gives no such namespace, or the contender does not start in it.
    """
    if contender.launch is None:
        return 0.0
    user = [] if contenders.is_root() else ["--map-root-user"]
    argv = ["unshare", *user, "--net", "--", sys.executable, __file__, contender.name]
    text = contenders.run_tool(argv, contender.start_limit_s + 20)
    result = json.loads(text.strip().splitlines()[-1])
    if "error" in result:
        raise SetupError(result["error"])
    return float(result["start_s"])


def _raise_loopback() -> list[str]:
    """Sets `lo` up and returns the names of all interfaces, which must be only that one."""
    siocsifflags, iff_up_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, siocsifflags, struct.pack("16sh14x", b"lo", iff_up_running))
    return [name for _, name in socket.if_nameindex()]


def main() -> None:
    """One start in this network namespace; prints {"start_s": s} or {"error": text}."""
    contender = contenders.CONTENDERS[sys.argv[1]]
    try:
        interfaces = _raise_loopback()
        if interfaces != ["lo"]:
            raise SetupError(f"this is no empty network namespace: {interfaces}")
        with Processes() as processes:
            upstream_port = start_upstream(processes, chunks=4)
            with running(processes, contender, upstream_port) as started:
                result = {"start_s": started.start_s}
    except (SetupError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps(result))


if __name__ == "__main__":
    main()
