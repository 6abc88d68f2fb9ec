"""Ecotone: one OpenAI-compatible endpoint where the edge meets the cloud."""

__version__ = "0.1.0"
