"""What a site believes of a hub: two signed repositories, and only what both of them name.

`reading` verifies one repository (TUF), `agreeing` takes what the offline catalogue and the online director both name,
`writing` makes what they say. Bytes in, verdicts out: files and links are `delivery`'s, and time is an argument.
"""

from ecotone.trust.agreeing import Agreed, Assigned, Refresh
from ecotone.trust.known import Known, Memory, Roots
from ecotone.trust.reading import Wanted

__all__ = ["Agreed", "Assigned", "Known", "Memory", "Refresh", "Roots", "Wanted"]
