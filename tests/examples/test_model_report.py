"""The report on real models: every metric, scikit-learn's numbers, the known effect within its interval."""

import contextlib
import io
import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from examples import model_report as example
from examples.report import classification, clustering, measures, regression, uplift
from examples.report.measures import NUMPY, SCIKIT_LEARN, Row, Settings, Table
from fastcore import metrics

FEW = Settings(resamples=20, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command with few resamples: what it printed, its tables and folder."""
    folder, printed, tables = tmp_path_factory.mktemp("report") / "new", io.StringIO(), []
    show = example.show

    def kept(found, *rest):
        tables.extend(found)
        return show(found, *rest)

    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(example, "show", kept)
        status = example.main(["--output", str(folder), "--resamples", "20"])
    rows = list(itertools.chain.from_iterable(table.rows for table in tables))
    return SimpleNamespace(status=status, text=printed.getvalue(), rows=rows, folder=folder)


def of(rows: list[Row], metric: str, what: str = "") -> Row:
    (found,) = [row for row in rows if row.metric == metric and what in row.what]
    return found


def test_report_prints_every_metric(run):
    assert run.status == 0
    public = {name for name in dir(metrics) if name.islower() and not name.startswith("_")}
    functions = public - {"bootstrap", "stream"}  # what takes a metric
    assert {row.metric for row in run.rows} == functions
    words = set(run.text.split())
    assert functions <= words


def test_report_agrees_with_scikit_learn(run):
    assert {row.peer for row in run.rows} == {SCIKIT_LEARN, NUMPY}
    assert max(row.difference for row in run.rows) < 1e-12
    assert "Largest difference from scikit-learn: " in run.text


def test_report_gives_intervals(run):
    with_interval = [row for row in run.rows if not np.isnan(row.low)]
    assert len(run.rows) - len(with_interval) == 2  # standard errors
    assert all(row.low <= row.high for row in with_interval)


def test_report_finds_the_known_effect(run):
    for what in ("difference in means", "matched pairs"):
        row = of(run.rows, "average_treatment_effect", what)
        assert row.truth == uplift.TRUE_EFFECT
        assert row.low < row.truth < row.high
    # Twice the interval at 95 %: of 10 percentiles one may be outside of the interval itself.
    for row in run.rows:
        if row.truth is not None:
            assert abs(row.value - row.truth) < row.high - row.low
    for name in ("qini_auc_score", "uplift_auc_score"):
        model, best = (row.value for row in run.rows if row.metric == name)
        assert 0 < model < best


def test_readme_shows_rows_of_the_report(run):
    readme = (Path(example.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (excerpt,) = re.findall(r"^```text\n metric .*?\n ─+\n(.*?)\n\n", readme, re.DOTALL | re.MULTILINE)
    # Values depend on the version of scikit-learn, intervals on the number of resamples: names are held.
    shown = [re.split(r"\s{2,}", line.strip())[:2] for line in excerpt.splitlines()]
    named = {(metric, "" if re.match(r"-?\d", second) else second) for metric, second in shown}
    assert len(named) == 5
    assert named <= {(row.metric, row.what) for row in run.rows}


def test_matched_pairs_are_more_exact(run):
    welch, student = (row.value for row in run.rows if row.what == "its standard error")
    assert student < welch


def test_report_of_silhouettes_says_what_duplicates_do(run):
    drawn, mean = of(run.rows, "silhouette_score"), of(run.rows, "silhouette_samples")
    assert drawn.value == pytest.approx(mean.value, rel=1e-12)
    assert drawn.low + drawn.high > mean.low + mean.high
    assert "A point drawn twice" in run.text


def test_report_writes_pictures(run):
    files = sorted(run.folder.iterdir())
    assert [file.name for file in files] == ["lift.png", "roc.png", "silhouette.png", "uplift.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert all(str(file) in run.text.replace("\n", "") for file in files)


@pytest.mark.parametrize("domain", ["classification", "regression"])
def test_report_is_the_same_for_one_seed(domain):
    def rows(seed):
        settings = Settings(20, seed)
        if domain == "classification":
            return classification.ranking_metrics(classification.predict(settings), settings).rows
        return regression.regression_metrics(*regression.predict(settings), settings).rows

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)


def test_simulated_effect_is_the_known_one(rng):
    _, treatment, _, effect = uplift.simulate(200_000, rng)
    assert effect.mean() == pytest.approx(uplift.TRUE_EFFECT, abs=1e-3)
    assert (treatment.sum(1) == 1).all()


def test_purity_of_the_digits_themselves_is_one(rng):
    digits = rng.integers(0, 10, 100)
    assert clustering.purity(metrics, digits, (digits + 3) % 10) == 1


@pytest.mark.parametrize("value, differs", [(2.0, 1e-3), (float("nan"), np.nan), (0.0, 2e-10)])
def test_a_difference_is_told(monkeypatch, capsys, tmp_path, value, differs):
    table = Table("wrong", FEW)
    table.put("f1_score", "", 0.5, (0, 1), 0.5)
    table.put("r2_score", "of all", value, (0, 1), value * (1 - differs) if value else differs)
    table.put("uplift", "", 0.5, (0, 1), 0.5)
    monkeypatch.setattr(example, "report", lambda settings, output: ([table], []))
    assert example.main(["--output", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "A difference is above 1e-10." in printed.err
    assert "(r2_score, of all)" in printed.out


def test_differences_of_large_numbers_are_relative():
    np.testing.assert_allclose(measures.difference([2001.0, 0.3], [2000.0, 0.1]), [1 / 2000, 0.2])


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(example, "find_spec", lambda module: None if module == "sklearn" else object())
    assert example.main([]) == 1
    expected = "This example needs scikit-learn. Install with: pip install -e '.[test]' (in a checkout)\n"
    assert capsys.readouterr().err == expected


def test_folder_that_is_a_file_is_named(monkeypatch, capsys, tmp_path):
    file = tmp_path / "taken"
    file.touch()
    assert example.main(["--output", str(file)]) == 1
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--resamples", "1"], ["--seed", "-1"]])
def test_options_out_of_range_are_refused(capsys, options):
    with pytest.raises(SystemExit):
        example.main(options)
    assert f"{options[0]} must be" in capsys.readouterr().err
