"""Who is measured: how each contender is installed, configured and started."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = HERE.parent / ".work"
LITELLM_VERSION = "1.109.1"
KEY = "sk-bench-0123456789abcdef"
INSTALL_LIMIT_S = 600


class SetupError(Exception):
    """A contender cannot be installed or started; the report says so and the bench goes on."""


@dataclass(frozen=True)
class Place:
    """Where one start of a contender happens: its own directory on disk and the two ports."""

    directory: Path
    port: int
    upstream_port: int


@dataclass(frozen=True)
class Launch:
    """What to run."""

    argv: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Contender:
    """One row of the report. `launch` is None for direct: the load goes straight to the upstream."""

    name: str
    note: str
    start_limit_s: float
    version: Callable[[], str]
    launch: Callable[[Place], Launch] | None


def is_root() -> bool:
    """Whether the bench may install packages and make network namespaces."""
    return os.geteuid() == 0


def run_tool(argv: list[str], limit_s: float) -> str:
    """Runs a tool to its end and returns what it printed.

    Raises:
        SetupError: it is missing, failed or took longer than `limit_s`.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{argv[0]}: {error}") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise SetupError(f"`{' '.join(argv)}` ended with {done.returncode}: {tail[-600:]}")
    return done.stdout + done.stderr


def _environment(**more: str) -> dict[str, str]:
    """The caller's environment without what would change a contender or lead off the machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ECOTONE_", "LITELLM_", "OPENAI_")) and not name.lower().endswith("_proxy")
    }
    return kept | more


# nginx: the floor, a reverse proxy with keep-alive that decides nothing


def _nginx_binary() -> str:
    """The path of nginx, installed or unpacked if need be.

    Raises:
        SetupError: neither works here.
    """
    unpacked = WORK / "nginx" / "usr" / "sbin" / "nginx"
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found or unpacked.exists():
        return found or str(unpacked)
    if is_root():
        return _nginx_by_apt()
    return _nginx_unpacked(unpacked)


def _nginx_by_apt() -> str:
    install = ["apt-get", "install", "-y", "--no-install-recommends", "nginx-light"]
    try:
        run_tool(install, INSTALL_LIMIT_S)
    except SetupError:
        run_tool(["apt-get", "update"], INSTALL_LIMIT_S)
        run_tool(install, INSTALL_LIMIT_S)
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if not found:
        raise SetupError("nginx-light was installed, but there is no nginx in /usr/sbin")
    return found


def _nginx_unpacked(binary: Path) -> str:
    directory = WORK / "nginx"
    directory.mkdir(parents=True, exist_ok=True)
    script = f"cd {directory} && (apt-get download nginx || apt-get download nginx-light) && dpkg -x nginx*.deb ."
    run_tool(["sh", "-c", script], INSTALL_LIMIT_S)
    if not binary.exists():
        raise SetupError("no nginx on PATH and none in its package: run `apt-get install nginx-light`")
    return str(binary)


def _nginx_version() -> str:
    return run_tool([_nginx_binary(), "-v"], 10).strip().removeprefix("nginx version: ").replace("/", " ")


NGINX_CONF = """\
{user}worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 100000000;
  upstream fake {{ server 127.0.0.1:{upstream_port}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://fake;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def _launch_nginx(place: Place) -> Launch:
    conf = place.directory / "nginx.conf"
    user = "user root;\n" if is_root() else ""
    conf.write_text(
        NGINX_CONF.format(user=user, directory=place.directory, port=place.port, upstream_port=place.upstream_port)
    )
    return Launch([_nginx_binary(), "-p", str(place.directory), "-c", str(conf)], _environment())


# Ecotone, everything on: keys, placement, ledger, metrics, request log

ECOTONE_YAML = """\
site: bench
listen: {{address: 127.0.0.1, port: {port}}}
store: {{path: {directory}/store}}
targets:
  up: {{url: "http://127.0.0.1:{upstream_port}/v1", model: fake-1, key: "env:UP_KEY", at: {at}{price}}}
models:
  assistant: {{targets: [up], mode: auto}}
privacy: {{detectors: [patterns]}}
keys: {{bench: "env:BENCH_KEY"}}
"""
LEARNED_YAML = """\
site: bench
listen: {{address: 127.0.0.1, port: {port}}}
store: {{path: {directory}/store}}
targets:
  near: {{url: "http://127.0.0.1:{upstream_port}/v1", model: fake-1, at: edge}}
  up: {{url: "http://127.0.0.1:{upstream_port}/v1", model: fake-1, key: "env:UP_KEY", at: cloud{price}}}
models:
  assistant: {{targets: [near, up], mode: auto, quality: {{loss_max: 0.02}}}}
learning: {{shadow_share: 0}}
privacy: {{detectors: [patterns]}}
keys: {{bench: "env:BENCH_KEY"}}
"""
PRICE = ", price: {input_usd_per_mtok: 0.25, output_usd_per_mtok: 2.0}"


def ecotone_binary() -> Path:
    """The `ecotone` beside the Python that runs the bench, or ECOTONE_BIN."""
    return Path(os.environ.get("ECOTONE_BIN") or Path(sys.executable).parent / "ecotone")


def _ecotone_version() -> str:
    if not ecotone_binary().exists():
        raise SetupError(f"{ecotone_binary()} is missing: run `make setup`")
    if "ECOTONE_BIN" in os.environ:
        return f"NOT THIS TREE'S: ECOTONE_BIN={ecotone_binary()}"
    script = "import importlib.metadata as m; print(m.version('ecotone'))"
    version = run_tool([sys.executable, "-c", script], 20).strip()
    try:
        commit = run_tool(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], 10).strip()
        changed = run_tool(["git", "-C", str(ROOT), "status", "--porcelain", "src"], 10).strip()
    except SetupError:
        return version
    return f"{version} ({commit}{', src changed' if changed else ''})"


def _launch_ecotone(at: str) -> Callable[[Place], Launch]:
    def launch(place: Place) -> Launch:
        conf = place.directory / "ecotone.yaml"
        price = "" if at == "edge" else PRICE
        values = {"port": place.port, "upstream_port": place.upstream_port, "directory": place.directory}
        text = LEARNED_YAML if at == "learned" else ECOTONE_YAML
        conf.write_text(text.format(at=at, price=price, **values))
        env = _environment(UP_KEY="sk-up", BENCH_KEY=KEY)
        return Launch([str(ecotone_binary()), "up", "-c", str(conf)], env)

    return launch


# LiteLLM proxy, in its own venv

LITELLM_VENV = WORK / "litellm"
LITELLM_YAML = """\
model_list:
  - model_name: assistant
    litellm_params:
      model: openai/fake-1
      api_base: http://127.0.0.1:{upstream_port}/v1
      api_key: sk-up
general_settings:
  master_key: os.environ/BENCH_KEY
"""


def _pip(*argv: str) -> None:
    pip = [str(LITELLM_VENV / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    run_tool(pip + list(argv), INSTALL_LIMIT_S)


def _starts() -> bool:
    try:
        run_tool([str(LITELLM_VENV / "bin" / "litellm"), "--version"], 60)
    except SetupError:
        return False
    return True


def _install_litellm() -> str:
    """Installs LiteLLM in its venv; returns how, in words.

    The pinned release asks for newer dependencies than some registries hold: then it runs on the dependency set of the
    release that pip resolves, and if it does not start on that, the resolved release is measured.
    """
    if not (LITELLM_VENV / "bin" / "pip").exists():
        run_tool([sys.executable, "-m", "venv", str(LITELLM_VENV)], 120)
    try:
        _pip(f"litellm[proxy]=={LITELLM_VERSION}")
    except SetupError:
        _pip("litellm[proxy]")
    else:
        return "as pinned"
    resolved = _litellm_release()
    try:
        _pip("--no-deps", f"litellm=={LITELLM_VERSION}")
    except SetupError:
        return "as pip resolves; the pinned release cannot be fetched"
    if _starts():
        return f"on the dependencies of {resolved}, since pip cannot resolve its own here"
    _pip("--no-deps", f"litellm=={resolved}")
    return "as pip resolves; the pinned release does not start on these dependencies"


def _litellm_release() -> str:
    script = "import importlib.metadata as m; print(m.version('litellm'))"
    return run_tool([str(LITELLM_VENV / "bin" / "python"), "-c", script], 30).strip()


def _litellm_version() -> str:
    marker = LITELLM_VENV / "bench-install.json"
    if not marker.exists():
        print(f"installing LiteLLM {LITELLM_VERSION} in {LITELLM_VENV} (once, about a minute) ...", file=sys.stderr)
        how = _install_litellm()
        marker.write_text(json.dumps({"how": how}))
    return f"{_litellm_release()} ({json.loads(marker.read_text())['how']})"


def _launch_litellm(place: Place) -> Launch:
    conf = place.directory / "litellm.yaml"
    conf.write_text(LITELLM_YAML.format(upstream_port=place.upstream_port))
    # The price map comes from the package, not from the network: otherwise every start waits for GitHub.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    env = _environment(BENCH_KEY=KEY, **quiet)
    argv = [str(LITELLM_VENV / "bin" / "litellm"), "--config", str(conf), "--host", "127.0.0.1", "--telemetry", "False"]
    return Launch([*argv, "--port", str(place.port)], env)


def _no_version() -> str:
    return "-"


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("direct", "no gateway", 5, _no_version, None),
        Contender("nginx", "reverse proxy with keep-alive, no decision", 10, _nginx_version, _launch_nginx),
        Contender(
            "ecotone-cloud",
            "everything on, target at: cloud (durable ledger entry before each egress)",
            20,
            _ecotone_version,
            _launch_ecotone("cloud"),
        ),
        Contender("ecotone-edge", "everything on, target at: edge", 20, _ecotone_version, _launch_ecotone("edge")),
        Contender(
            "ecotone-learned",
            "as ecotone-cloud, at a name that promises a quality: each decision is a learned one (nothing is compared)",
            20,
            _ecotone_version,
            _launch_ecotone("learned"),
        ),
        Contender("litellm", "one worker, master key, no database", 90, _litellm_version, _launch_litellm),
    )
}


def last_words(log: Path) -> str:
    """The last lines of a contender's log without escape codes, for the report."""
    if not log.exists():
        return "no log"
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace")).strip()
    return " | ".join(text.splitlines()[-3:])[-400:] or "it printed nothing"
