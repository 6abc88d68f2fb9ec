"""The configuration as one frozen tree: every key, its unit, its default and what it means.

Nothing here reads a file, the environment or a clock. The reference page and the JSON Schema are generated from the
descriptions, so that what an operator reads is what the code checks. Mappings are read-only by type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from ecotone.config.hub import Hub
from ecotone.config.jobs import Jobs
from ecotone.config.kinds import (
    Amount,
    CallerKey,
    HeaderName,
    Hostish,
    LabelName,
    ModelName,
    Name,
    Positive,
    Region,
    Secret,
    Section,
    Sha256,
    Text,
)
from ecotone.config.learning import Compare, Learning, Quality
from ecotone.config.link import Budgets, Link, Proxy
from ecotone.config.protection import Privacy, Rule
from ecotone.values import Endpoint, Mode, Place, Price, Surrogates


class Listen(Section, frozen=True, kw_only=True):
    """Where the site's endpoint listens."""

    address: Annotated[
        Hostish,
        Meta(description="Address to listen on. Any but a loopback one needs `keys`, or the site refuses to start."),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one and prints it.")] = 3266


class Store(Section, frozen=True, kw_only=True):
    """Where the site keeps its state."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="Folder for the ledger, measured speeds, models and sockets; `~` is the user's home.",
        ),
    ] = "~/.local/share/ecotone"


class LocalTarget(Section, frozen=True, kw_only=True, tag_field="engine", tag="llama.cpp"):
    """A model that runs on the site's own hardware, in a supervised worker process. It is always at the edge."""

    model: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description="A name of the catalogue (`ecotone models list`), `file:PATH`, `pypi:PACKAGE==VERSION!MEMBER`, "
            "`hf:OWNER/REPO[@REVISION]/FILE`, or `hub:NAME[@VERSION]`: what the site's hub wants here.",
            extra={"missing": "say which model runs here, such as `model: smollm2-135m`"},
        ),
    ]
    sha256: Annotated[
        Sha256 | None,
        Meta(
            description="SHA-256 of the model file, checked before every load. For a model that is not in the "
            "catalogue; without it, the digest that is seen first is the one that is trusted."
        ),
    ] = None
    adapter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1024)] | None,
        Meta(
            description="A LoRA adapter (GGUF) that is loaded with the model, named as a model is, such as `hub:NAME`: "
            "another version of it is switched to and tried like one."
        ),
    ] = None
    context_tokens: Annotated[
        Positive | None,
        Meta(description="Prompt and answer together, tokens, for each slot. Default: by model and memory."),
    ] = None
    slots: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(description="Requests decoded side by side. Default: by machine."),
    ] = None
    queue_max: Annotated[
        int, Meta(ge=0, le=10_000, description="Requests that may wait for a slot before the target counts as full.")
    ] = 32
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None,
        Meta(description="CPU threads. Default: measured, at most cores - 1."),
    ] = None
    batch: Annotated[
        Annotated[int, Meta(ge=1, le=8192)] | None,
        Meta(description="Prompt tokens handled in one step. Default: measured."),
    ] = None
    cache_type: Annotated[
        Literal["f16", "q8_0", "q4_0"] | None,
        Meta(description="Number format of the key-value cache: smaller saves memory. Default: `f16`."),
    ] = None
    idle_unload_s: Annotated[
        Amount | None,
        Meta(
            description="Seconds without a request after which the model is unloaded; 0 = never. "
            "Default: that of `engines`."
        ),
    ] = None
    tools: Annotated[
        Literal["auto", "native", "schema", "none"],
        Meta(
            description="How tool calls are made: by the engine and the model's own template (`native`), by decoding "
            "that is constrained to the tools' schema (`schema`), as suits the model (`auto`), or not at all (`none`)."
        ),
    ] = "auto"
    embeddings: Annotated[bool, Meta(description="Serve `/v1/embeddings` from this model too (mean pooling).")] = False

    @property
    def engine(self) -> str:
        """The engine's name, as the file gives it."""
        return "llama.cpp"

    @property
    def at(self) -> Place:
        """Always the edge."""
        return Place.EDGE


