"""A site that has joined a hub across the link: what it says there, packet by packet."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from ecotone.agent import joined_file
from ecotone.agent.identity import Enrolment
from ecotone.agent.joined_file import Joined
from ecotone.delivery import site_trust
from ecotone.gateway.server import listen
from ecotone.hub.serving import Hub
from ecotone.hub.serving_process import _Process
from tests.e2e.conftest import Site, poll
from tests.egress.capture import streams
from tests.egress.conversations import Conversation
from tests.egress.stage import Leak, Stage
from tests.faults.test_network import CLOUD_IP
from tests.hub.served import OWNER, Served, TokenAsked, assign, made, opened

SAID = re.compile(
    rb"(?:GET|POST) (/v1/sites/[a-z-]+/(?:challenge|session|reports|desired)|/[a-z]+(?:/[^ ?]*)?\.?[a-z]*)"
)


class Away(Served):
    """A hub in the cloud's network."""

    async def _serve(self, hub: Hub) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.process = _Process(hub)
        listener = listen("0.0.0.0", 0)
        self.port = listener.getsockname()[1]
        with listener:
            await self.process.live([listener], self._stop, self._ready.set)


def join(served: Served, store: Path, url: str) -> None:
    """As `ecotone enroll` does it, which speaks to no hub without TLS that is not on its own machine."""
    with opened(served.settings) as hub:
        token = hub.sites.tokens.new(OWNER, TokenAsked(site="test"))[1]
        begun = Enrolment.begun(store, token)
        body = begun.body(token, "test")
        hub.sites.enroll(token, "test", body["key"])
    site_trust.pin((served.settings.folder / "trust.json").read_bytes(), "test", store)
    begun.done()
    joined_file.write(store, Joined(url=url, site="test", hub="hub"))


def hub(stage: Stage, count: int, *, mutant: str = "plain") -> None:
    """Reports, questions and deliveries go beside requests of all kinds, and no word of a caller goes with them."""
    from tests.egress import scenes

    folder = stage.folder / "hub"
    folder.mkdir()
    served = Away(made(folder, f"sqlite:///{folder / 'state' / 'hub.db'}"))
    with stage.link.in_cloud():
        served.start()
    try:
        url = f"http://{CLOUD_IP}:{served.port}"
        assign(served, "test", "smol@1")
        store = folder / "store"
        join(served, store, url)
        habits = {"url": url, "report_minutes": 0.05, "poll_s": 1}
        site = stage.site(stage.config(hub=habits, store={"path": str(store)}), mutant=mutant)
        site.store = store
        each = [*scenes.mixed(stage.dice, count, "assistant"), *scenes.mixed(stage.dice, count // 2, "fallback")]
        stage.send_all(site, "beside a hub", each)
        # A value as the name of a model is a caller's word too.
        names = [one for one in each if one.canary is not None][:5]
        for one in names:
            _ask_for(stage, site, one)
        if mutant == "plain":
            poll(lambda: _reported(served)["traffic"]["requests"] >= len(each), "the hub hears of them", 30)
            poll(lambda: _reported(served)["assets"], "the wish is carried out", 60)
        else:
            # A hub that cannot read reports says nothing of them: they are counted on the wire.
            poll(lambda: sum(b"/reports HTTP" in frame for frame, _ in stage.capture.frames) >= 3, "reports go", 30)
        stage.judge(arriving=["beside a hub"])
        report = json.dumps(_reported(served))
        if leaked := [one.marker for one in each if one.marker in report]:
            raise Leak(f"{len(leaked)} words of callers in a report [seed {stage.seed}]")
        site.stop()
        _all_is_in_the_ledger(stage, site, served.port)
        stage.look_inside(site)
    finally:
        served.stop()


def _ask_for(stage: Stage, site: Site, one: Conversation) -> None:
    assert one.canary is not None
    body = {"model": one.canary.value, "messages": [{"role": "user", "content": one.marker}]}
    site.ask("POST", "/v1/chat/completions", body)


def _reported(served: Served) -> dict[str, Any]:
    with opened(served.settings) as services:
        raw = services.reports.newest("test")
    return {"traffic": {"requests": 0}, "assets": []} if raw is None else dict(json.loads(raw))


def _all_is_in_the_ledger(stage: Stage, site: Site, port: int) -> None:
    """Each message that crossed the link has an entry of its own, and a delivery has begun with one."""
    frames = [frame for frame, is_from_site in stage.capture.frames if is_from_site]
    crossed = [found for stream in streams(frames) if b"%d" % port in stream for found in SAID.findall(stream)]
    spoken = [path for path in crossed if path.startswith(b"/v1/sites/")]
    kinds = [str(line["body"]["request"]) for line in site.ledger() if line.get("kind") == "egress"]
    mine = [kind for kind in kinds if kind.startswith("hub.")]
    if not spoken or len(spoken) > len([kind for kind in mine if kind != "hub.fetch"]):
        raise Leak(f"{len(spoken)} messages to the hub, and {len(mine)} entries [seed {stage.seed}]")
    if len(crossed) > len(spoken) and "hub.fetch" not in mine:
        raise Leak(f"a delivery without an entry [seed {stage.seed}]")
