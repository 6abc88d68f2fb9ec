"""Bodies that the engine really sent."""

from __future__ import annotations

import json

import pytest

from ecotone.shaping import classify_error, error_event


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (
            400,
            {
                "code": 400,
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 6031,
                "n_ctx": 2048,
                "message": "request (6031 tokens) exceeds the available context size (2048 tokens)",
            },
            "context_exceeded",
        ),
        (
            400,
            {"code": 400, "message": "Field 'n': Value must be between ...", "type": "invalid_request_error"},
            "bad_request",
        ),
        (500, {"code": 500, "message": "image input is not supported - hint", "type": "server_error"}, "capability"),
        (
            500,
            {"code": 500, "message": "Cannot use both json_schema and grammar", "type": "server_error"},
            "bad_request",
        ),
        (
            501,
            {"code": 501, "message": "This server does not support embeddings.", "type": "not_supported_error"},
            "capability",
        ),
        (404, {"code": 404, "message": "File Not Found", "type": "not_found_error"}, "no_model"),
        (401, {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}, "unauthorised"),
        (503, {"code": 503, "message": "Loading model", "type": "unavailable_error"}, "http_503"),
        (
            200,
            {"code": 500, "message": "got exception: Unexpected empty grammar stack", "type": "server_error"},
            "engine",
        ),
    ],
)
def test_the_engines_errors_have_our_words(status: int, error: dict[str, object], code: str) -> None:
    assert classify_error(status, json.dumps({"error": error}).encode()) == (code, error["message"])


def test_a_body_without_an_error_object_goes_by_its_status() -> None:
    assert classify_error(503, b"<html>")[0] == "http_503"
    assert classify_error(500, b"{}")[0] == "engine"


def test_an_error_event_is_openais_error_object() -> None:
    assert json.loads(error_event("engine", "why")) == {
        "error": {"message": "why", "type": "server_error", "param": None, "code": "engine"}
    }
