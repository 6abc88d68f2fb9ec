"""`hub.yaml`: every key of a hub, its unit, its default and what it means; read with the place of whatever is wrong."""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from ecotone.config import secrets
from ecotone.config.build import Builder, shown
from ecotone.config.document import TEXT_BYTES_MAX, DocumentError, Problem, read
from ecotone.config.kinds import Hostish, Name, Positive, Region, Secret, Section
from ecotone.config.parse import INVALID, config_error
from ecotone.config.schema import DIALECT
from ecotone.values import ConfigError

__all__ = [
    "Database",
    "Encrypt",
    "Limits",
    "Listen",
    "Objects",
    "Oidc",
    "Settings",
    "Tls",
    "check_exposure",
    "json_schema",
    "load",
    "parse",
    "read_file",
]

Role = Literal["owner", "publisher", "releaser", "operator", "auditor", "reader"]
Web = Annotated[str, Meta(pattern=r"^https?://[^\s/]+\S*$", max_length=2048, extra={"is": "an http(s) address"})]
Somewhere = Annotated[str, Meta(min_length=1, max_length=4096)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_DATABASES: Final = ("sqlite:///", "postgresql://", "postgres://")
_OBJECTS: Final = ("s3://", "gs://", "az://", "azure://", "file://", "/", "./", "~")


class Listen(Section, frozen=True, kw_only=True):
    """Where the hub listens."""

    address: Annotated[
        Hostish,
        Meta(description="IP address. Any but a loopback one needs `tls`, `behind_proxy` or `--insecure-http`."),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one and prints it.")] = 3269


class Database(Section, frozen=True, kw_only=True):
    """Where the hub keeps what it knows: people, sites, wishes, reports, acts, work that is under way."""

    url: Annotated[
        Somewhere | None,
        Meta(
            description="`postgresql://USER@HOST/NAME`, `sqlite:///PATH`, or a reference to the whole: `env:NAME` or "
            "`file:PATH`. Default: SQLite in `state`. Several machines need PostgreSQL.",
        ),
    ] = None
    password: Annotated[Secret | None, Meta(description="Of the user in `url`.")] = None


class Objects(Section, frozen=True, kw_only=True):
    """Where signed documents and packs rest."""

    url: Annotated[
        Somewhere | None,
        Meta(
            description="`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or a folder. Default: "
            "`folder`, the hub's own.",
        ),
    ] = None
    endpoint: Annotated[Web | None, Meta(description="Address of an S3-compatible store that is not Amazon's.")] = None
    store_region: Annotated[Somewhere | None, Meta(description="Region as the store names it.")] = None
    key_id: Annotated[Secret | None, Meta(description="Access key id. Default: what the environment grants.")] = None
    key: Annotated[Secret | None, Meta(description="Secret access key.")] = None
    region: Annotated[
        Region | None,
        Meta(description="Region in which these objects rest, in the words of `--region` of `ecotone hub publish`."),
    ] = None


class Tls(Section, frozen=True, kw_only=True):
    """The hub's own TLS 1.3. Both files are read anew when they change; nothing need be restarted."""

    cert: Annotated[str, Meta(min_length=1, description="Certificate and its chain (PEM).")]
    key: Annotated[str, Meta(min_length=1, description="Its private key (PEM, without a password).")]


class Encrypt(Section, frozen=True, kw_only=True):
    """Packs and documents are encrypted where they rest."""

    key: Annotated[Secret, Meta(description="32 bytes as base64 or 64 hexadecimal digits.")]
    earlier: Annotated[
        tuple[Secret, ...], Meta(max_length=16, description="Keys that were used before: still read, no more written.")
    ] = ()


class Oidc(Section, frozen=True, kw_only=True):
    """People sign in where they do elsewhere (OpenID Connect)."""

    issuer: Annotated[Web, Meta(description="The issuer, as its tokens name it.")]
    audience: Annotated[str, Meta(min_length=1, max_length=512, description="What `aud` of a token must name.")]
    client_id: Annotated[Somewhere | None, Meta(description="Client of `ecotone hub login`. Default: `audience`.")] = (
        None
    )
    name_claim: Annotated[
        str, Meta(min_length=1, max_length=200, description="Claim by which the ledger names a person.")
    ] = "sub"
    roles_claim: Annotated[
        str, Meta(min_length=1, max_length=200, description="Claim that lists groups; dots lead into objects.")
    ] = "groups"
    roles_map: Annotated[
        Mapping[str, Role], Meta(description="Group -> role. Without an entry nobody may do anything.")
    ] = msgspec.field(default_factory=dict)
    ca_file: Annotated[
        Somewhere | None,
        Meta(description="Authorities (PEM) that the issuer is checked by, if not the system's."),
    ] = None


class Limits(Section, frozen=True, kw_only=True):
    """What one process takes. Over any limit the caller is told at once, and when to come again."""

    connections_max: Annotated[Positive, Meta(description="Open connections.")] = 16_384
    waiting_max: Annotated[Positive, Meta(description="Sites that wait for news (long-poll) at a time.")] = 12_000
    site_waiting_max: Annotated[
        Positive,
        Meta(description="Questions for news of one site that wait; of more, the oldest is answered at once."),
    ] = 4
    in_flight_max: Annotated[Positive, Meta(description="Other requests being served.")] = 512
    threads: Annotated[int, Meta(ge=1, le=256, description="Threads that ask the database and the objects.")] = 16
    body_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 30, description="Largest body but for uploads and reports, bytes.")
    ] = 1 << 20
    upload_bytes_max: Annotated[
        int, Meta(ge=1024, le=1 << 34, description="Largest piece of an upload, bytes; a file may have many.")
    ] = 64 << 20
    site_per_minute: Annotated[
        Positive, Meta(description="Requests of one site, or person, a minute; files aside.")
    ] = 240
    site_files_per_minute: Annotated[
        Positive, Meta(description="Documents and ranges of packs that one site may ask for a minute.")
    ] = 3_000
    address_per_minute: Annotated[
        Positive, Meta(description="Requests without a session or key from one address a minute.")
    ] = 600
    failures_per_minute: Annotated[
        Positive, Meta(description="Refused keys, tokens and signatures from one address a minute.")
    ] = 60
    head_s: Annotated[Seconds, Meta(description="A request's headers must be here within so long, seconds.")] = 10.0
    body_idle_s: Annotated[Seconds, Meta(description="Between two pieces of a body, seconds.")] = 60.0
    answer_stall_s: Annotated[
        Seconds, Meta(description="A caller that takes nothing of its answer for so long is cut off, seconds.")
    ] = 120.0
    drain_s: Annotated[Seconds, Meta(description="At a stop, answers under way may take so long, seconds.")] = 30.0


