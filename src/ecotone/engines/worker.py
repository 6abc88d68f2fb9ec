"""The child process: one model, one llama-server on a private Unix socket. Run as a script by `child`.

Standard library and the engine only, so that it starts fast and stays small. It must not outlive its parent: the
kernel kills it when the parent's thread ends, and it exits when its standard input, a socket from the parent, closes.
Settings come as one JSON line on that socket, with the model file's open descriptor; nothing is in `argv` or the
environment. One JSON line on standard output says that it is ready. All that the engine prints goes to standard error.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from typing import Any

SETTINGS_BYTES_MAX = 64 * 1024
FILES_MAX = 2
PR_SET_PDEATHSIG = 1
LOG_ERRORS_ONLY = 1


def main() -> None:
    """Serves until the parent goes or kills it."""
    parent = os.getppid()
    die_with_parent(parent)
    ready_fd = take_stdout()
    began_s = time.monotonic()
    import xllamacpp  # while the parent still checks the model file

    link = to_parent()
    settings, fds = receive(link)
    threading.Thread(target=exit_with, args=(link,), daemon=True).start()
    limit(settings)
    load_s = time.monotonic()
    server = xllamacpp.Server(params(xllamacpp, settings, [f"/proc/self/fd/{fd}" for fd in fds]))
    now_s = time.monotonic()
    ready = {"address": server.listening_address, "load_s": now_s - load_s, "up_s": now_s - began_s}
    os.write(ready_fd, json.dumps(ready).encode() + b"\n")
    stay(server)


def stay(server: object) -> None:
    """Keeps the server. The process only ends by `os._exit` or a signal: the server's destructor can hang."""
    threading.Event().wait()
    raise AssertionError(server)


def die_with_parent(parent: int) -> None:
    """Asks the kernel for SIGKILL at the parent's death; exits if that came before."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)


def take_stdout() -> int:
    """Keeps standard output for the ready line; what the engine prints goes to standard error, which never blocks."""
    ready_fd = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(2, False)
    return ready_fd


def to_parent() -> socket.socket:
    """The socket that is standard input."""
    return socket.socket(fileno=0)


def receive(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The settings line and the descriptors of the model file and its adapter's. Exits where the parent has closed."""
    data, fds = b"", array.array("i")
    while not data.endswith(b"\n"):
        piece, ancillary, _, _ = link.recvmsg(SETTINGS_BYTES_MAX, socket.CMSG_SPACE(FILES_MAX * fds.itemsize))
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        data += piece
        if not piece or len(data) > SETTINGS_BYTES_MAX:
            os._exit(0)
    settings: dict[str, Any] = json.loads(data)
    return settings, list(fds)


def exit_with(link: socket.socket) -> None:
    """Ends the process when the parent's end of the socket closes."""
    with contextlib.suppress(OSError):
        while link.recv(4096):
            pass
    os._exit(0)


def limit(settings: dict[str, Any]) -> None:
    """Makes this process the first to go when memory is short, and polite; no core dumps: they hold prompts."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if settings["address_space_bytes_max"]:
        resource.setrlimit(resource.RLIMIT_AS, (settings["address_space_bytes_max"],) * 2)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # a container may not let us
        file.write(str(settings["oom_score_adj"]))
    if settings["nice"]:
        with contextlib.suppress(OSError):
            os.nice(settings["nice"])


def params(engine: Any, settings: dict[str, Any], paths: list[str]) -> Any:
    """The engine's parameters: safe where its defaults are not (no key, CORS for all, web page, 8 GiB of cache)."""
    p = engine.CommonParams()
    p.model.path = paths[0]
    if len(paths) > 1:
        p.lora_adapters = [engine.CommonAdapterLoraInfo(paths[1], 1.0)]
    p.model_alias = {settings["alias"]}
    p.hostnames, p.port = [settings["socket"]], 0
    p.api_keys = [settings["key"]]
    p.cors_origins, p.cors_origins_explicit, p.cors_credentials = "", True, False
    p.ui, p.offline, p.verbosity = False, True, LOG_ERRORS_ONLY
    p.endpoint_slots, p.endpoint_props, p.endpoint_metrics = True, False, False
    p.n_ctx, p.n_parallel = settings["n_ctx"], settings["slots"]
    p.n_batch = p.n_ubatch = settings["batch"]
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = settings["threads"]
    kind = getattr(engine.ggml_type, f"GGML_TYPE_{settings['cache_type'].upper()}")
    p.cache_type_k = p.cache_type_v = kind
    p.cache_ram_mib = settings["cache_ram_mib"]
    p.no_extra_bufts = settings["no_extra_bufts"]
    # `fit_params` loads the model a second time, to fit a GPU that is not there.
    p.fit_params, p.n_gpu_layers, p.warmup = False, 0, settings["warmup"]
    if settings["embeddings"]:
        p.embedding, p.pooling_type = True, engine.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return p


def run() -> None:
    """`main`, with a failure told in one line on standard error."""
    try:
        main()
    except (RuntimeError, OSError, ValueError, KeyError, ImportError) as error:
        with contextlib.suppress(OSError):
            os.write(2, f"worker: {type(error).__name__}: {error}\n".encode())
        os._exit(1)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    run()
