"""Who is measured: Ecotone, and LiteLLM with its documented local fallback, each inside the site's namespace."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from contenders import CONTENDERS, KEY, LITELLM_VENV, WORK, SetupError, ecotone_binary
from network import Network

CLOUD_NAME = "cloud.example"
CLOUD_PORT = 8443
START_S = 90.0

ECOTONE_YAML = """\
site: outage
listen: {{address: 127.0.0.1, port: {port}}}
store: {{path: {directory}/store}}
targets:
  big: {{url: "https://{name}:{cloud}/v1", model: large-1, key: "env:UP_KEY", at: cloud, ca_file: "{ca}"}}
  ward: {ward}
engines: {{measure: false}}
models:
  assistant: {{targets: [big, ward], mode: cloud, handover: continue}}
privacy: {{detectors: [patterns]}}
timeouts: {{idle_s: 1.5}}
keys: {{bench: "env:BENCH_KEY"}}
"""
FAKE = '{{url: "http://127.0.0.1:{edge}/v1", model: small-1, at: edge, capabilities: [stream, continue, stop, seed]}}'
REAL = "{engine: llama.cpp, model: smollm2-135m, slots: 4, context_tokens: 2048, threads: 1}"
MODELS = Path(os.environ.get("ECOTONE_TEST_STORE", WORK.parent.parent / ".venv" / ".ecotone-test-store"))

LITELLM_YAML = """\
model_list:
  - model_name: assistant
    litellm_params:
      {{model: openai/large-1, api_base: "https://{name}:{cloud}/v1", api_key: sk-up, timeout: 2, stream_timeout: 2}}
  - model_name: ward
    litellm_params: {{model: openai/small-1, api_base: "http://127.0.0.1:{edge}/v1", api_key: sk-up, timeout: 5}}
router_settings:
  num_retries: 0
  allowed_fails: 1
  cooldown_time: 5
  fallbacks: [{{assistant: [ward]}}]
litellm_settings:
  num_retries: 0
  fallbacks: [{{assistant: [ward]}}]
general_settings:
  master_key: os.environ/BENCH_KEY
"""


class Gateway:
    """One gateway in the site's namespace, started by `begin`, ended by `end`."""

    def __init__(self, name: str, network: Network, edge_port: int | None, ca: Path) -> None:
        """`name`: ecotone or litellm. Without a port the edge is the real starter model, for Ecotone alone."""
        self.name = name
        self.has_jobs = name == "ecotone"
        self._network = network
        self._directory = Path(tempfile.mkdtemp(prefix=f"outage-{name}-", dir=_runs()))
        with self.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        values = {"port": self.port, "directory": self._directory, "name": CLOUD_NAME, "cloud": CLOUD_PORT,
                  "edge": edge_port, "ca": ca}  # fmt: skip
        values["ward"] = REAL if edge_port is None else FAKE.format(edge=edge_port)
        if edge_port is None:
            (self._directory / "store").mkdir()
            (self._directory / "store" / "assets").symlink_to(MODELS / "assets")
        self._conf = self._directory / f"{name}.yaml"
        self._conf.write_text((ECOTONE_YAML if self.has_jobs else LITELLM_YAML).format(**values))
        self._ca = ca
        self.version = CONTENDERS["ecotone-cloud" if self.has_jobs else "litellm"].version()
        self._child: subprocess.Popen[bytes] | None = None

    def socket(self) -> socket.socket:
        """A new socket of the site."""
        return self._network.socket(self._network.site)

    async def begin(self) -> None:
        """Until it takes connections.

        Raises:
            SetupError: it does not.
        """
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "CRITICAL"}
        gone = ("ECOTONE_", "LITELLM_", "OPENAI_")
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(gone) and not name.lower().endswith("_proxy")}  # fmt: skip
        env |= quiet | {"UP_KEY": "sk-up", "BENCH_KEY": KEY, "SSL_CERT_FILE": str(self._ca)}
        argv = [str(ecotone_binary()), "up", "-c", str(self._conf)]
        if not self.has_jobs:
            argv = [str(LITELLM_VENV / "bin" / "litellm"), "--config", str(self._conf), "--host", "127.0.0.1",
                    "--telemetry", "False", "--port", str(self.port)]  # fmt: skip
        with (self._directory / "log").open("wb") as log:
            self._child = subprocess.Popen(
                ["ip", "netns", "exec", self._network.site, *argv], stdout=log, stderr=log, env=env,
                stdin=subprocess.DEVNULL, start_new_session=True, cwd=self._directory,
            )  # fmt: skip
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if self._child.poll() is not None:
                break
            with self.socket() as probe:
                probe.setblocking(False)
                try:
                    await asyncio.get_running_loop().sock_connect(probe, ("127.0.0.1", self.port))
                except OSError:
                    await asyncio.sleep(0.1)
                else:
                    return
        raise SetupError(f"{self.name} did not start: {(self._directory / 'log').read_text()[-600:]}")

    def end(self) -> None:
        """Ends it, its workers included."""
        if self._child is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._child.pid, how)
                self._child.wait(8)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _runs() -> Path:
    runs = WORK / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    return runs


Make = Callable[[], socket.socket]
__all__ = ["CLOUD_NAME", "CLOUD_PORT", "KEY", "WORK", "Gateway", "SetupError"]
