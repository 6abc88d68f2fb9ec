"""`make outage`: one trace through Ecotone and through LiteLLM, while the link goes through twelve troubles."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from callers import Ask, Caller, Told, trace
from gateways import CLOUD_PORT, KEY, Gateway, SetupError
from network import CLOUD_IP, Network, NetworkError, run
from verdicts import figures, page
from world import Link, Names, Pair, Server

BEFORE_SHARE, TROUBLE_SHARE = 0.15, 0.65
RATE_RPS = 12.0
FLAP_S = 1.5
"""Half a period: 60 s flaps, 20 times as fast."""
BACK_S = 25.0
"""How long is waited between two troubles for the cloud to be used again."""

Change = Callable[["World"], None]


class World:
    """All instruments, in one process: those of the cloud in its namespace, the edge server at the site."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network = network
        self.cloud, self.edge = Server(first_s=0.03, gap_s=0.01), Server(first_s=0.02, gap_s=0.015)
        self.names = Names(CLOUD_IP)
        self.seed = seed
        self.edge_port = 0
        self.link: Link

    async def begin(self, folder: Path) -> Path:
        """Starts them; the file that vouches for the true server."""
        loop, network = asyncio.get_running_loop(), self.network
        ports = []
        for name in ("true", "false"):
            sock = network.listen(network.cloud, "127.0.0.1")
            await asyncio.start_server(self.cloud.serve, sock=sock, ssl=_trust(folder, name))
            ports.append(int(sock.getsockname()[1]))

        async def connect(port: int) -> Pair:
            sock = network.socket(network.cloud)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)

        self.link = Link(connect, (ports[0], ports[1]), self.seed)
        await asyncio.start_server(self.link.serve, sock=network.listen(network.cloud, "0.0.0.0", CLOUD_PORT))
        edge = network.listen(network.site, "127.0.0.1")
        self.edge_port = int(edge.getsockname()[1])
        await asyncio.start_server(self.edge.serve, sock=edge)
        names = network.socket(network.cloud, socket.SOCK_DGRAM)
        names.bind((CLOUD_IP, 53))
        await loop.create_datagram_endpoint(lambda: self.names, sock=names)
        return folder / "true.pem"

    def heal(self) -> None:
        """The end of all trouble."""
        self.network.heal()
        self.link.calm()
        self.names.is_dead = False
        self.cloud.behaviour = "ok"


def _trust(folder: Path, name: str) -> ssl.SSLContext:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:cloud.example", "-keyout", str(key), "-out",
        str(certificate))  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _set(**values: Any) -> Change:
    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world.link, name, value)

    return change


def _behave(how: str) -> Change:
    def change(world: World) -> None:
        world.cloud.behaviour = how

    return change


def _dropped(change: Change) -> Change:
    """Kept connections end as well, as with a router that starts anew: only new ones meet the trouble."""

    def both(world: World) -> None:
        change(world)
        world.link.drop()

    return both


def _dns_dead(world: World) -> None:
    world.names.is_dead = True


def _portal(world: World) -> None:
    _behave("portal")(world)
    _set(is_false=True, false_every=3)(world)


TROUBLES: dict[str, tuple[str, Change]] = {
    "cut": ("packets vanish both ways, nobody says so", lambda world: world.network.swallow()),
    "flaps": (f"down {FLAP_S:g} s, up {FLAP_S:g} s (60 s flaps, 20 times as fast)", lambda world: None),
    "rtt 2 s": ("one second each way, in the link", _set(delay_s=1.0)),
    "64 kbit/s": ("`tc tbf` both ways", lambda world: world.network.narrow(64)),
    "30 % resets": ("of connections: at once, after the request, or in the answer", _dropped(_set(resets=0.3))),
    "DNS dead": ("the name server is silent; kept connections end", _dropped(_dns_dead)),
    "TLS broken": ("a certificate that nobody vouches for; kept connections end", _dropped(_set(is_false=True))),
    "blackhole": ("connections are taken, and no byte is passed on", _set(is_dark=True)),
    "stall": ("answers stop in their midst", _behave("stall")),
    "503 storm": ("every answer is 503", _behave("503")),
    "429 storm": ("every answer is 429 with Retry-After: 2", _behave("429")),
    "captive portal": ("HTML with 200, redirects, and each third connection a wrong certificate", _dropped(_portal)),
}


async def phase(world: World, gateway: Gateway, name: str, asks: list[Ask], seconds: float) -> dict[str, Any]:
    """One trouble for one gateway: the requests of its trace, the trouble in their midst, and the link's return."""
    caller = Caller(gateway.socket, gateway.port, KEY, has_jobs=gateway.has_jobs)
    world.cloud.seen.clear()
    world.edge.seen.clear()
    bytes_before, began_s = world.network.carried_bytes(), time.monotonic()
    script = asyncio.create_task(_script(world, name, seconds))
    told: list[Told] = []

    async def one(ask: Ask) -> None:
        await asyncio.sleep(began_s + ask.at_s - time.monotonic())
        told.append(await caller.ask(ask))

    await asyncio.gather(*(one(ask) for ask in asks))
    healed_s = await script
    made = figures(told, world.cloud.seen)
    made["link_bytes"] = world.network.carried_bytes() - bytes_before
    made["back_s"] = await _back_s(world, caller, name, healed_s)
    return made


