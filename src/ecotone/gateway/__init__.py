"""HTTP in: authenticates, bounds and decodes; the corridor behind it answers.

`Corridor` is the core, `Doors` what it opens onto, `Server` the two front ends on a socket.
"""

from ecotone.gateway.corridor import Corridor
from ecotone.gateway.doors import Doors, Serve
from ecotone.gateway.limits import Limits
from ecotone.gateway.server import Server, listen
from ecotone.gateway.work import Work

__all__ = ["Corridor", "Doors", "Limits", "Serve", "Server", "Work", "listen"]
