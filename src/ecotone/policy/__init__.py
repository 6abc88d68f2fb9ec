"""What may leave the site, and the permits for it. Doors: `constrain` and `Mint`."""

from ecotone.policy.constrain import DEFAULT_LABELS, Policy, Rule, constrain, word_for
from ecotone.policy.permit import Mint

__all__ = ["DEFAULT_LABELS", "Mint", "Policy", "Rule", "constrain", "word_for"]
