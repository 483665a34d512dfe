"""The table of cases in docs/attention.md: each call gives what stands beside it."""

import re

import numpy as np

import fastcore
from fastcore import attention
from tests import documented_cases

NAMES = {
    "np": np,
    "nan": np.nan,
    "inf": np.inf,
    "attend": fastcore.scaled_dot_product_attention,
    "backward": fastcore.scaled_dot_product_attention_backward,
    "varlen": fastcore.scaled_dot_product_attention_varlen,
    "linear": fastcore.linear_attention,
    "q": np.ones((2, 4)),
    "k": np.ones((2, 4)),
    "v": np.array([[1.0], [3.0]]),
    "v_nan": np.array([[1.0], [np.nan]]),
    "heads": np.ones((2, 1, 4)),
}


def test_all_rows_are_found():
    assert len(documented_cases.rows("attention.md")) == len(documented_cases.cases("attention.md")) > 20


@documented_cases.parametrize("attention.md")
def test_documented_case(call, result):
    documented_cases.assert_case(call, result, NAMES)


def test_page_names_every_public_function():
    text = (documented_cases.DOCS / "attention.md").read_text(encoding="utf-8")
    assert set(attention.__all__) - set(re.findall(r"\w+", text)) == set()
