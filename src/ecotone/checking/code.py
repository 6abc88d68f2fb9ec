"""Answers that hold code: whether it parses, then how far it is the same code. Nothing is run. Pure."""

from __future__ import annotations

import ast
import re
from typing import Final

from ecotone.checking.soundness import unsound
from ecotone.checking.words import f1
from ecotone.values.normal import said
from ecotone.values.quality import Comparison, Question, Reply
from ecotone.values.structure import CODE_CHARS_MAX, Code, code_in, is_python, parses, tree_of

NAME: Final = "code"

SAME: Final = 0.85
STRANGE: Final = 0.25
"""Likeness of two pieces that counts as full agreement, and that of two which have nothing to do with each other.
Between them agreement grows straight. Measured: see docs/reference/checkers.md."""

TOKENS_MAX: Final = 4_000

_TOKEN: Final = re.compile(r"[^\W\d]\w*|\d+(?:\.\d+)?|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[^\s\w]")
_COMMENT: Final = re.compile(r"(?m)(?:^|(?<=\s))(?:#|//|--)[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)")


_DOCUMENTED: Final = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def code(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """1 less the likeness of the code of both, where it parses; else 1 or -1 for the one that does not.

    Two programs that do the same need not look the same: likeness is a weak judge, and a judge model or a plug-in that
    runs tests is better where there is one. None where the cloud's answer holds no code, or neither's parses.
    """
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    mine, theirs = code_in(said(edge.text)), code_in(said(cloud.text))
    if not theirs:
        return None
    if not mine:
        return Comparison(gap=1.0, checker=NAME)
    good, best = (all(parses(each) is not False for each in pieces) for pieces in (mine, theirs))
    if not good and not best:
        return None
    if not good or not best:
        return Comparison(gap=float(best) - float(good), checker=NAME, edge=float(good), cloud=float(best))
    likeness = f1(_bigrams(mine), _bigrams(theirs))
    return Comparison(gap=1.0 - min(1.0, max(0.0, (likeness - STRANGE) / (SAME - STRANGE))), checker=NAME)


def _bigrams(pieces: list[Code]) -> list[tuple[str, str]]:
    tokens = [token for piece in pieces for token in _tokens(piece)][:TOKENS_MAX]
    return list(zip(["", *tokens], [*tokens, ""], strict=True))


def _tokens(piece: Code) -> list[str]:
    """Tokens without comments; of Python, as its own printer writes it, so that form says nothing."""
    tree = tree_of(piece.text) if len(piece.text) <= CODE_CHARS_MAX and is_python(piece) else None
    text = _printed(tree) if tree is not None else ""
    return _TOKEN.findall(text or _COMMENT.sub(" ", piece.text))


def _printed(tree: ast.Module) -> str:
    """As Python's own printer writes it, without docstrings; `''` where it is nested too deeply to be written."""
    try:
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return ast.unparse(tree)
    except RecursionError:
        return ""
