"""Every path on which a request could get out, as a scene: what is sent, and what goes wrong meanwhile.

`SCENES` is the list that `test_every_path_is_driven` holds against the product: a new endpoint or a new way to place a
request fails there until a scene drives it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec
import yaml

from ecotone.values import Endpoint
from tests.e2e.conftest import Site, poll
from tests.egress import cloud
from tests.egress.canaries import Canary, plant
from tests.egress.conversations import IN_WORDS, Conversation, converse, harmless, protected
from tests.egress.hub_scene import hub as hub
from tests.egress.stage import Leak, Said, Stage

FREE: Final = {"privacy": {"detectors": ["patterns"], "labels": {"contact": {"egress": "free"}}}}
MASKED_LABELS: Final = ("contact", "card", "account", "national_id", "person")
MASKED: Final = {
    "privacy": {
        "detectors": ["patterns"],
        "labels": {label: {"egress": "pseudonymise"} for label in MASKED_LABELS},
    }
}


def mixed(dice: random.Random, count: int, model: str, **more: Any) -> list[Conversation]:
    """Two of three must stay."""
    each = [(harmless if number % 3 == 0 else protected)(dice, model=model, **more) for number in range(count)]
    dice.shuffle(each)
    return each


def kept_whole(conversation: Conversation, label: str) -> Conversation:
    """A harmless conversation that must stay for another reason than its words."""
    mark = conversation.marker
    return msgspec.structs.replace(
        conversation, canary=Canary(label, "conversation", "plain", mark, mark, mark), place="anywhere"
    )


def direct(stage: Stage, site: Site, count: int) -> None:
    """Every endpoint, streamed and not, the cloud first."""
    stage.send_all(site, "direct", mixed(stage.dice, count, "assistant"))
    stage.judge(arriving=["direct"])


def by_name(stage: Stage, site: Site, count: int) -> None:
    """A cloud that is found by asking a name server across the link."""
    stage.send_all(site, "by name", mixed(stage.dice, count, "named"))
    stage.judge(arriving=["by name"])


def wishes(stage: Stage, site: Site, count: int) -> None:
    """Callers who ask for the cloud, take labels away, or play the gateway."""
    headers = (
        {"Ecotone-Place": "cloud"}, {"Ecotone-Place": "cloud", "Ecotone-Labels": ""}, {"Ecotone-Labels": "place"},
        {"Ecotone-Place": "cloud", "Ecotone-Labels": "date, amount"}, {"Ecotone-Placed": "cloud"},
        {"Ecotone-Reason": "cloud.pinned"}, {"Ecotone-Permit": "all"}, {"Ecotone-Egress": "free"},
        {"Ecotone-Debug": "1", "Ecotone-Place": "cloud"}, {"Authorization": "Bearer x", "Ecotone-Place": "cloud"},
    )  # fmt: skip
    each = [
        msgspec.structs.replace(one, headers=dict(stage.dice.choice(headers)))
        for one in mixed(stage.dice, count, "assistant")
    ]
    stage.send_all(site, "caller's wish", each)
    stage.judge(arriving=["caller's wish"])


def headers(stage: Stage, site: Site, count: int) -> None:
    """Values in headers: none of a caller's headers goes on."""
    names = ("User-Agent", "X-Note", "OpenAI-Organization", "Cookie", "Idempotency-Key", "traceparent", "X-User")
    each = []
    for _ in range(count):
        canary = plant(stage.dice, stage.dice.choice(("email", "ssn", "token")), "plain")
        made = harmless(stage.dice, model="assistant")
        given = {stage.dice.choice(names): canary.value}
        each.append(msgspec.structs.replace(made, canary=canary, place="a header", headers=given))
    stage.send_all(site, "masked: headers", each)
    stage.judge(arriving=["masked: headers"])


def labelled(stage: Stage, site: Site, count: int) -> None:
    """Nothing in the words, but the caller says that they are protected."""
    each = []
    for _ in range(count):
        label = stage.dice.choice(("secret", "medical", "project_x", "unknown"))
        made = harmless(stage.dice, model="assistant", headers={"Ecotone-Labels": label, "Ecotone-Place": "cloud"})
        each.append(kept_whole(made, label))
    stage.send_all(site, "labelled by the caller", each)
    stage.judge()


