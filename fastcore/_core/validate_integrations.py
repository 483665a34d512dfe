"""Checks of the arguments of `fastcore.integrations`, and their messages."""

from collections.abc import Collection
from typing import Any

from fastcore._core.validate import kind_of, shown


def known_name(x: Any, name: str, known: Collection[str], lister: str) -> str:
    """`x`, one of the strings ``known``; these are too many for a message, which names the function that lists them."""
    if not isinstance(x, str):
        fix = " A decorator needs its parentheses: @patch_sklearn()." if callable(x) else ""
        raise TypeError(f"{name} must be a string. Got {kind_of(x)}.{fix}")
    if x not in known:
        from difflib import get_close_matches

        close = get_close_matches(x, known, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{name} must be one of {lister}(). Got {shown(x)}. {hint}".rstrip())
    return x
