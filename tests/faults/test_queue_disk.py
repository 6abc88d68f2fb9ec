"""The queue on a disk whose system calls fail: a shim below SQLite returns EIO or ENOSPC where it is told to."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.faults.rounds.shim import Shim, build
from tests.faults.test_queue import all_jobs, job, opened

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The file named by SHIM_FLAG holds which call fails and with what: "fsync 5". It is only asked about jobs.db*. */
static int fails(const char *call, int fd) {
    char flag[64] = {0}, path[512] = {0}, link[64];
    const char *name = getenv("SHIM_FLAG");
    int saved = errno;
    if (!name || readlink(name, flag, sizeof flag - 1) < 0) { errno = saved; return 0; }
    strcpy(link, "/proc/self/fd/");
    char digits[16]; int n = 0, left = fd;
    do { digits[n++] = '0' + left % 10; left /= 10; } while (left);
    for (int at = strlen(link); n; link[at] = 0) link[at++] = digits[--n];
    if (readlink(link, path, sizeof path - 1) < 0 || !strstr(path, "jobs.db")) { errno = saved; return 0; }
    size_t size = strlen(call);
    if (strncmp(flag, call, size) || flag[size] != '-') { errno = saved; return 0; }
    errno = atoi(flag + size + 1);
    return 1;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
int fsync(int fd) { return fails("sync", fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails("sync", fd) ? -1 : REAL(fdatasync)(fd); }
#define OR(call, name, ...) { return fails(call, fd) ? -1 : REAL(name)(fd, b, n, ##__VA_ARGS__); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) OR("write", pwrite, o)
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) OR("write", pwrite64, o)
ssize_t write(int fd, const void *b, size_t n) OR("write", write)
ssize_t pread64(int fd, void *b, size_t n, off64_t o) OR("read", pread64, o)
"""

CHILD = textwrap.dedent("""
    import asyncio, errno, os, signal, sys
    from pathlib import Path
    from tests.faults.test_queue import ANSWER, all_jobs, job, opened
    from ecotone.values import RefusalError

    flag = os.environ["SHIM_FLAG"]

    def fail(what):
        if os.path.lexists(flag):
            os.unlink(flag)
        if what:
            os.symlink(what, flag)

    async def act():
        queue = opened(Path(sys.argv[1]))
        kept, refused, number = [], 0, 0
        for turn in range(int(sys.argv[3])):
            fail(None)
            for _ in range(4):
                number += 1
                await queue.put([(job(f"job-{number}"), os.urandom(3000))])
                kept.append(f"job-{number}")
            held = await queue.lease(1, now_ms=3000, lease_ms=10**9)
            fail(sys.argv[2])
            calls = []
            for _ in range(5):
                number += 1
                calls.append(queue.put([(job(f"job-{number}", idempotency=f"{number}"), os.urandom(3000))]))
            calls.append(queue.settle(held[0].token, ANSWER, now_ms=3000))
            for name, told in zip(range(number - 4, number + 2), await asyncio.gather(*calls, return_exceptions=True)):
                if isinstance(told, RefusalError):
                    assert told.code in ("refused.store", "refused.store_full"), told.code
                    refused += 1
                else:
                    assert not isinstance(told, BaseException), told
                    kept += [f"job-{name}"] if name <= number else []
            fail(None)
            assert await queue.settle(held[0].token, ANSWER, now_ms=3000) in (True, False)
            found = await all_jobs(queue)
            assert set(kept) <= set(found)
            assert found[held[0].job.id].ended_at_ms
        assert queue.status().failure == ""
        print(refused, *kept, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(act())
""")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim as a library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"the shim cannot be built: {done.stderr.decode()[:200]}")
    return folder / "shim.so"


@pytest.mark.parametrize("what", ["sync-5", "write-5", "write-28", "sync-28", "read-5"])
def test_what_was_acknowledged_outlives_failing_calls_and_a_kill(shim: Path, tmp_path: Path, what: str) -> None:
    store, turns = tmp_path / "store", 12
    given = {**os.environ, "LD_PRELOAD": str(shim), "SHIM_FLAG": str(tmp_path / "flag")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(store), what, str(turns)],
        cwd=Path(__file__).parents[2], env=given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    refused, *kept = done.stdout.split()
    # What is in SQLite's cache need not be read: there nothing may fail.
    assert what.startswith("read") or int(refused) == 6 * turns, "the shim was not asked"

    async def look() -> None:
        queue = opened(store)
        assert queue.recovered.loss is None
        assert set(kept) <= set(await all_jobs(queue))
        await queue.close()

    asyncio.run(look())


OPENER = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from tests.faults.test_queue import opened
    from ecotone.values import ConfigError

    # One process a try, as in life: SQLite shares what it knows of a file within a process.
    print("up", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                opened(Path(sys.argv[1]))
            except ConfigError:
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
""")


def test_a_disk_that_fails_from_any_call_of_a_start_on_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Found by the rounds: SQLite removed a WAL whose index it could neither make nor change."""
    try:
        library = build(tmp_path)
    except OSError as error:
        pytest.skip(str(error))
    store, whole = tmp_path / "store", tmp_path / "whole"

    async def fill() -> dict[str, bytes]:
        queue = opened(whole)
        await queue.put([(job(f"job-{number}"), os.urandom(900)) for number in range(20)])
        await queue.lease(3, now_ms=3000, lease_ms=10**9)
        files = {name: (whole / name).read_bytes() for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm")}
        await queue.close()
        return files

    async def look() -> None:
        queue = opened(store)
        assert queue.recovered.loss is None
        assert len(await all_jobs(queue)) == 20
        await queue.close()

    files = asyncio.run(fill())
    shim = Shim(library, tmp_path, store, 1)
    given = {**os.environ, **shim.environ}
    opener = subprocess.Popen(
        [sys.executable, "-c", OPENER, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=given, cwd=Path(__file__).parents[2], text=True,
    )  # fmt: skip
    assert opener.stdin is not None
    assert opener.stdout is not None
    with opener:
        assert opener.stdout.readline() == "up\n"
        codes = []
        while 0 not in codes:
            shutil.rmtree(store, ignore_errors=True)
            store.mkdir()
            for name, content in files.items():
                (store / name).write_bytes(content)
            shim.fail(1.0, spared=len(codes))
            print(file=opener.stdin, flush=True)
            codes.append(int(opener.stdout.readline()))
            shim.fail(0.0)
            asyncio.run(look())
    assert set(codes[:-1]) == {1}
    assert len(codes) > 20, "the shim was asked"
