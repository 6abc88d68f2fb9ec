"""An instrument: a process that dies at its n-th file operation, and a disk that loses what was not synchronised.

In the process every operation on files is counted, and written to a journal: files that were opened to be written, what
was synchronised, what was renamed or removed (with a copy of what was there before), and folders that were
synchronised. `lose_power` reads that and undoes what no `fsync` had made durable: contents are torn, names lead where
they led before, each with the dice.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NO_SPACE = 28


class Journal:
    """Counts and notes what this process does to files below a folder; dies, or is refused, at the n-th operation."""

    def __init__(self, root: Path, at: int, *, is_refused: bool = False) -> None:
        self.root, self.left, self.is_refused = os.path.realpath(root), at, is_refused
        self.is_over = False
        self.backups = Path(f"{root}.backups")
        self.backups.mkdir(exist_ok=True)
        self.fd = os.open(f"{root}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.count = 0
        self.plain: dict[str, Callable[..., Any]] = {}

    def begin(self) -> None:
        """From now on."""
        sys.addaudithook(self._heard)
        for name in ("write", "pwrite", "fsync", "ftruncate", "replace", "rename", "unlink", "open", "fchmod"):
            self.plain[name] = getattr(os, name)
            setattr(os, name, self._counted(name))

    def end(self) -> None:
        """No more: what comes now is not counted."""
        self.is_over = True

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        """`open` of Python's own files goes past `os.open`."""
        if self.is_over or event != "open" or not isinstance(args[0], str) or args[1] is None:
            return
        if set(str(args[1])) & set("wax+") and self._is_ours(args[0]):
            self._note("dirty", os.path.realpath(args[0]))

    def _counted(self, name: str) -> Callable[..., Any]:
        def does(*args: Any, **more: Any) -> Any:
            if self.is_over or not self._concerns(name, args):
                return self.plain[name](*args, **more)
            self._step(name)
            self._before(name, args)
            done = self.plain[name](*args, **more)
            self._after(name, args, done)
            return done

        return does

    def _step(self, name: str) -> None:
        self.count += 1
        self.left -= 1
        if self.left > 0:
            return
        if not self.is_refused:
            os.kill(os.getpid(), signal.SIGKILL)
        if name in ("write", "pwrite", "fsync", "ftruncate", "open", "replace"):
            raise OSError(NO_SPACE, "No space left on device")

    def _concerns(self, name: str, args: tuple[Any, ...]) -> bool:
        path = self._path(args[0])
        is_writing = name != "open" or bool(args[1] & (os.O_WRONLY | os.O_RDWR))
        return is_writing and self._is_ours(path) and not path.endswith(".lock")

    def _before(self, name: str, args: tuple[Any, ...]) -> None:
        if name in ("replace", "rename", "unlink"):
            target = self._path(args[-1] if name != "unlink" else args[0])
            saved = ""
            if os.path.exists(target):
                saved = str(self.backups / str(self.count))
                os.link(target, saved)
            self._note(name, self._path(args[0]), target, saved)

    def _after(self, name: str, args: tuple[Any, ...], done: Any) -> None:
        if name in ("write", "pwrite", "ftruncate"):
            self._note("dirty", self._path(args[0]))
        elif name == "open" and args[1] & os.O_TRUNC:
            self._note("dirty", os.path.realpath(args[0]))
        elif name == "fsync":
            self._note("sync", self._path(args[0]))

    def _path(self, what: Any) -> str:
        if isinstance(what, int):
            try:
                return os.readlink(f"/proc/self/fd/{what}")
            except OSError:
                return ""
        return os.path.realpath(os.fspath(what))

    def _is_ours(self, path: str) -> bool:
        return f"{os.path.realpath(path)}/".startswith(f"{self.root}/")

    def _note(self, *words: str) -> None:
        self.plain.get("write", os.write)(self.fd, json.dumps(words).encode() + b"\n")


def lose_power(root: Path, dice: random.Random) -> list[str]:
    """Undoes what was not durable when the process died; says what."""
    journal = Path(f"{root}.journal")
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()] if journal.exists() else []
    dirty: set[str] = set()
    names: list[tuple[str, str, str, str]] = []
    for what, *paths in lines:
        if what == "dirty":
            dirty.add(paths[0])
        elif what == "sync":
            dirty.discard(paths[0])
            names = [one for one in names if os.path.dirname(one[2]) != paths[0]]
        else:
            if what != "unlink" and paths[0] in dirty:
                dirty.discard(paths[0])
                dirty.add(paths[1])
            names.append((what, *paths))
    done = [_torn(path, dice) for path in sorted(dirty) if os.path.isfile(path)]
    for what, source, target, saved in reversed(names):
        if dice.random() < 0.5:
            break  # a disk keeps the order of names: what came before this is there as well
        _undo(what, source, target, saved)
        done.append(f"{what} of {os.path.basename(target)} undone")
    return done


def _torn(path: str, dice: random.Random) -> str:
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.truncate(dice.randrange(size + 1))
        if dice.random() < 0.5:
            file.truncate(size)  # the rest is zeros
    return f"{os.path.basename(path)} torn"


def _undo(what: str, source: str, target: str, saved: str) -> None:
    if what != "unlink" and os.path.exists(target):
        os.replace(target, source)
    if saved:
        os.makedirs(os.path.dirname(target), exist_ok=True)  # that a folder was removed is not durable either
        shutil.copy2(saved, target)
