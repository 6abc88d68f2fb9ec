"""A new endpoint, a new way to place a request or a new room that talks fails here until a scene drives it."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path
from typing import cast

import ecotone
from ecotone.gateway.corridor import Corridor
from ecotone.gateway.routes import Routes
from ecotone.values import Endpoint, Mode, Place, Wish
from tests.egress import conversations, scenes

DRIVEN_ROUTES = {
    "/v1/chat/completions": "direct and all others",
    "/v1/completions": "direct and all others",
    "/v1/embeddings": "direct and all others",
    "/v1/explain": "explain",
    "/v1/explain/{id}": "explain",
    "/v1/models": "look_inside",
    "/v1/models/{id}": "explain, wrong_names",
    "/healthz": "takes nothing from the caller",
    "/readyz": "takes nothing from the caller",
    "/metrics": "look_inside",
    "/admin/status": "look_inside",
    "/admin/reload": "reloading",
    "/v1/jobs": "jobs",
    "/v1/jobs/events": "jobs",
    "/v1/jobs/{id}": "jobs",
    "/v1/jobs/{id}/answer": "jobs",
    "/v1/jobs/{id}/cancel": "ends a job",
    "/v1/jobs/{id}/retry": "jobs",
    "/v1/files": "batch",
    "/v1/files/{id}": "batch",
    "/v1/files/{id}/content": "batch",
    "/v1/batches": "batch",
    "/v1/feedback": "feedback",
    "/v1/batches/{id}": "batch",
    "/v1/batches/{id}/cancel": "ends a batch",
}
"""Every route, and the scene that drives it."""

DRIVEN_MODES = {
    Mode.CLOUD: "direct",
    Mode.EDGE: "fallback",
    Mode.AUTO: "policy is the same, whatever the order (placement.obstacle); sim drives it",
    Mode.SHADOW: "shadow",
}
WAYS_OUT = {
    "hedg": "hedge",
    "handover": "handover",
    "retr": "retry",
    "job": "jobs",
    "drain": "jobs",
    "webhook": "jobs",
    "accept": "jobs",
    "batch": "batch",
    "shadow": "shadow",
    "cascad": "cascade",
    "cach": "cache",
    "respons": "responses",
    "messag": "messages",
    "file": "batch",
    "feedback": "feedback",
    "hub": "hub",
    "compar": "shadow",
    "aside": "shadow",
    "lesson": "cascade",
}
"""What a module of the corridor or of the doors may be called that opens a path out (DESIGN.md, 1.4), and its scene."""

MAY_TALK = {
    "assets": "`ecotone models pull`, a command of its own, before anything is served",
    "delivery": "`ecotone models pull hub:`, `ecotone neighbour up`, and the child that a joined site begins "
    "for a delivery after an entry of its own (scene `hub`): it is given nothing of the site's but its session",
    "hub": "the server side, `ecotone hub up`: never a part of a site",
    "gateway": "listens",
    "upstreams": "the doors",
    "engines": "socket pairs with our own workers",
    "detectors": "socket pairs with our own worker",
    "cli": "asks our own site on loopback",
}
TALKING = {"socket", "http.client", "urllib.request", "httptools", "uvicorn", "smtplib", "ftplib", "requests", "httpx"}


def test_every_route_is_driven() -> None:
    routes = Routes(cast(Corridor, None))
    assert set(routes._exact) | set(routes._below) <= set(DRIVEN_ROUTES)


def test_every_endpoint_has_places_for_a_value() -> None:
    assert set(conversations.PLACES) == set(Endpoint)


def test_every_mode_wish_and_place_is_driven() -> None:
    assert set(DRIVEN_MODES) == set(Mode)
    assert set(Wish) == {Wish.AUTO, Wish.EDGE, Wish.CLOUD}
    assert set(Place) == {Place.EDGE, Place.CLOUD}


def test_a_new_way_out_has_its_scene() -> None:
    source = Path(ecotone.__file__).parent
    modules = {path.stem for room in ("flow", "gateway", "upstreams") for path in (source / room).glob("*.py")}
    wanted = {scene for root, scene in WAYS_OUT.items() if any(module.startswith(root) for module in modules)}
    assert wanted <= set(vars(scenes)), "a new way out: give it a scene in tests/egress/scenes.py"


def test_only_these_rooms_can_talk() -> None:
    source = Path(ecotone.__file__).parent
    found: dict[str, set[str]] = {}
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name in TALKING or name.split(".")[0] in TALKING for name in names):
                found.setdefault(path.relative_to(source).parts[0], set()).add(path.name)
    assert set(found) - {"telemetry"} <= set(MAY_TALK), found


def test_every_scene_is_run() -> None:
    written = {name for name, each in vars(scenes).items() if callable(each) and _is_scene(each)}
    tests = Path(__file__).with_name("test_paths.py").read_text()
    driven = {scene.__name__ for scene in scenes.ON_ONE_SITE}
    assert written - driven == {name for name in written - driven if f"scenes.{name}(" in tests}


def _is_scene(each: object) -> bool:
    code = getattr(each, "__code__", None)
    return code is not None and code.co_varnames[:1] == ("stage",) and not each.__name__.startswith("_")  # type: ignore[attr-defined]


def test_plug_ins_run_in_the_detectors_worker_only() -> None:
    groups = {point.group for point in importlib.metadata.distribution("ecotone").entry_points}
    assert groups <= {"console_scripts", "ecotone.detectors"}
