"""What a small local model is really asked, and its answer in the form that the caller expects. Without I/O.

`shape` is the door: an OpenAI request in, the engine's request and a `Reply` out. `profile` says what the model can do;
`schemas` fits a JSON Schema to what the engine's grammar enforces; `tools` and `prompts` render tools, tool history and
examples; `request` puts the engine's request together; `reply`, `calls` and `envelope` turn its events back; `check`
holds a call's arguments against their schema.
"""

from ecotone.shaping.failures import classify_error, error_event
from ecotone.shaping.profile import SMOLLM2_135M, Profile, capabilities, profile_for
from ecotone.shaping.reply import Reply
from ecotone.shaping.request import Shaped, shape

__all__ = [
    "SMOLLM2_135M",
    "Profile",
    "Reply",
    "Shaped",
    "capabilities",
    "classify_error",
    "error_event",
    "profile_for",
    "shape",
]
