"""Detectors for tests, installed as a package is: a module and its entry points in a folder on the path."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
from ecotone.values import Finding

LIBC = ctypes.CDLL(None)
kept = []


class Plugin:
    version = "7"

    def __init__(self, act):
        self.act = act

    def find(self, texts):
        return self.act(texts)


def nothing(texts):
    return [[] for _ in texts]


def first(texts):
    return [[Finding("person", "person", 0, min(5, len(text)), 0.9, "someone else")] for text in texts]


def sleeps(texts):
    time.sleep(60)


def swallows(texts):
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


def hangs(texts):  # native code that no signal of Python's ends
    LIBC.pthread_sigmask(0, (ctypes.c_ulong * 16)(*[2**64 - 1] * 16), None)
    LIBC.sleep(60)


def raises(texts):
    raise ValueError(texts[0])


def exits(texts):
    sys.exit(3)


def dies(texts):
    os.kill(os.getpid(), signal.SIGSEGV)


def allocates(texts):
    kept.append(bytearray(1 << 40))


def grows(texts):
    while True:
        kept.append(bytearray(64 << 20))


def far(texts):
    return [[Finding("person", "person", 0, len(text) + 1, 0.9, "far")] for text in texts]


def short(texts):
    return []


def cannot(texts):
    return [[Finding("unknown", "no_model:xx", 0, 0, 1.0, "cannot")] for _ in texts]


def too_much(texts):
    return [[Finding("person", "person", 0, 1, 0.5, "x")] * 2_000_000 for _ in texts]


def _tried(*acts):
    found = []
    for act in acts:
        try:
            act()
        except PermissionError:
            found.append(Finding("secret", "refused", 0, 1, 1.0, "x"))
    return [found]


def calls_home(texts):
    return _tried(
        lambda: socket.create_connection(("127.0.0.1", int(texts[0])), 1),
        lambda: socket.socket(),
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.socketpair(),
        lambda: subprocess.run(["true"]),
        lambda: os.system("true"),
        lambda: os.fork() or os._exit(0),
    )


def calls_home_natively(texts):
    fd = LIBC.socket(2, 1, 0)
    address = (2).to_bytes(2, "little") + int(texts[0]).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
    is_through = fd >= 0 and LIBC.connect(fd, address, len(address)) == 0
    return [[Finding("secret", "through" if is_through else "refused", 0, 1, 1.0, "x")]]


def environment(texts):
    return [[Finding("secret", "e." + name, 0, 1, 1.0, "x") for name in os.environ]]


def process(texts):
    return [[
        Finding("x", f"nice{os.nice(0)}", 0, 1, 1.0, "x"),
        Finding("x", f"parent{os.getppid()}", 0, 1, 1.0, "x"),
        Finding("x", f"files{len(os.listdir('/proc/self/fd')) - 1}", 0, 1, 1.0, "x"),
    ]]


def __getattr__(name):
    if not name.startswith("make_"):
        raise AttributeError(name)
    act = globals()[name.removeprefix("make_")]
    return lambda settings: Plugin(act)


def make_settings(settings):
    def tells(texts):
        return [[Finding("x", str(settings["word"]), 0, 1, 1.0, "x")] for _ in texts]

    return Plugin(tells)


def make_unmade(settings):
    raise RuntimeError("secret settings")


def make_quits(settings):
    sys.exit(1)


def make_unversioned(settings):
    plugin = Plugin(nothing)
    plugin.version = 7
    return plugin


def make_slowly(settings):
    time.sleep(60)


def make_deadly(settings):
    os._exit(9)


def make_babbling(settings):
    os.write(0, b"\\0\\0\\0\\4what")
    return Plugin(nothing)
"""

NAMES = re.findall(
    r"\w+",
    "nothing first sleeps swallows hangs raises exits dies allocates grows far short cannot too_much calls_home"
    " calls_home_natively environment process settings unmade quits unversioned slowly deadly babbling",
)


def install(folder: Path) -> None:
    """Puts the package there, with a detector for each of `NAMES`, one that needs a missing package, and two rivals."""
    (folder / "test_plugin.py").write_text(SOURCE)
    points = [f"{name} = test_plugin:make_{name}" for name in NAMES]
    points += ["needs = no_such_package:make", "names = test_plugin:make_first", "rival = test_plugin:make_first"]
    _describe(folder, "test_plugin", points)
    _describe(folder, "other_plugin", ["rival = test_plugin:make_nothing"])


def _describe(folder: Path, name: str, points: list[str]) -> None:
    info = folder / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ecotone.detectors]\n" + "\n".join(points) + "\n")