class HubFile(Section, frozen=True, kw_only=True):
    """A hub."""

    name: Annotated[Name | None, Meta(description="How sites and people call it. Default: the folder's name.")] = None
    folder: Annotated[
        Somewhere | None,
        Meta(description="The hub's folder, unless the command names it (`DIR`)."),
    ] = None
    keys: Annotated[Somewhere | None, Meta(description="Folder of keys. Default: FOLDER.keys.")] = None
    state: Annotated[
        Somewhere | None,
        Meta(description="Folder of what this machine alone needs. Default: FOLDER.state."),
    ] = None
    listen: Listen = Listen()
    public_url: Annotated[
        Web | None,
        Meta(description="Address by which sites and people reach it. With https:// browsers are told so (HSTS)."),
    ] = None
    database: Database = Database()
    objects: Objects = Objects()
    tls: Annotated[Tls | None, Meta(description="TLS by the hub itself.")] = None
    behind_proxy: Annotated[
        bool,
        Meta(
            description="A proxy with TLS stands before it and nothing else can reach it: the last address of "
            "`X-Forwarded-For` is the caller's."
        ),
    ] = False
    open: Annotated[
        bool,
        Meta(description="Signed documents and packs are served to anybody, as a web server would. Not the rest."),
    ] = False
    encrypt: Annotated[Encrypt | None, Meta(description="Encryption at rest.")] = None
    oidc: Annotated[Oidc | None, Meta(description="Sign-in by OpenID Connect.")] = None
    limits: Limits = Limits()
    processes: Annotated[int, Meta(ge=1, le=64, description="Processes on this machine, on one address.")] = 1


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A hub's settings, every default filled in. Secrets are references; `secret` reads one."""

    name: str
    folder: Path
    keys: Path
    state: Path
    listen: Listen
    public_url: str
    database: Database
    objects: Objects
    tls: Tls | None
    behind_proxy: bool
    is_open: bool
    encrypt: Encrypt | None
    oidc: Oidc | None
    limits: Limits
    processes: int

    @property
    def is_sqlite(self) -> bool:
        """Whether one machine holds all there is."""
        return self.database_url().startswith("sqlite")

    def database_url(self) -> str:
        """The database's address, with its password. Never to be shown.

        Raises:
            ConfigError: `config.secret`.
        """
        given = self.database.url
        if given is None:
            return f"sqlite:///{self.state / 'hub.sqlite'}"
        url = self.secret(given, "database.url") if secrets.is_readable(given) else given
        if url.startswith("postgres://"):
            url = "postgresql" + url[len("postgres") :]
        if not url.startswith(_DATABASES):
            raise ConfigError(INVALID, "database.url: only postgresql:// and sqlite:/// are known here")
        if self.database.password is not None:
            from urllib.parse import quote

            parts = urlsplit(url)
            user = parts.netloc.rpartition("@")[0]
            word = quote(self.secret(self.database.password, "database.password"), safe="")
            url = url.replace(f"//{user}@", f"//{user}:{word}@", 1)
        return url

    def secret(self, reference: str, path: str = "") -> str:
        """What a reference says: `env:NAME` or `file:PATH`.

        Raises:
            ConfigError: `config.secret`.
        """
        return secrets.resolve(reference, os.environ, _bytes_of, path=path)


