"""The tables of cases in docs/nn.md: each call gives what stands beside it."""

import re

import numpy as np

from fastcore import autodiff, nn
from tests import documented_cases

NAMES = {
    "np": np,
    "nn": nn,
    "nan": np.nan,
    "inf": np.inf,
    **{name: getattr(autodiff, name) for name in autodiff.__all__},
}


def test_all_rows_are_found():
    assert len(documented_cases.rows("nn.md")) == len(documented_cases.cases("nn.md")) > 50


@documented_cases.parametrize("nn.md")
def test_documented_case(call, result):
    documented_cases.assert_case(call, result, NAMES)


def test_page_names_every_public_function():
    named = set(re.findall(r"`(\w+)", (documented_cases.DOCS / "nn.md").read_text(encoding="utf-8")))
    forward = {name for name in nn.__all__ if not name.endswith("_backward")}
    assert forward - named == set()
    assert {name for name in autodiff.__all__ if name.islower()} - named == set()
