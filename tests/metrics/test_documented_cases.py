"""The tables of cases in docs/metrics.md: each row is run beside scikit-learn or scikit-uplift, or names its test.

The words of a row are the id of its test.
"""

import re
from pathlib import Path

import pytest
import sklearn.metrics

from fastcore import metrics
from tests.metrics.documented_differences import DIFFERENT, ELSEWHERE
from tests.metrics.documented_same import SAME
from tests.metrics.documented_uplift import PEER

ROOT = Path(__file__).parents[2]


def theirs(name):
    return getattr(sklearn.metrics, name, None) or getattr(sklearn.metrics.cluster, name)


@pytest.mark.parametrize("words", SAME)
def test_row_that_says_the_same(words, assert_same_outcome):
    for name, arguments, options in SAME[words]:
        assert_same_outcome(getattr(metrics, name), theirs(name), *arguments, words=True, **options)


@pytest.mark.parametrize("words", DIFFERENT)
def test_row_that_says_both(words):
    DIFFERENT[words]()


@pytest.mark.peer
# scikit-uplift 0.5.1 calls what scikit-learn 1.9 and pandas 3 deprecate, and takes means of nothing.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", PEER)
def test_row_of_scikit_uplift(words):
    PEER[words](pytest.importorskip("sklift.metrics"))


def test_each_public_function_is_listed():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = text.partition("## What there is")[2].partition("## Definitions")[0]
    assert {name for name in metrics._MODULE_OF if name.islower()} <= set(re.findall(r"`(\w+)`", listed))


def rows_of_document():
    """Words without backticks -> the three cells, of all tables of cases."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| case \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in "".join(tables).splitlines()]
    words = [cells[0].replace("`", "") for cells in rows]
    assert len(set(words)) == len(words)
    return dict(zip(words, rows, strict=True))


def test_each_row_of_the_tables_has_a_test():
    rows = rows_of_document()
    assert all(len(cells) == 3 for cells in rows.values())
    assert set(rows) == {*SAME, *DIFFERENT, *PEER, *ELSEWHERE}
    assert all(rows[words][2].startswith("the same") for words in SAME)


@pytest.mark.parametrize("words", ELSEWHERE)
def test_row_that_is_tested_elsewhere_names_a_test(words):
    file, _, function = ELSEWHERE[words].partition("::")
    assert f"def {function}(" in (ROOT / "tests" / "metrics" / file).read_text(encoding="utf-8")
