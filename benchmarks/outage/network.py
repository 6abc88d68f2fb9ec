"""A site and a cloud, each a network namespace, and the link between them. Nothing outside this machine is touched."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

SITE_IP, CLOUD_IP = "10.78.0.1", "10.78.0.2"
CLONE_NEWNET = 0x40000000


class NetworkError(Exception):
    """There can be no namespaces here: not root, no iproute2, or a container that may not."""


def run(*command: str) -> str:
    """Runs a tool to its end.

    Raises:
        NetworkError: it failed.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NetworkError(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}") from error


class Network:
    """The two namespaces. `with` it: they are gone afterwards."""

    def __init__(self) -> None:
        self.site, self.cloud = f"eco-osite-{os.getpid()}", f"eco-ocloud-{os.getpid()}"
        self._is_swallowed = self._is_narrow = False

    def __enter__(self) -> Network:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise NetworkError("network namespaces need root and iproute2")
        run("ip", "netns", "add", self.site)
        run("ip", "netns", "add", self.cloud)
        run("ip", "-n", self.site, "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", self.cloud)
        for name, device, address in ((self.site, "up0", SITE_IP), (self.cloud, "up1", CLOUD_IP)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", device, "up")
        folder = Path("/etc/netns") / self.site
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resolv.conf").write_text(f"nameserver {CLOUD_IP}\noptions timeout:2 attempts:2\n")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.site, self.cloud):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def socket(self, where: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A new socket of that namespace."""
        with _inside(where):
            return socket.socket(socket.AF_INET, kind)

    def listen(self, where: str, address: str, port: int = 0) -> socket.socket:
        """A listening socket of that namespace."""
        made = self.socket(where)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(512)
        made.setblocking(False)
        return made

    def swallow(self) -> None:
        """From now on nothing comes back, and nobody says so."""
        if not self._is_swallowed:
            run("ip", "-n", self.cloud, "route", "add", "blackhole", f"{SITE_IP}/32")
        self._is_swallowed = True

    def narrow(self, kbit: int) -> None:
        """The link carries so much, each way."""
        for name, device in ((self.site, "up0"), (self.cloud, "up1")):
            shape = ("rate", f"{kbit}kbit", "burst", "1600", "latency", "800ms")
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", device, "root", "tbf", *shape)
        self._is_narrow = True

    def heal(self) -> None:
        """The end of `swallow` and `narrow`."""
        if self._is_swallowed:
            run("ip", "-n", self.cloud, "route", "delete", "blackhole", f"{SITE_IP}/32")
        if self._is_narrow:
            for name, device in ((self.site, "up0"), (self.cloud, "up1")):
                run("ip", "netns", "exec", name, "tc", "qdisc", "delete", "dev", device, "root")
        self._is_swallowed = self._is_narrow = False

    def carried_bytes(self) -> int:
        """What has gone over the site's end of the link, both ways, headers of all layers included."""
        told = json.loads(run("ip", "-n", self.site, "-s", "-j", "link", "show", "up0"))[0]["stats64"]
        return int(told["rx"]["bytes"]) + int(told["tx"]["bytes"])


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """This thread's new sockets belong to that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(there)
        os.close(home)
