"""The unit tests of this room use the loopback origin of its fault tests."""

import importlib.util
import sys
from pathlib import Path

_path = Path(__file__).parents[2] / "faults" / "assets" / "conftest.py"
_spec = importlib.util.spec_from_file_location("assets_origin", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["assets_origin"] = _module
_spec.loader.exec_module(_module)

made, origin, plain_network, steps = _module.made, _module.origin, _module.plain_network, _module.steps