def explain(stage: Stage, site: Site, count: int) -> None:
    """Asking where a request would go sends nothing anywhere."""
    for one in mixed(stage.dice, count, "assistant", endpoint=Endpoint.CHAT):
        status, head, body = site.ask("POST", "/v1/explain", one.body)
        stage.note(Said("explain", kept_whole(one, "explain") if one.canary is None else one, status, head, body))
        with contextlib.suppress(KeyError):
            site.ask("GET", f"/v1/explain/{head['ecotone-id']}")
        site.ask("GET", f"/v1/models/{one.marker}")
    stage.judge()


def fallback(stage: Stage, site: Site, count: int) -> None:
    """The edge is dead or fails in every way; the cloud is next in order."""
    stage.send_all(site, "fallback: edge gone", mixed(stage.dice, count // 2, "fallback"))
    stage.ward.behaviours = tuple(each for each in cloud.FAILURES if not each.startswith("echo"))
    try:
        stage.send_all(site, "fallback: edge fails", mixed(stage.dice, count - count // 2, "careful"))
        # Of a few that are drawn, all harmless ones may be such as the edge answers in spite of all.
        stage.ward.behaviours = ("503",)
        stage.send_all(site, "fallback: edge fails", [harmless(stage.dice, model="careful") for _ in range(2)])
    finally:
        stage.ward.behaviours = ("ok",)
    stage.judge(arriving=["fallback: edge gone", "fallback: edge fails"])


def retry(stage: Stage, site: Site, count: int) -> None:
    """Connections that are used again and turn out to be closed."""
    stage.cloud.behaviours = ("lie", "ok")
    try:
        stage.send_all(site, "retry", mixed(stage.dice, count, "assistant"))
    finally:
        stage.cloud.behaviours = ("ok",)
    stage.judge(arriving=["retry"])


def hops(stage: Stage, site: Site, count: int) -> None:
    """Several clouds in a row: redirecting, saying back the prompt as an error, slow, resetting, no HTTP at all."""
    for hop in stage.hops:
        hop.behaviours = cloud.FAILURES
    stage.send_all(site, "hops", mixed(stage.dice, count, "hops"))
    stage.judge(arriving=["hops"])


def deadlines(stage: Stage, site: Site, count: int) -> None:
    """Deadlines that pass before, while and after something is sent."""
    stage.cloud.behaviours = ("ok", "slow")
    try:
        each = [
            msgspec.structs.replace(one, headers={"Ecotone-Deadline-Ms": str(stage.dice.randint(1, 400))})
            for one in mixed(stage.dice, count, "assistant")
        ]
        stage.send_all(site, "deadline", each)
    finally:
        stage.cloud.behaviours = ("ok",)
    stage.judge(arriving=["deadline"])


def leaving(stage: Stage, site: Site, count: int) -> None:
    """Callers who leave at any instant."""
    stage.cloud.gap_s = 0.005
    try:
        for one in mixed(stage.dice, count, "assistant"):
            with contextlib.suppress(OSError), contextlib.closing(site.connect(5.0)) as connection:
                connection.request("POST", one.path, one.body, {"content-type": "application/json"})
                time.sleep(stage.dice.choice((0.0, 0.001, 0.01, 0.03)))
            stage.note(Said("leaving", one, 0, {}, b""))
    finally:
        stage.cloud.gap_s = 0.0
    stage.judge(arriving=["leaving"])


def malformed(stage: Stage, site: Site, count: int) -> None:
    """Bodies that two readers may read in two ways, or that cannot be read to the end."""
    for number in range(count):
        one = protected(stage.dice, model="assistant", endpoint=Endpoint.CHAT, place="first user", stream=False)
        assert one.canary is not None
        name, make = list(MALFORMED.items())[number % len(MALFORMED)]
        body, given = make(one.canary.written, one.marker)
        one = msgspec.structs.replace(one, body=body, place=name, headers=given)
        # Written anew, it may go without the value.
        stage.send(site, "masked: malformed", one)
    stage.judge()


def wrong_names(stage: Stage, site: Site, count: int) -> None:
    """A value as the name of a model or a path; the caller is told that there is none such, and nobody else is."""
    for _ in range(count):
        made = protected(stage.dice, model="assistant", endpoint=Endpoint.CHAT, place="first user", stream=False)
        assert made.canary is not None
        one = msgspec.structs.replace(made, body=_chat("x", made.marker, model=made.canary.value), place="model")
        said = stage.send(site, "masked: wrong names", one)
        assert said.status == 404
        stage.said[-1] = msgspec.structs.replace(said, body=b"")
        site.ask("GET", f"/v1/models/{quote(made.canary.value)}")
        site.ask("GET", f"/v1/{quote(made.canary.value)}")
    stage.judge()
    stage.look_inside(site)


def _chat(text: str, marker: str, model: str = "assistant") -> bytes:
    messages = [{"role": "user", "content": text}, {"role": "user", "content": marker}]
    return json.dumps({"model": model, "messages": messages}, ensure_ascii=False).encode()


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data)


Odd = tuple[bytes, dict[str, str]]
MALFORMED: Final[dict[str, Callable[[str, str], Odd]]] = {
    "messages twice, the value first": lambda text, mark: (
        b'{"model":"assistant","messages":[{"role":"user","content":%b}],"messages":[{"role":"user","content":%b}]}'
        % (json.dumps(text).encode(), json.dumps(mark).encode()),
        {},
    ),
    "messages twice, the value last": lambda text, mark: (
        b'{"messages":[{"role":"user","content":%b}],"model":"assistant","messages":[{"role":"user","content":%b}]}'
        % (json.dumps(mark).encode(), json.dumps(text).encode()),
        {},
    ),
    "content twice": lambda text, mark: (
        b'{"model":"assistant","messages":[{"role":"user","content":%b,"content":%b}]}'
        % (json.dumps(text).encode(), json.dumps(mark).encode()),
        {},
    ),
    "escaped key twice": lambda text, mark: (
        b'{"model":"assistant","messages":[{"role":"user","\\u0063ontent":%b,"content":%b}]}'
        % (json.dumps(text).encode(), json.dumps(mark).encode()),
        {},
    ),
    "arguments twice within": lambda text, mark: (
        json.dumps({
            "model": "assistant",
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {
                    "name": "f", "arguments": f'{{"q": {json.dumps(text)}, "q": "x"}}'}}]},
                {"role": "tool", "tool_call_id": "c", "content": mark},
            ],
        }).encode(),
        {},
    ),
    "a byte-order mark": lambda text, mark: (b"\xef\xbb\xbf" + _chat(text, mark), {}),
    "UTF-16": lambda text, mark: (_chat(text, mark).decode().encode("utf-16"), {}),
    "bytes that are no UTF-8": lambda text, mark: (_chat(text, mark)[:-2] + b'\xff"}', {}),
    "half a surrogate": lambda text, mark: (_chat(text, mark)[:-1] + b',"user":"\\ud800"}', {}),
    "more after the end": lambda text, mark: (_chat("x", mark) + _chat(text, mark), {}),
    "compressed": lambda text, mark: (_gzip(_chat(text, mark)), {"Content-Encoding": "gzip"}),
    "a number with the value": lambda text, mark: (
        _chat("x", mark)[:-1] + b',"metadata":{"card":%d}}' % _long(text), {},
    ),
    "a content that is an object": lambda text, mark: (
        _chat("x", mark)[:-1] + b',"prediction":{"content":{"a":{"b":[%b]}}}}' % json.dumps(text).encode(),
        {},
    ),
    "nested very deep": lambda text, mark: (
        _chat("x", mark)[:-1] + b',"x":' + b"[" * 300 + json.dumps(text).encode() + b"]" * 300 + b"}", {},
    ),
    "a role of its own": lambda text, mark: (
        b'{"model":"assistant","messages":[{"role":%b,"content":%b}]}'
        % (json.dumps(text).encode(), json.dumps(mark).encode()),
        {},
    ),
}  # fmt: skip