def load(folder: Path | None, file: Path | None) -> Settings:
    """The settings of the hub in a folder, of a file, or of both: what a command names wins over the file.

    Raises:
        ConfigError: with every problem.
    """
    given = HubFile() if file is None else read_file(file)
    here = folder or (None if given.folder is None else Path(given.folder).expanduser())
    if here is None:
        raise ConfigError(
            "hub.folder", "no hub is named: give its folder, DIR, or a file with `folder:` in it (-c hub.yaml)"
        )
    return filled(given, here)


def read_file(file: Path) -> HubFile:
    """What a file says; as `parse`.

    Raises:
        ConfigError: with every problem.
    """
    return parse(_text_of(file), str(file))


def check_exposure(chosen: Settings, *, is_insecure_meant: bool) -> None:
    """Whether it may listen where it shall: beyond this machine only with TLS, or where that is said to be meant.

    Raises:
        ConfigError: `hub.exposed`.
    """
    address = chosen.listen.address
    is_local = address == "localhost" or ipaddress.ip_address(address).is_loopback
    if not (is_local or chosen.tls is not None or chosen.behind_proxy or is_insecure_meant):
        raise ConfigError(
            "hub.exposed",
            f"{address} can be reached from other machines and there is no TLS: tokens and keys could be read on the "
            "way. Give `tls: {cert: FILE, key: FILE}`, or `behind_proxy: true` where a proxy with TLS stands before "
            "it, or say `--insecure-http`",
        )


def parse(text: str, name: str) -> HubFile:
    """What a YAML text says.

    Raises:
        ConfigError: with every problem, each as `NAME:LINE:COLUMN: path.to.key: what is wrong; how to mend it`.
    """
    try:
        root, problems = read(text)
    except DocumentError as error:
        raise config_error([error.problem], name) from error
    builder = Builder()
    plain = builder.build(root, file_type(), "")
    problems += builder.problems
    if not problems:
        try:
            found = msgspec.convert(plain, HubFile)
        except msgspec.ValidationError as error:
            raise config_error([Problem("", str(error), (1, 1))], name) from error
        problems = [Problem(path, message) for path, message in _problems(found)]
        if not problems:
            return found
    raise config_error(problems, name, builder.positions)