async def _script(world: World, name: str, seconds: float) -> float:
    """The trouble, and the instant of its end."""
    await asyncio.sleep(seconds * BEFORE_SHARE)
    try:
        if name == "flaps":
            until_s = time.monotonic() + seconds * TROUBLE_SHARE
            while time.monotonic() < until_s:
                world.network.swallow()
                await asyncio.sleep(FLAP_S)
                world.network.heal()
                await asyncio.sleep(FLAP_S)
        else:
            TROUBLES[name][1](world)
            await asyncio.sleep(seconds * TROUBLE_SHARE)
    finally:
        world.heal()
    return time.monotonic()


async def _back_s(world: World, caller: Caller, name: str, healed_s: float) -> float | None:
    """Seconds from the end of the trouble to the first answer that the cloud completed."""
    for number in range(int(BACK_S / 0.25)):
        after = [at_s for at_s in world.cloud.answered_at_s if at_s > healed_s]
        if after:
            return round(after[0] - healed_s, 2)
        await caller.ask(Ask(f"back-{name}-{number}", "json", 0.0, 2))
        await asyncio.sleep(0.25)
    return None


@contextlib.asynccontextmanager
async def started(names: list[str], world: World, ca: Path, edge_port: int | None) -> AsyncIterator[list[Gateway]]:
    """Those gateways that start; of the others the reason is printed."""
    running = []
    try:
        for name in names:
            try:
                gateway = Gateway(name, world.network, edge_port, ca)
                running.append(gateway)
                await gateway.begin()
            except SetupError as error:
                print(f"{name}: {error}", file=sys.stderr)
                running = [one for one in running if one.name != name]
        yield running
    finally:
        for one in running:
            one.end()


async def measure(options: argparse.Namespace, network: Network, folder: Path) -> dict[str, Any]:
    """All troubles for all gateways, in turns."""
    world = World(network, options.seed)
    ca = await world.begin(folder)
    names = options.troubles.split(",") if options.troubles else list(TROUBLES)
    count = max(10, options.requests // len(names))
    seconds = max(8.0, count / options.rate)
    found: dict[str, Any] = {"troubles": {name: TROUBLES[name][0] for name in names}, "gateways": {}}
    is_real = options.edge == "local"
    edge_port = None if is_real else world.edge_port
    async with started(options.gateways.split(","), world, ca, edge_port) as gateways:
        for gateway in gateways:
            found["gateways"][gateway.name] = {"version": gateway.version, "phases": {}}
            caller = Caller(gateway.socket, gateway.port, KEY, has_jobs=gateway.has_jobs)
            await asyncio.gather(*(caller.ask(Ask(f"warm-{n}", "stream" if n % 3 else "json", 0, 2)) for n in range(8)))
        for name in names:
            asks = trace(name, count, seconds, options.seed, is_small=is_real)
            for gateway in gateways:
                made = await phase(world, gateway, name, asks, seconds)
                found["gateways"][gateway.name]["phases"][name] = made
                short = {key: made[key] for key in ("ends", "ttft_s_p99", "back_s")}
                print(f"{name:15} {gateway.name:8} {json.dumps(short)} {json.dumps(made['whys'])}", flush=True)
    return found | {"requests": count * len(names), "seconds_each": seconds, "seed": options.seed, "edge": options.edge}


def main(argv: list[str] | None = None) -> int:
    """Measures, and writes JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="in all, for each gateway")
    parser.add_argument("--rate", type=float, default=RATE_RPS, help="requests a second")
    parser.add_argument("--troubles", default="", help="with commas between; default: all twelve")
    parser.add_argument("--gateways", default="ecotone,litellm")
    parser.add_argument(
        "--edge", choices=("fake", "local"), default="fake", help="local: the starter model, for Ecotone"
    )
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, help="folder for the results; default: results, or .work where not all ran")
    options = parser.parse_args(argv)
    began = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Network() as network:
                found = asyncio.run(_quiet(measure(options, network, Path(folder))))
        except NetworkError as error:
            print(f"no network namespaces here: {error}", file=sys.stderr)
            return 3
    found |= {"date": began.isoformat(timespec="minutes"), "load": [round(one, 2) for one in os.getloadavg()]}
    is_whole = not options.troubles and options.gateways == "ecotone,litellm" and options.requests >= 600
    here = Path(__file__).resolve().parent.parent
    out = options.out or here / ("results" if is_whole else ".work")
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"outage-{began:%Y-%m-%d}{'' if options.edge == 'fake' else '-local'}"
    file.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    file.with_suffix(".md").write_text(page(found))
    print(f"written: {file}.md")
    return 0


async def _quiet(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Connections that a trouble tears are no news of the loop's."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    return await work


if __name__ == "__main__":
    sys.exit(main())
