"""The child's own steps, one by one; as a whole it runs in every other test of this folder."""

from __future__ import annotations

import array
import ctypes
import json
import os
import runpy
import socket
import subprocess
import sys
import types

import msgspec
import pytest
from tests.unit.engines.world import FAKE

from ecotone.engines import worker
from ecotone.engines.settings import Limits, Model, Tuned, worker_settings

SETTINGS = {"nice": 0, "oom_score_adj": 600, "address_space_bytes_max": None}


class Exited(BaseException):
    """Instead of the process's end."""


@pytest.fixture(autouse=True)
def no_exit(monkeypatch):
    def leave(code):
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", leave)


@pytest.fixture
def link():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("count", [1, 2])
def test_settings_come_with_the_files_descriptors_even_in_pieces(link, tmp_path, count):
    ours, theirs = link
    with (tmp_path / "model").open("w+b") as file:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * count))]
        ours.sendmsg([b'{"a":'], rights)
        ours.sendmsg([b"1}\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i"))][:0])
        settings, fds = worker.receive(theirs)
        assert settings == {"a": 1}
        assert [os.fstat(fd).st_ino for fd in fds] == [os.fstat(file.fileno()).st_ino] * count
        for fd in fds:
            os.close(fd)


def test_without_settings_it_ends(link):
    ours, theirs = link
    ours.close()
    with pytest.raises(Exited):
        worker.receive(theirs)


def test_it_ends_when_its_parent_closes(link):
    ours, theirs = link
    ours.send(b"ignored")
    ours.close()
    with pytest.raises(Exited):
        worker.exit_with(theirs)


@pytest.mark.parametrize(("result", "parent", "ends"), [(0, None, None), (0, 1, Exited), (-1, None, OSError)])
def test_it_dies_with_its_parent(monkeypatch, result, parent, ends):
    asked = []

    def prctl(*args):
        asked.append(args)
        return result

    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: types.SimpleNamespace(prctl=prctl))
    if ends is None:
        worker.die_with_parent(os.getppid())
    else:
        with pytest.raises(ends):
            worker.die_with_parent(parent or os.getppid())
    assert asked == [(1, 9, 0, 0, 0)]


def test_limits_are_set_and_a_container_that_forbids_one_is_no_fault(monkeypatch, tmp_path):
    limits, nice = [], []
    monkeypatch.setattr(worker.resource, "setrlimit", lambda kind, pair: limits.append((kind, pair)))
    monkeypatch.setattr(os, "umask", lambda mask: limits.append(mask))
    monkeypatch.setattr(worker, "open", lambda name, mode: (tmp_path / "score").open(mode), raising=False)
    monkeypatch.setattr(os, "nice", nice.append)
    worker.limit(SETTINGS)
    assert limits == [0o077, (worker.resource.RLIMIT_CORE, (0, 0))]
    assert (tmp_path / "score").read_text() == "600"
    worker.limit(SETTINGS | {"nice": 5, "address_space_bytes_max": 1 << 30})
    assert limits[-1] == (worker.resource.RLIMIT_AS, (1 << 30, 1 << 30))
    assert nice == [5]

    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(worker, "open", forbidden)
    monkeypatch.setattr(os, "nice", forbidden)
    worker.limit(SETTINGS | {"nice": 5})


@pytest.mark.parametrize("embeddings", [False, True])
def test_the_engines_unsafe_defaults_are_off(embeddings):
    engine = runpy.run_path(str(FAKE / "xllamacpp.py"))
    model = Model(name="m", digest="", file_bytes=1, slots=2, embeddings=embeddings)
    made = worker_settings(model, Tuned(threads=3), Limits(), is_x86=True, socket="/s", key="k")
    line = json.loads(msgspec.json.encode(made))
    params = worker.params(types.SimpleNamespace(**engine), line, ["/proc/self/fd/9"])
    assert (params.api_keys, params.hostnames, params.port) == (["k"], ["/s"], 0)
    assert (params.cors_origins, params.ui, params.offline, params.endpoint_props) == ("", False, True, False)
    assert params.model.path == "/proc/self/fd/9"
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 3
    assert params.verbosity == 1
    assert params.cache_ram_mib <= 256
    assert getattr(params, "embedding", False) is embeddings


def test_every_parameter_is_one_that_the_real_engine_knows():
    engine = pytest.importorskip("xllamacpp")
    model = Model(name="m", digest="", file_bytes=1, embeddings=True)
    made = worker_settings(model, Tuned(threads=1), Limits(), is_x86=True, socket="/s", key="k")
    line = json.loads(msgspec.json.encode(made))
    params = worker.params(engine, line, ["/m", "/a"])
    assert [one.path for one in params.lora_adapters] == ["/a"]
    assert params.n_ctx == 4096
    assert params.cache_type_k == engine.ggml_type.GGML_TYPE_F16


def test_it_says_when_it_is_ready_and_keeps_serving(monkeypatch, link, tmp_path):
    ours, theirs = link
    (tmp_path / "model").write_text("starts")
    ready, out = os.pipe()
    engine = types.SimpleNamespace(**runpy.run_path(str(FAKE / "xllamacpp.py")))
    engine.Server = lambda p: types.SimpleNamespace(listening_address=f"unix://{p.hostnames[0]}")
    monkeypatch.setitem(sys.modules, "xllamacpp", engine)
    monkeypatch.setattr(worker, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(worker, "take_stdout", lambda: out)
    monkeypatch.setattr(worker, "limit", lambda settings: None)
    monkeypatch.setattr(worker, "to_parent", lambda: theirs)
    monkeypatch.setattr(worker, "exit_with", lambda link: None)
    model = Model(name="m", digest="", file_bytes=1)
    made = worker_settings(model, Tuned(threads=1), Limits(), is_x86=True, socket=str(tmp_path / "s"), key="k")
    with (tmp_path / "model").open("rb") as file:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))]
        ours.sendmsg([msgspec.json.encode(made) + b"\n"], rights)
    monkeypatch.setattr(worker, "stay", lambda server: None)
    worker.main()
    line = json.loads(os.read(ready, 1000))
    assert line["address"] == f"unix://{tmp_path / 's'}"
    assert line["load_s"] >= 0
    os.close(ready)
    os.close(out)


def test_standard_output_is_kept_for_the_ready_line(tmp_path):
    script = (
        f"import sys, os; sys.path.insert(0, {os.path.dirname(worker.__file__)!r}); import worker; "
        "fd = worker.take_stdout(); os.write(fd, b'ready'); os.write(1, b'noise')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"ready", b"noise")


def test_a_failure_is_told_in_one_line(monkeypatch, capfd):
    def fails():
        raise RuntimeError("no engine")

    monkeypatch.setattr(worker, "main", fails)
    with pytest.raises(Exited):
        worker.run()
    assert capfd.readouterr().err == "worker: RuntimeError: no engine\n"
