"""The tables of cases in docs/nn.md: each call gives what stands beside it."""

import builtins
import re
from pathlib import Path

import numpy as np
import pytest

from fastcore import autodiff, nn

DOCUMENT = Path(__file__).parents[2] / "docs" / "nn.md"
NAMES = {
    "np": np,
    "nn": nn,
    "nan": np.nan,
    "inf": np.inf,
    **{name: getattr(autodiff, name) for name in autodiff.__all__},
}


def cases():
    """(case, call, result) of each row: the result as Python, or the name of an error."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Case by case")[2]
    return re.findall(r"^\| ([^|]+) \| `([^|]+)` \| `?([^|`]+)`? \|", text, re.MULTILINE)


def test_all_rows_are_found():
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Case by case")[2]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| case ")]
    assert len(rows) == len(cases()) > 50


@pytest.mark.parametrize("call, result", [pytest.param(call, result, id=name) for name, call, result in cases()])
def test_documented_case(call, result):
    error = getattr(builtins, result, None)
    if error is not None:
        with pytest.raises(error):
            eval(call, NAMES)
        return
    want = np.asarray(eval(result, NAMES))
    found = np.asarray(eval(call, NAMES))
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_page_names_every_public_function():
    named = set(re.findall(r"`(\w+)", DOCUMENT.read_text(encoding="utf-8")))
    forward = {name for name in nn.__all__ if not name.endswith("_backward")}
    assert forward - named == set()
    assert {name for name in autodiff.__all__ if name.islower()} - named == set()
