"""What a site learns from its own traffic: signals, the gap to the cloud, and how much of it may be risked.

numpy lives here, so this room is loaded only where a model name asks for it.
"""

from ecotone.learning.learner import Learner, Row, Scorer
from ecotone.learning.lessons import Lessons
from ecotone.learning.signals import Signals
from ecotone.learning.traits import Traits

__all__ = ["Learner", "Lessons", "Row", "Scorer", "Signals", "Traits"]
