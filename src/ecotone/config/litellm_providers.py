"""Which of LiteLLM's providers speak OpenAI's API, and where.

Source: BerriAI/litellm, litellm_core_utils/get_llm_provider_logic.py (base addresses and key variables).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

VENDORS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
        "together_ai": ("https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
        "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        "fireworks_ai": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
        "perplexity": ("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
        "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
        "nvidia_nim": ("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
        "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
        "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
        "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
        "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    }
)
"""Provider -> (base URL, environment variable of the key)."""

LOCAL_BASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ollama": "http://localhost:11434",
        "ollama_chat": "http://localhost:11434",
        "llamafile": "http://127.0.0.1:8080/v1",
        "lm_studio": "http://localhost:1234/v1",
    }
)
"""Provider -> address that it has without `api_base`."""

SPEAKS_OPENAI: Final = frozenset(LOCAL_BASES) | {
    "hosted_vllm", "vllm", "openai_like", "custom_openai", "text-completion-openai", "aiohttp_openai", "litellm_proxy",
    "xinference", "docker_model_runner", "lemonade", "github", "anyscale",
}  # fmt: skip
"""Providers that need an `api_base` and are spoken to as OpenAI's API."""

_AZURE: Final = (
    "Azure addresses deployments and API versions in its own way, which is not spoken here; its v1 API is OpenAI's: "
    "write a target with `url: https://RESOURCE.openai.azure.com/openai/v1`, the deployment as `model` and "
    "`headers: {api-key: env:AZURE_API_KEY}`"
)


def unsupported(provider: str) -> str:
    """Why a provider cannot be a target."""
    if provider in ("azure", "azure_ai", "azure_text"):
        return _AZURE
    return f"{provider!r} is not known to speak OpenAI's API; if it does, write a target with its `url`"
