"""What a target will take for a request, from what was measured. Door: `Speeds.predict` / `Speeds.observe`."""

from ecotone.estimate.speeds import Observation, Prior, Speeds

__all__ = ["Observation", "Prior", "Speeds"]