class UrlTarget(Section, frozen=True, kw_only=True, tag_field="engine", tag="openai"):
    """Any OpenAI-compatible server: on the premises (`at: edge`) or outside them (`at: cloud`)."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://|unix:/)\S+$",
            max_length=2048,
            description="Base URL, usually ending in `/v1`; or `unix:/PATH.sock:/v1` for a socket on this machine. No "
            "user, password, query or fragment.",
            extra={"is": "an address that begins with http://, https:// or unix:/"},
        ),
    ]
    model: Annotated[
        ModelName,
        Meta(
            description="The model's name at that server.",
            extra={"missing": "give the model's name at that server, as its `GET /models` lists it"},
        ),
    ]
    at: Annotated[
        Place,
        Meta(
            description="`edge`: on the premises, data stays. `cloud`: outside, every request needs a permit.",
            extra={
                "missing": "choose `at: edge` (on the premises, data stays) or `at: cloud` (outside; every request "
                "there needs a permit and a ledger entry)"
            },
        ),
    ]
    key: Annotated[
        Secret | None,
        Meta(description="The server's API key, by reference: `env:NAME` or `file:PATH`."),
    ] = None
    region: Annotated[
        Region | None, Meta(description="Where the server's data rests, such as `eu`; policy can speak about it.")
    ] = None
    price: Annotated[
        Price | None,
        Meta(
            description="What tokens cost. Without it a cloud target counts as free and budgets in USD cannot hold it."
        ),
    ] = None
    context_tokens: Annotated[
        Positive | None, Meta(description="Prompt and answer together, tokens. Default: unknown.")
    ] = None
    capabilities: Annotated[
        tuple[LabelName, ...] | None,
        Meta(
            description="What the model can do: `stream`, `tools`, `json_schema`, `json_object`, `logprobs`, `n`, "
            "`stop`, `seed`, `vision`, `audio`; `continue`: it writes on where the last message is the assistant's. "
            "Default: unknown, so all is tried (but `continue`)."
        ),
    ] = None
    endpoints: Annotated[tuple[Endpoint, ...], Meta(min_length=1, description="Paths below `/v1/` that it serves.")] = (
        Endpoint.CHAT,
        Endpoint.COMPLETIONS,
        Endpoint.EMBEDDINGS,
    )
    slots: Annotated[int, Meta(ge=1, le=100_000, description="Requests sent to it side by side.")] = 1024
    queue_max: Annotated[
        int, Meta(ge=0, le=100_000, description="Requests that may wait for a slot before the target counts as full.")
    ] = 0
    headers: Annotated[
        Mapping[HeaderName, Text],
        Meta(
            description="Further request headers. A value may be `env:NAME` or `file:PATH`; one that carries a secret "
            "must be."
        ),
    ] = field(default_factory=dict)
    ca_file: Annotated[
        Text | None, Meta(description="PEM file with the authorities to trust instead of the system's.")
    ] = None
    surrogates: Annotated[
        Surrogates,
        Meta(
            description="What stands in for a value that goes there pseudonymised: `tagged`, an opaque word such as "
            "`PERSON_7C1`, which is turned back most surely; `natural`, another value of its kind."
        ),
    ] = Surrogates.TAGGED
    ask_usage: Annotated[
        bool, Meta(description="Ask for token counts at the end of each stream (`stream_options.include_usage`).")
    ] = True
    always_stream: Annotated[
        bool,
        Meta(description="Ask for a stream even where the caller wants one piece: leaving then stops the work."),
    ] = False
    public_address_is_ours: Annotated[
        bool, Meta(description="An `at: edge` target may have a public address: it belongs to these premises.")
    ] = False


Target = LocalTarget | UrlTarget


class Model(Section, frozen=True, kw_only=True):
    """A name that applications ask for."""

    targets: Annotated[
        tuple[Name, ...],
        Meta(
            min_length=1,
            description="Targets behind the name, most preferred first.",
            extra={"missing": "list the targets behind this name, most preferred first: `targets: [small, big]`"},
        ),
    ]
    mode: Annotated[
        Mode,
        Meta(
            description="Who goes first: `cloud`; `shadow`, the cloud, and the edge is compared in silence; `auto`, "
            "the first target in the list that keeps all limits and, with `quality`, the promise; `edge`."
        ),
    ] = Mode.AUTO
    handover: Annotated[
        Literal["off", "continue"],
        Meta(
            description="`continue`: a stream of plain text that breaks off in the cloud is written on by the first "
            "edge target of the list that can (`continue`); never with tools, JSON, log probabilities or several "
            "choices. `off`: it ends with an error event."
        ),
    ] = "off"
    quality: Annotated[
        Quality | None,
        Meta(description="The promised quality: `auto` then sends to the edge what is proved to keep it, and no more."),
    ] = None
    advance: Annotated[
        Literal["manual", "auto"],
        Meta(description="`auto`: from `shadow` to `auto` and on to `edge` with proof, and back when it is gone."),
    ] = "manual"
    cascade: Annotated[
        bool,
        Meta(
            description="The edge answers first, held back, and its own answer decides whether it is given; needs "
            "`quality`. Streams then begin when the edge's answer is whole."
        ),
    ] = False
    compare: Annotated[Compare, Meta(description="How answers are compared.")] = Compare()


class Ledger(Section, frozen=True, kw_only=True):
    """The ledger's retention."""

    keep_days: Annotated[
        Annotated[float, Meta(ge=1, le=36_500)] | None,
        Meta(
            description="Entries that are older go, whole segments at a time; what remains still verifies, and says "
            "what went. Default: all are kept."
        ),
    ] = None