def filled(given: HubFile, folder: Path) -> Settings:
    """Every default in its place."""
    whole = folder.absolute()

    def beside(said: str | None, ending: str) -> Path:
        return whole.with_name(f"{whole.name}.{ending}") if said is None else Path(said).expanduser().absolute()

    return Settings(
        name=given.name or whole.name,
        folder=whole,
        keys=beside(given.keys, "keys"),
        state=beside(given.state, "state"),
        listen=given.listen,
        public_url=(given.public_url or "").rstrip("/"),
        database=given.database,
        objects=given.objects,
        tls=given.tls,
        behind_proxy=given.behind_proxy,
        is_open=given.open,
        encrypt=given.encrypt,
        oidc=given.oidc,
        limits=given.limits,
        processes=given.processes,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, with descriptions; the same on every call and machine."""
    _, parts = msgspec.json.schema_components([HubFile], ref_template="#/$defs/{name}")
    root = parts.pop("HubFile")
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode({**root, "$defs": parts}))
    return {"$schema": DIALECT, **plain, "title": "Ecotone hub"}


@functools.cache
def file_type() -> msgspec.inspect.Type:
    """The types of `hub.yaml`, as msgspec describes them."""
    return msgspec.inspect.type_info(HubFile)


def _problems(given: HubFile) -> Iterator[tuple[str, str]]:
    try:
        ipaddress.ip_address("127.0.0.1" if given.listen.address == "localhost" else given.listen.address)
    except ValueError:
        address = shown(given.listen.address)
        yield "listen.address", f"{address} is not an IP address; write one, such as 127.0.0.1, ::1 or 0.0.0.0"
    yield from _database(given)
    yield from _objects(given)
    if given.tls is not None and given.behind_proxy:
        yield "behind_proxy", "true, and `tls` is given too: one of them ends TLS; keep that one"
    if given.processes > 1 and given.listen.port == 0:
        yield "listen.port", "0, with several processes: name the port"


def _database(given: HubFile) -> Iterator[tuple[str, str]]:
    url = given.database.url
    if url is None or secrets.is_readable(url):
        if given.database.password is not None and url is None:
            yield "database.password", "there is no `url` with a user to whom it could belong; leave it out"
        return
    if not url.startswith(_DATABASES):
        yield "database.url", "expected postgresql://USER@HOST/NAME, sqlite:///PATH, env:NAME or file:PATH"
        return
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None
    except ValueError as error:
        yield "database.url", f"is not an address: {error}"
        return
    if has_password:
        yield "database.url", "holds a password; take it out and write `password: env:NAME`, or `url: env:NAME`"
    if given.database.password is not None and parts.username is None:
        yield "database.url", "names no user, and a password is given; write postgresql://USER@HOST/NAME"


def _objects(given: HubFile) -> Iterator[tuple[str, str]]:
    url = given.objects.url
    if url is not None and not url.startswith(_OBJECTS):
        yield "objects.url", "expected s3://BUCKET/PREFIX, gs://..., az://... or an absolute folder"
    if url is not None and "://" in url and "@" in url:
        yield "objects.url", "holds a user or password; take it out and use `key_id` and `key`"
    if (given.objects.key_id is None) != (given.objects.key is None):
        yield "objects.key", "`key_id` and `key` belong together; give both, or none"


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(TEXT_BYTES_MAX + 1)
        return content[: TEXT_BYTES_MAX + 1].decode("utf-8-sig")
    except OSError as error:
        raise ConfigError("config.unreadable", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("config.unreadable", f"{path} is not UTF-8 text; save it as UTF-8") from error


def _bytes_of(name: str) -> bytes:
    with Path(name).expanduser().open("rb") as file:
        return file.read(secrets.SECRET_BYTES_MAX + 1)