def _long(text: str) -> int:
    """The digits of a value, where it is a number of some length; else a card of the test ranges, made unique."""
    found = "".join(sign for sign in text if sign in "0123456789")
    return int(found) if len(found) >= 13 else 4111111111111111


def reloading(stage: Stage, count: int, *, config: dict[str, Any] | None = None) -> None:
    """The policy is tightened while conversations run: what begins after that stays."""
    site = stage.site(config or stage.config(**FREE))
    tight = threading.Event()
    stage.cloud.gap_s = 0.002
    good = yaml.safe_load(site.file.read_text())
    good["privacy"]["labels"] = {"contact": {"egress": "never"}}

    def one(number: int) -> None:
        conversation = protected(dice, model="assistant", canary=plant(dice, "email", "plain"))
        is_tight = tight.is_set()
        if number == count // 2:
            site.file.write_text(yaml.safe_dump(good))
            assert site.ask("POST", "/admin/reload")[0] == 200
            tight.set()
            return
        stage.send(site, "reloaded" if is_tight else "free: before the reload", conversation)

    dice = random.Random(f"{stage.seed} reloading")
    threads = [
        threading.Thread(target=lambda part=part: [one(at) for at in range(part, count, 4)]) for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stage.cloud.gap_s = 0.0
    # However the threads ran: some conversations begin when it is sure to be tight.
    for _ in range(6):
        one(-1)
    stage.judge(arriving=["free: before the reload"])
    stage.look_inside_free(site)
    site.stop()


def no_cloud(stage: Stage, count: int) -> None:
    """`ECOTONE_NO_CLOUD=1`: not a packet."""
    site = stage.site(environ={"ECOTONE_NO_CLOUD": "1"})
    stage.judge()
    before = len(stage.capture.frames)
    for model in ("assistant", "hops", "fallback", "named"):
        each = mixed(stage.dice, count // 4, model, headers={"Ecotone-Place": "cloud"})
        stage.send_all(site, "cloud off", [kept_whole(one, "all") if one.canary is None else one for one in each])
    stage.capture.settle()
    sent = [frame for frame, is_from_site in stage.capture.frames[before:] if is_from_site and is_internet(frame)]
    if sent:
        raise Leak(f"{len(sent)} packets though the cloud is off [seed {stage.seed}]")
    stage.judge()
    site.stop()


def is_internet(frame: bytes) -> bool:
    """TCP, UDP or anything else that a program sends; not the kernel's own talk of neighbours and groups."""
    if frame[12:14] == b"\x08\x00":
        return frame[23] != 2  # IGMP
    return frame[12:14] == b"\x86\xdd" and frame[20] not in (0, 58)  # hop-by-hop (MLD), ICMPv6


def full_disk(stage: Stage, count: int, disk: Any) -> None:
    """The ledger cannot be written: nothing leaves, not even what may."""
    site = stage.site(stage.config(store={"path": str(disk / "store")}))
    stage.send_all(site, "before the disk is full", mixed(stage.dice, 6, "assistant"))
    stage.judge(arriving=["before the disk is full"])
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))

    def is_kept() -> bool:
        said = stage.send(site, "free: as the disk fills", harmless(stage.dice, model="assistant"))
        return said.at == "edge"

    poll(is_kept, "the cloud stops", 20)
    each = [
        kept_whole(one, "all") if one.canary is None else one
        for model in ("assistant", "hops", "fallback")
        for one in mixed(stage.dice, count // 3, model)
    ]
    stage.send_all(site, "full disk", each)
    stage.judge()
    site.stop(signal.SIGKILL)


def stopping(stage: Stage, count: int) -> None:
    """The site is told to stop in the midst of it; then it is killed."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        site = stage.site()
        stage.cloud.gap_s = 0.005
        timer = threading.Timer(0.4, site.process.send_signal, (how,))
        timer.start()
        stage.send_all(site, "stopping", mixed(stage.dice, count // 2, "assistant"))
        timer.join()
        stage.cloud.gap_s = 0.0
        site.stop()
        stage.judge(arriving=["stopping"])


def masked(stage: Stage, site: Site, count: int) -> None:
    """Values go as surrogates, and come back as themselves."""
    each = []
    for _ in range(count):
        kind = stage.dice.choice(("email", "phone", "card", "iban", "ssn", "cn_id"))
        endpoint = stage.dice.choices(list(Endpoint), (6, 2, 1))[0]
        fitting = [place for place in IN_WORDS if place in _places(endpoint)]
        place = stage.dice.choice(sorted(fitting)) if stage.dice.random() < 0.7 else ""
        each.append(
            protected(stage.dice, model="faraway", endpoint=endpoint, canary=plant(stage.dice, kind), place=place)
        )
    said = stage.send_all(site, "masked", each)
    for hop in stage.hops:
        hop.behaviours = cloud.FAILURES
    others = [
        protected(stage.dice, model="hops", endpoint=Endpoint.CHAT, canary=plant(stage.dice, "email", "plain"))
        for _ in range(count // 3)
    ]
    stage.send_all(site, "masked: hops", others)
    stage.judge(arriving=["masked", "masked: hops"])
    answered = [one for one in said if one.at == "cloud" and one.conversation.place in ("last user", "prompt")]
    wrong = [one for one in answered if one.conversation.canary and one.conversation.canary.value not in one.content()]
    plain = [one for one in wrong if one.conversation.canary and one.conversation.canary.form == "plain"]
    if plain or not answered:
        told = [(one.conversation.canary and one.conversation.canary.written, one.content()) for one in plain[:5]]
        raise Leak(f"{len(plain)} of {len(answered)} answers came back with a surrogate [seed {stage.seed}]: {told}")


def _places(endpoint: Endpoint) -> Any:
    from tests.egress.conversations import PLACES

    return PLACES[endpoint]


NAMED: Final = (
    "My name is Margaret Thompson and I wait for an answer.", "Please ask Robert Williams about it.",
    "Dr. Susan Miller will see you on Monday.", "Dear Jennifer Anderson, thank you for your letter.",
)  # fmt: skip
TOPICS: Final = (
    "My husband was diagnosed with lung cancer last week, his chemotherapy starts on Monday; what do we tell his boss?",
    "I was fired yesterday after eleven years and they want me to sign a termination agreement, should I sue them?",
    "I am forty thousand euros in debt, the bailiff came to my flat and my salary is being garnished.",
)


def dear(dice: random.Random) -> Conversation:
    """Something that only the dear detectors can see; made unique by its marker."""
    text = dice.choice(NAMED + TOPICS)
    made = converse(dice, Endpoint.CHAT, model="assistant", stream=dice.random() < 0.5)
    body = json.loads(made.body)
    body["messages"].insert(0, {"role": "user", "content": text})
    made = msgspec.structs.replace(made, body=json.dumps(body).encode())
    canary = Canary("person or topic", "words", "plain", text, text, made.marker)
    return msgspec.structs.replace(made, canary=canary, place="first user")


def detectors(stage: Stage, count: int, *, mutant: str = "") -> None:
    """Names and topics; then their worker is killed, held and killed again while conversations run."""
    site = stage.site(stage.config(privacy={"detectors": ["patterns", "names", "topics"]}), mutant=mutant)

    def arrives() -> bool:
        return (
            stage.send(site, "free: waiting for the detectors", harmless(stage.dice, model="assistant")).at == "cloud"
        )

    poll(arrives, "the detectors look", 60)
    each = [
        dear(stage.dice) if stage.dice.random() < 0.6 else harmless(stage.dice, model="assistant") for _ in range(count)
    ]
    stage.send_all(site, "names and topics", each[: count // 2])
    stage.judge(arriving=["names and topics"])
    over = threading.Event()
    held: set[int] = set()

    def torment() -> None:
        dice = random.Random(stage.seed)
        while not over.is_set():
            for child in site.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, dice.choice((signal.SIGKILL, signal.SIGSTOP)))
                    held.add(child)
            over.wait(dice.uniform(0.05, 0.5))

    tormentor = threading.Thread(target=torment)
    tormentor.start()
    try:
        stage.send_all(site, "detector killed or held", each[count // 2 :])
    finally:
        over.set()
        tormentor.join()
    for child in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
    if not held:
        raise Leak("no detector was killed: nothing is proved")
    stage.judge()
    stage.look_inside(site)
    site.stop()


def terms(stage: Stage, count: int) -> None:
    """The site's own words."""
    file = stage.folder / "terms.txt"
    words = [f"{stage.dice.choice(('Projekt', 'Operation', 'Akte'))} {_word(stage.dice)}" for _ in range(50)]
    file.write_text("\n".join(words))
    own = {"detectors": ["patterns"], "terms": [{"file": str(file), "label": "project"}]}
    site = stage.site(stage.config(privacy=own))
    each: list[Conversation] = []
    for word in words[:count]:
        written = stage.dice.choice((word, word.upper(), word.lower(), f"({word})", word.replace(" ", "\n")))
        canary = Canary("project", "term", "plain", word, f"What about {written} then?", _compact(word))
        each.append(converse(stage.dice, Endpoint.CHAT, model="assistant", canary=canary, place="first user"))
        each.append(harmless(stage.dice, model="assistant"))
    stage.send_all(site, "terms", each)
    stage.judge(arriving=["terms"])
    stage.look_inside(site)
    site.stop()


def _compact(word: str) -> str:
    from tests.egress.capture import compact

    return compact(word)


def _word(dice: random.Random) -> str:
    from tests.egress.canaries import letters

    return letters(dice, 10).capitalize()


def hedge(stage: Stage, count: int) -> None:
    """The edge is slower than itself: the cloud starts beside it, for what may go there."""
    site = stage.site(stage.config(hedging={"share": 1.0}))
    stage.send_all(site, "before the edge is slow", mixed(stage.dice, 40, "careful"))
    stage.ward.behaviours = ("slow",)
    try:
        stage.send_all(site, "hedge", mixed(stage.dice, count, "careful"))
    finally:
        stage.ward.behaviours = ("ok",)
    stage.judge(arriving=["hedge"])
    stage.look_inside(site)
    site.stop()


def handover(stage: Stage, count: int) -> None:
    """Answers of the cloud that break off and go on at the edge, with values that were restored meanwhile."""
    config = stage.config(**MASKED)
    config["targets"]["ward"]["capabilities"] = ["stream", "continue"]
    config["models"]["assistant"]["handover"] = "continue"
    site = stage.site(config)
    stage.cloud.behaviours = ("cut", "reset")
    try:
        each = [
            protected(
                stage.dice, model="assistant", endpoint=Endpoint.CHAT, stream=True, place="last user",
                canary=plant(stage.dice, stage.dice.choice(("email", "card", "iban"))),
            )
            for _ in range(count)
        ]  # fmt: skip
        said = stage.send_all(site, "masked: handover", each)
    finally:
        stage.cloud.behaviours = ("ok",)
    stage.judge(arriving=["masked: handover"])
    if not any(b'"handover"' in one.body for one in said):
        raise Leak(f"no answer was handed over: nothing is proved [seed {stage.seed}]")
    stage.look_inside(site)
    site.stop()


def _compared(site: Site) -> dict[str, Any]:
    """What comparing has taken, once nothing waits to be compared."""
    found: list[dict[str, Any]] = []

    def is_done() -> bool:
        told = json.loads(site.ask("GET", "/admin/status")[2])["comparing"]
        found.append(told)
        return len(found) > 3 and found[-1] == found[-4] and not told["waiting"]

    poll(is_done, "all is compared", 60.0)
    return found[-1]


def shadow(stage: Stage, count: int) -> None:
    """Second answers in silence: of the edge for free, of the cloud to certify, and a judge in the cloud who is told
    both."""
    config = stage.config(learning={"paid_share_max": 1.0, "cloud_usd_per_day": 100.0})
    both = {"targets": ["ward", "big"], "quality": {}}
    config["models"]["shadowed"] = both | {"mode": "shadow"}
    config["models"]["judged"] = both | {"mode": "shadow", "compare": {"check": "judge", "judge": "hop1"}}
    config["models"]["checked"] = both | {"mode": "edge"}
    site = stage.site(config)
    for model in ("shadowed", "judged", "checked"):
        stage.send_all(site, f"shadow: {model}", mixed(stage.dice, count, model))
    taken = _compared(site)
    if not taken["compared"] or not taken["tokens_today"]:
        raise Leak(f"nothing was compared: nothing is proved [seed {stage.seed}]: {taken}")
    stage.judge(arriving=["shadow: shadowed", "shadow: judged", "shadow: checked"])
    stage.look_inside(site)
    site.stop()


def cascade(stage: Stage, count: int) -> None:
    """The edge answers first, and its own answer sends the request up, or not."""
    config = stage.config(learning={"paid_share_max": 1.0, "cloud_usd_per_day": 100.0})
    config["models"]["unsure"] = {
        "targets": ["ward", "big"], "mode": "auto", "cascade": True, "quality": {"loss_max": 0.9, "confidence": 0.5},
    }  # fmt: skip
    site = stage.site(config, mutant="hasty")
    plain = [harmless(stage.dice, model="unsure", endpoint=Endpoint.CHAT, stream=False) for _ in range(80)]
    stage.send_all(site, "before the gate", plain)
    _compared(site)

    def is_certified() -> bool:
        quality = json.loads(site.ask("GET", "/admin/status")[2])["quality"]
        return bool(quality["unsure"]["targets"]["ward"]["certificate"])

    poll(is_certified, "the gate opens", 60.0)
    said = stage.send_all(site, "cascade", mixed(stage.dice, count, "unsure"))
    stage.ward.behaviours = tuple(each for each in cloud.FAILURES if not each.startswith("echo"))
    try:
        said += stage.send_all(site, "cascade", mixed(stage.dice, count, "unsure"))
    finally:
        stage.ward.behaviours = ("ok",)
    stage.judge(arriving=["cascade"])
    if "edge.good_enough" not in {one.headers.get("ecotone-reason") for one in said}:
        raise Leak(f"the gate on answers never opened: nothing is proved [seed {stage.seed}]")
    stage.look_inside(site)
    site.stop()


def feedback(stage: Stage, site: Site, count: int) -> None:
    """What callers say of answers, with what should have been: content that stays."""
    for one in mixed(stage.dice, count, "assistant", endpoint=Endpoint.CHAT, stream=False):
        said = stage.send(site, "answered", one)
        canary = plant(stage.dice, stage.dice.choice(("email", "ssn", "token")), "plain")
        told = {"id": said.headers.get("ecotone-id", "req-0"), "score": 0.5, "correction": f"No: {canary.written}."}
        status, _, body = site.ask("POST", "/v1/feedback", json.dumps(told).encode())
        given = msgspec.structs.replace(one, canary=canary, place="a correction")
        stage.note(Said("masked: feedback", given, status, {}, body))
    stage.judge(arriving=["answered"])


def jobs(stage: Stage, count: int) -> None:
    """Requests that are answered later: what must stay is done at the edge, and is sealed on disk meanwhile."""
    site = stage.site()
    each = mixed(stage.dice, count, "assistant", stream=False, headers={"Prefer": "respond-async"})
    said = stage.send_all(site, "job", each)
    taken = [one for one in said if one.status == 202]
    if not taken:
        raise Leak(f"no job was taken: nothing is proved [seed {stage.seed}] {said[0]}")
    stage.look_inside(site)
    for one in taken:
        poll(lambda one=one: is_over(site, one.headers["location"]), "the job is over", 30)
    stage.judge(arriving=["job"])
    stage.look_inside(site)
    site.stop()


def jobs_overtaken(stage: Stage, count: int) -> None:
    """Jobs wait for the link, and the policy is tightened meanwhile: what was free when they came stays now."""
    site = stage.site(stage.config(**FREE))
    stage.link.down()
    later = {"Prefer": "respond-async", "Ecotone-Deadline-Ms": "15000"}
    mails = [
        protected(
            stage.dice, model="faraway", endpoint=Endpoint.CHAT, place="first user", stream=False, headers=later,
            canary=plant(stage.dice, "email", "plain"),
        )
        for _ in range(count // 2)
    ]  # fmt: skip
    others = [harmless(stage.dice, model="faraway", stream=False, headers=later) for _ in range(count // 2)]
    said = stage.send_all(site, "job overtaken by a policy", [*mails, *others])
    assert {one.status for one in said} == {202}, [one.body for one in said if one.status != 202][:1]
    tight = yaml.safe_load(site.file.read_text())
    tight["privacy"]["labels"] = {"contact": {"egress": "never"}}
    site.file.write_text(yaml.safe_dump(tight))
    assert site.ask("POST", "/admin/reload")[0] == 200
    stage.link.up()
    for one in said:
        poll(lambda one=one: is_over(site, one.headers["location"]), "the job is over", 40)
    stage.judge(arriving=["job overtaken by a policy"])
    stage.look_inside(site)
    site.stop()


OVER: Final = frozenset({"answered", "failed", "refused", "expired", "cancelled", "completed"})


def is_over(site: Site, path: str) -> bool:
    """Whether a job or a batch has ended."""
    told = json.loads(site.ask("GET", path)[2])
    return told.get("state", told.get("status")) in OVER


def batch(stage: Stage, count: int) -> None:
    """A file of requests, as OpenAI's batches."""
    site = stage.site()
    each = mixed(stage.dice, count, "assistant", endpoint=Endpoint.CHAT, stream=False)
    lines = [
        json.dumps({"custom_id": f"line-{at}", "method": "POST", "url": one.path, "body": json.loads(one.body)})
        for at, one in enumerate(each)
    ]
    mark = "egress-boundary"
    form = (
        f'--{mark}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="b.jsonl"\r\n'
        f"content-type: application/jsonl\r\n\r\n" + "\n".join(lines) + f"\r\n--{mark}--\r\n"
    )
    kind = {"content-type": f"multipart/form-data; boundary={mark}"}
    status, _, body = site.ask("POST", "/v1/files", form.encode("utf-8", "surrogatepass"), kind)
    assert status == 200, body
    asked = {"input_file_id": json.loads(body)["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    status, _, body = site.ask("POST", "/v1/batches", asked)
    assert status == 200, body
    for one in each:
        stage.note(Said("batch", one, 200, {}, b""))
    stage.look_inside(site)
    poll(lambda: is_over(site, f"/v1/batches/{json.loads(body)['id']}"), "the batch is over", 60)
    stage.judge(arriving=["batch"])
    stage.look_inside(site)
    site.stop()


def other_lane(stage: Stage, count: int) -> None:
    """The other way in: without the fast lane, bodies in chunks."""
    site = stage.site(stage.config(fast_lane=False))
    stage.send_all(site, "the other lane", mixed(stage.dice, count, "assistant"))
    for one in mixed(stage.dice, max(6, count // 4), "hops"):
        with contextlib.suppress(OSError), contextlib.closing(site.connect(10.0)) as connection:
            pieces = [one.body[at : at + 37] for at in range(0, len(one.body), 37)]
            head = {"content-type": "application/json", "transfer-encoding": "chunked"}
            connection.request("POST", one.path, iter(pieces), head, encode_chunked=True)
            status = connection.getresponse().status
            stage.note(Said("in chunks", one, status, {}, b""))
    stage.judge(arriving=["the other lane", "in chunks"])
    stage.look_inside(site)
    site.stop()


def rules(stage: Stage, count: int) -> None:
    """By key, by label and region, by model name: what one may send another may not."""
    config = stage.config(
        keys={"research": "env:KEY_RESEARCH", "office": "env:KEY_OFFICE"},
        policy=[
            {"when": {"key": "research"}, "egress": "never"},
            {"when": {"label": "contact", "to_region": ["us"]}, "egress": "never"},
            {"when": {"model": "named"}, "egress": "never"},
        ],
        **FREE,
    )
    keys = {"research": "rk-1234567890-research", "office": "ok-1234567890-office"}
    site = stage.site(config, {"KEY_RESEARCH": keys["research"], "KEY_OFFICE": keys["office"]})

    def give(one: Conversation, key: str) -> Conversation:
        return msgspec.structs.replace(one, headers=one.headers | {"Authorization": f"Bearer {keys[key]}"})

    dice = stage.dice
    kept = [kept_whole(harmless(dice, model="assistant"), "all") for _ in range(count // 3)]
    stage.send_all(site, "rule: key", [give(one, "research") for one in kept])
    named = [kept_whole(harmless(dice, model="named"), "all") for _ in range(count // 3)]
    stage.send_all(site, "rule: model", [give(one, "office") for one in named])
    mails = [protected(dice, model="assistant", canary=plant(dice, "email")) for _ in range(count // 3)]
    stage.send_all(site, "rule: label and region", [give(one, "office") for one in mails])
    stage.send_all(site, "rule: none", [give(harmless(dice, model="assistant"), "office") for _ in range(6)])
    stage.judge(arriving=["rule: none"])
    stage.look_inside(site)
    site.stop()


def rogue(stage: Stage, count: int, *, mutant: str = "rogue") -> None:
    """Code in the site's own process that goes round the corridor or the doors; `mutants/rogue` tells what it tries."""
    canary = plant(stage.dice, "email", "plain")
    site = stage.site(environ={"ROGUE_VALUE": canary.value, "ROGUE_URL": stage.cloud.url}, mutant=mutant)
    done = stage.folder / f"site{len(stage.sites) - 1}" / "rogue.json"
    for _ in range(max(count, 12)):
        one = harmless(stage.dice, model="assistant")
        stage.send(site, "free: beside the rogue", one)
    poll(done.exists, "the rogue has tried everything", 20)
    held = msgspec.structs.replace(harmless(stage.dice, model="assistant"), canary=canary, place="a rogue's bytes")
    stage.note(Said("masked: rogue", held, 0, {}, b""))
    stage.judge(arriving=["free: beside the rogue"])
    tried = json.loads(done.read_text())
    got_out = [what for what, ending in tried.items() if ending == "out"]
    if got_out:
        raise Leak(f"a rogue got out by {got_out}")
    site.stop()


ON_ONE_SITE: Final = (
    direct, by_name, wishes, headers, labelled, explain, fallback, retry, hops, deadlines, leaving, malformed,
    feedback,
)  # fmt: skip