class Hedging(Section, frozen=True, kw_only=True):
    """Company for a target that is slower than itself."""

    share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of requests for which the next target may be started too when the first one is slower "
            "than its own p95; the first content wins, the other is stopped. 0 = never.",
        ),
    ] = 0.05


class Overload(Section, frozen=True, kw_only=True):
    """What happens when more is asked than the targets can do."""

    wait_s_max: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="Nobody waits longer for a slot of a target, seconds; who would have to, by what slots were "
            "held for lately, is refused at once (429 with `Retry-After`) unless another target may serve.",
        ),
    ] = 30.0


class Limits(Section, frozen=True, kw_only=True):
    """What one site takes; more is answered with 413, 429 or 503 at once."""

    body_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest request body, bytes; more is 413.")
    ] = 16 * 1024 * 1024
    header_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 20, description="Largest request line and headers together, bytes; more is 431.")
    ] = 32 * 1024
    answer_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 32, description="Largest answer in one piece that is taken from a target, bytes.")
    ] = 64 * 1024 * 1024
    in_flight_max: Annotated[
        int, Meta(ge=1, le=100_000, description="Requests under way; more is 503 with `Retry-After`.")
    ] = 1024
    connections_max: Annotated[int, Meta(ge=1, le=100_000, description="Open connections of callers.")] = 4096


class Timeouts(Section, frozen=True, kw_only=True):
    """How long anything is waited for, seconds."""

    connect_s: Annotated[float, Meta(gt=0, le=60, description="To a connection with a target, TLS included.")] = 1.0
    first_byte_s: Annotated[
        float, Meta(gt=0, le=3600, description="From sending to the first content of a stream, for each attempt.")
    ] = 60.0
    whole_s: Annotated[
        float, Meta(gt=0, le=3600, description="From sending to the end of an answer in one piece, for each attempt.")
    ] = 120.0
    idle_s: Annotated[float, Meta(gt=0, le=3600, description="Between two pieces of a target's answer.")] = 30.0
    total_s: Annotated[
        float, Meta(gt=0, le=86_400, description="A whole request, where the caller gave no deadline.")
    ] = 600.0
    drain_s: Annotated[
        float, Meta(ge=0, le=3600, description="For answers under way to finish at shutdown and reload.")
    ] = 30.0
    caller_stall_s: Annotated[
        float, Meta(gt=0, le=3600, description="A caller that reads nothing for so long is disconnected.")
    ] = 120.0
    keep_alive_comment_s: Annotated[
        float, Meta(gt=0, le=3600, description="Silence in a stream after which its caller gets a comment line.")
    ] = 15.0


class Breaker(Section, frozen=True, kw_only=True):
    """When a target counts as unreachable, and for how long."""

    failures: Annotated[
        int, Meta(ge=1, le=1000, description="Failures in a row that open it; one is enough where each costs a wait.")
    ] = 3
    open_s: Annotated[float, Meta(gt=0, le=3600, description="First time before the next try; it doubles.")] = 1.0
    open_s_max: Annotated[float, Meta(gt=0, le=86_400, description="Longest time before the next try.")] = 10.0


