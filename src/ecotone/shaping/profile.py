"""What is known of a local model: how it takes tools and which prompt form suits it at which task."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Form = Literal["template", "raw_few_shot"]
Task = Literal["chat", "classify"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A local model as the engine serves it.

    Attributes:
        name: The asset's own name; the `model` of every answer.
        context_tokens: Prompt and answer together, of one slot.
        has_template: Whether the GGUF carries a chat template. Without one the engine falls back to ChatML, which
            such a model was never shown: chat is then refused unless `forms` asks for the raw form.
        tools: `schema`: tool calls are made by constraining the output; `native`: the engine does them; `none`.
        forms: Prompt form by task; `template` where a task is not named.
        slots: Requests that the worker decodes at a time (`n_parallel`); the engine's limit for `n`.
        has_embeddings: Whether the worker was started with embeddings on.
    """

    name: str
    context_tokens: int
    has_template: bool = True
    tools: Literal["schema", "native", "none"] = "schema"
    forms: dict[Task, Form] = {}
    slots: int = 2
    has_embeddings: bool = False

    def form(self, task: Task) -> Form:
        """The prompt form for a task."""
        return self.forms.get(task, "template")


SMOLLM2_135M: Final = Profile(name="smollm2-135m", context_tokens=2048, forms={"classify": "raw_few_shot"})
"""SmolLM2-135M-Instruct. Raw few-shot beats its chat template by 10 items of 60 (RESEARCH-engines, section 8)."""

_BUILT_IN: Final = {SMOLLM2_135M.name: SMOLLM2_135M}


def profile_for(
    name: str, *, context_tokens: int, has_template: bool = True, slots: int = 2, has_embeddings: bool = False
) -> Profile:
    """The built-in profile of a known model, else the default one, with what the worker was started with.

    The default for an unknown GGUF trusts nothing that was not measured: tools by schema, the chat template at
    every task where the file has one, and no chat where it has none.
    """
    known = _BUILT_IN.get(name) or Profile(name=name, context_tokens=context_tokens, has_template=has_template)
    return msgspec.structs.replace(known, context_tokens=context_tokens, slots=slots, has_embeddings=has_embeddings)


def capabilities(profile: Profile) -> frozenset[str]:
    """What the local engine can do with this model, in the words of `Features.needs`.

    `n` is there where the worker has more than one slot: the engine decodes the choices side by side and refuses
    an `n` above its slots. Tool calls need a chat template: without one there is no turn to put a result into.
    """
    able = {"completions", "json_schema", "json_object", "logprobs", "stop", "seed", "stream"}
    if profile.has_template or profile.form("chat") == "raw_few_shot":
        able.add("chat")
    if profile.has_template:
        able.add("continue")
    if profile.has_template and profile.tools != "none":
        able.add("tools")
    if profile.has_embeddings:
        able.add("embeddings")
    if profile.slots > 1:
        able.add("n")
    return frozenset(able)
