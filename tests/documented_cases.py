"""Tables of cases in the documentation, rows of | case | `call` | `result` |: each call gives what stands beside it."""

import builtins
import re
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def text_of(document):
    """The document's text behind "Case by case"."""
    return (DOCS / document).read_text(encoding="utf-8").partition("## Case by case")[2]


def cases(document):
    """(case, call, result) of each row: the result as Python, or the name of an error."""
    return re.findall(r"^\| ([^|]+) \| `([^|]+)` \| `?([^|`]+)`? \|", text_of(document), re.MULTILINE)


def rows(document):
    """Lines that should be cases."""
    return [line for line in text_of(document).splitlines() if line.startswith("| ") and not line.startswith("| case ")]


def parametrize(document):
    """One test for each row, of ``call`` and ``result``."""
    return pytest.mark.parametrize(
        "call, result", [pytest.param(call, result, id=name) for name, call, result in cases(document)]
    )


def assert_case(call, result, names):
    error = getattr(builtins, result, None)
    if error is not None:
        with pytest.raises(error):
            eval(call, names)
        return
    want = np.asarray(eval(result, names))
    found = np.asarray(eval(call, names))
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, rtol=1e-6)