class Engines(Section, frozen=True, kw_only=True):
    """The local models together."""

    memory_mb: Annotated[
        Annotated[int, Meta(ge=64)] | None,
        Meta(description="Memory for loaded models, MiB; the longest unused is unloaded first. Default: by machine."),
    ] = None
    idle_unload_s: Annotated[
        float, Meta(ge=0, description="Seconds without a request after which a model is unloaded; 0 = never.")
    ] = 900.0
    measure: Annotated[
        bool, Meta(description="Measure the machine at a model's first start and keep the best settings.")
    ] = True


class Log(Section, frozen=True, kw_only=True):
    """The site's own log; it never holds content."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severe line written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "text", "json"], Meta(description="`auto`: text on a terminal, else one JSON object per line.")
    ] = "auto"


STARTER: Final = LocalTarget(model="smollm2-135m")
"""The model that a site runs where nothing else was said."""


def _starter() -> dict[str, Target]:
    return {"local": STARTER}


class Config(Section, frozen=True, kw_only=True):
    """A site's whole configuration."""

    site: Annotated[Name, Meta(description="The site's name, in the ledger, metrics and status.")] = "site"
    listen: Annotated[Listen, Meta(description="Where the endpoint listens.")] = Listen()
    store: Annotated[Store, Meta(description="Where state is kept.")] = Store()
    targets: Annotated[
        Mapping[Name, LocalTarget | UrlTarget],
        Meta(
            min_length=1,
            description="The models at their places, by name. With `engine: llama.cpp` it runs here; with `url` it is "
            "any OpenAI-compatible server. Default: `local`, the starter model.",
        ),
    ] = field(default_factory=_starter)
    models: Annotated[
        Mapping[ModelName, Model],
        Meta(
            description="The names that applications ask for. Default: `auto` (all targets in the order written) and "
            "each target's own model name."
        ),
    ] = field(default_factory=dict)
    privacy: Annotated[Privacy, Meta(description="What is looked for, and what each label allows.")] = Privacy()
    policy: Annotated[
        tuple[Rule, ...],
        Meta(
            description="Rules on egress. Of those that match, `never` beats all others, else the first one speaks. A "
            "rule can tighten a label's word, not loosen it."
        ),
    ] = ()
    budgets: Annotated[Budgets, Meta(description="What may go to the cloud in a day.")] = Budgets()
    link: Annotated[Link, Meta(description="When a metered link may be used.")] = Link()
    proxy: Annotated[
        Proxy | None,
        Meta(description="The HTTP proxy to cloud targets and the hub. Default: they are reached directly."),
    ] = None
    keys: Annotated[
        Mapping[Name, CallerKey],
        Meta(
            description="API keys of callers by name: `env:NAME`, `file:PATH` or `sha256:HEX`. Default: none is needed."
        ),
    ] = field(default_factory=dict)
    jobs: Annotated[Jobs, Meta(description="Work that may wait: jobs, files and batches.")] = Jobs()
    hedging: Annotated[Hedging, Meta(description="When a second target is started beside a slow one.")] = Hedging()
    overload: Annotated[Overload, Meta(description="What happens when too much is asked.")] = Overload()
    learning: Annotated[Learning, Meta(description="What finding out about quality may cost.")] = Learning()
    hub: Annotated[
        Hub | None,
        Meta(
            description="Where signed models come from. A site that has joined (`ecotone enroll`) asks there what is "
            "wanted, and reports; before, nothing is sent there."
        ),
    ] = None
    ledger: Annotated[Ledger, Meta(description="How long evidence is kept.")] = Ledger()
    limits: Annotated[Limits, Meta(description="What one site takes.")] = Limits()
    timeouts: Annotated[Timeouts, Meta(description="How long anything is waited for.")] = Timeouts()
    breaker: Annotated[Breaker, Meta(description="When a target counts as unreachable.")] = Breaker()
    engines: Annotated[Engines, Meta(description="The local models together.")] = Engines()
    log: Annotated[Log, Meta(description="The site's own log.")] = Log()
    fast_lane: Annotated[
        bool, Meta(description="Serve the hot paths past the web framework; `false` serves all through it.")
    ] = True
