"""Local models in supervised worker processes.

    supervisor = engines.Supervisor(connect, engines.Settings(folder=store / "run", tunings=store / "engines.json"))
    model = engines.Model(name=asset.name, digest=asset.digest, file_bytes=asset.bytes)
    engine = supervisor.engine(model, lambda: assets.hold(asset))
    target = engines.EngineTarget("small", profile, engine)
    ...
    await supervisor.close()

`lifecycle`, `eviction`, `tuning` and `settings` are pure; `child` and `launching` make workers; `worker` is the
child; `engine` is one model's queue and life; `switching` puts one in another's place; `tally` counts what a model did;
`supervisor` is all of them; `target` is what the corridor sees.
"""

from ecotone.engines.engine import Engine
from ecotone.engines.lifecycle import Patience
from ecotone.engines.lifecycle import picture as lifecycle_picture
from ecotone.engines.machine import Machine, machine
from ecotone.engines.needs import Channel, Connect, Held, Hold
from ecotone.engines.settings import Limits, Model, Tuned
from ecotone.engines.supervisor import EngineStatus, Settings, Status, Supervisor
from ecotone.engines.target import EngineTarget
from ecotone.engines.tuning import Measured, Sample

__all__ = [
    "Channel",
    "Connect",
    "Engine",
    "EngineStatus",
    "EngineTarget",
    "Held",
    "Hold",
    "Limits",
    "Machine",
    "Measured",
    "Model",
    "Patience",
    "Sample",
    "Settings",
    "Status",
    "Supervisor",
    "Tuned",
    "lifecycle_picture",
    "machine",
]
