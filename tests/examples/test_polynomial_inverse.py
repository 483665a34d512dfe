"""P(x) = y in both readings of the source, and a thermocouple against NIST's table and the truth."""

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from examples import polynomial_inverse as example
from examples.polynomial import source, thermocouple
from fastcore.polynomial import Status

READINGS = 3000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command with few readings: its status, what it printed, and its folder."""
    folder, printed = tmp_path_factory.mktemp("polynomial") / "new", io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = example.main(["--output", str(folder), "--readings", str(READINGS)])
    return SimpleNamespace(status=status, text=printed.getvalue(), folder=folder)


@pytest.fixture(scope="module")
def convert():
    return thermocouple.TypeN()


def test_example_finds_nothing_wrong(run):
    assert run.status == 0
    assert "All 38 rows agree" in run.text


def test_example_writes_pictures(run):
    files = sorted(run.folder.iterdir())
    assert [file.name for file in files] == ["source.png", "thermocouple.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert all(str(file) in run.text for file in files)


@pytest.mark.parametrize("reading", source.READINGS, ids=lambda reading: reading.name)
def test_source_problem_is_solved(reading):
    found = source.answers(reading)
    assert source.is_right(reading, found)
    assert all(answer.residual <= 1e-12 for answer in found)
    assert not source.is_right(reading, found[:-1])


def test_sample_ends_where_the_source_says_and_solves_nothing():
    reading = source.READINGS[1]
    sample, loss, newton = source.attempts(reading)
    assert f"{sample.x:.4f}" == f"{loss.x:.4f}" == "-0.1406"
    assert source.exact(reading, sample.x).residual > 6
    assert source.horner(source.derivative(reading.coefficients), sample.x) == pytest.approx(0, abs=1e-9)
    assert source.exact(reading, newton.x).residual < 1e-9


def test_loss_finds_a_solution_of_the_other_reading():
    reading = source.READINGS[0]
    sample, loss, newton = source.attempts(reading)
    assert source.exact(reading, sample.x).residual > 40
    assert max(source.exact(reading, attempt.x).residual for attempt in (loss, newton)) < 1e-12


def test_local_methods_say_where_they_are_stuck():
    for reading in source.READINGS:
        for local in source.local_answers(reading):
            solved = source.exact(reading, local.x).residual < 1e-9
            assert (local.status == "CONVERGED") == solved


def test_readings_list_the_coefficients_in_two_ways():
    ten, nine = (reading.coefficients for reading in source.READINGS)
    np.testing.assert_array_equal(ten, np.r_[0, nine])
    assert source.horner(ten, 0.5) == 0.5 * source.horner(nine, 0.5)


def test_voltages_round_to_those_of_the_table():
    t, printed = np.array(list(thermocouple.TABLE), float), list(thermocouple.TABLE.values())
    np.testing.assert_array_equal(np.round(np.asarray(thermocouple.voltage_of(t), float), 3), printed)


def test_temperatures_agree_with_the_table(convert):
    table = thermocouple.against_table(convert)
    assert table.agrees
    assert np.abs(table.error[table.temperature >= 0]).max() < 0.02


def test_published_inverse_is_as_exact_as_published():
    for part, low, high in map(thermocouple.approximate_error, thermocouple.APPROXIMATE):
        # Published with two decimals.
        assert part.error[0] - 0.005 < low < 0 < high < part.error[1] + 0.005


def test_every_reading_has_its_temperature_or_its_status(convert):
    readings = thermocouple.simulate(READINGS, seed=1)
    found = thermocouple.report(convert, readings)
    assert found.is_right
    assert found.statuses == {"CONVERGED": READINGS - 2, "NO_REAL_SOLUTION": 1, "NOT_FINITE": 1}
    assert found.temperature_error[0] < 1e-10
    ours, published, newton = found.comparisons
    assert ours.error < 1e-8 < published.error < 0.04
    assert newton.error < 1e-8


def test_readings_beyond_the_range_are_told(convert):
    found = convert(np.array([60.0, -5.0, np.nan, 0.0]))
    assert [Status(status).name for status in found.status] == [
        "NO_REAL_SOLUTION", "NO_REAL_SOLUTION", "NOT_FINITE", "CONVERGED",
    ]  # fmt: skip
    assert found.temperature[3] == pytest.approx(0, abs=1e-12)


def test_simulation_is_seeded():
    first, second, other = (thermocouple.simulate(100, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.voltage, second.voltage)
    assert not np.array_equal(first.voltage, other.voltage, equal_nan=True)


def test_wrong_number_ends_with_status_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(source, "is_right", lambda reading, found: False)
    monkeypatch.setattr(example, "draw", lambda convert, output: [])
    assert example.main(["--output", str(tmp_path), "--readings", "100"]) == 1
    assert "A number is not what it should be." in capsys.readouterr().err


def test_without_matplotlib_there_are_no_pictures(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(example, "find_spec", lambda module: None)
    assert example.draw(None, tmp_path / "new") == []
    assert "matplotlib is not installed" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_folder_that_is_a_file_is_named(capsys, tmp_path):
    file = tmp_path / "taken"
    file.touch()
    assert example.main(["--output", str(file), "--readings", "100"]) == 1
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--readings", "9"], ["--seed", "-1"]])
def test_options_out_of_range_are_refused(capsys, options):
    with pytest.raises(SystemExit):
        example.main(options)
    assert f"{options[0]} must" in capsys.readouterr().err


def test_readme_shows_the_example():
    root = Path(example.__file__).parents[1]
    assert "examples/polynomial_inverse.py" in (root / "README.md").read_text(encoding="utf-8")
