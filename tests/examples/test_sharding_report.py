"""Layouts of a small transformer: the command, and its numbers against hand-made and simulated ones."""

import contextlib
import io
import json
from types import SimpleNamespace

import pytest

from examples import sharding_report as example
from examples.sharding.layouts import Layout, Model, Plan, best, cost, layouts, num_parameters
from fastcore.sharding import Link, pipeline_bubble

LINK = Link(latency_s=1e-6, bytes_per_s=1e9, flops_per_s=1e9)
MODEL = Model(layers=4, embed_dim=32, heads=4, hidden_dim=64, vocabulary=96, length=8, batch=8)
SMALL = [
    "--layers",
    "4",
    "--embed",
    "32",
    "--heads",
    "4",
    "--hidden",
    "64",
    "--vocabulary",
    "96",
    "--length",
    "8",
    "--batch",
    "8",
]
NORM, HEADS, MLP = 2 * 32, 4 * (32 * 32 + 32), 2 * 32 * 64 + 64 + 32
PARAMETERS = 4 * (2 * NORM + HEADS + MLP) + NORM + 2 * 96 * 32


def _run(*arguments):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = example.main([*SMALL, *arguments])
    return SimpleNamespace(status=status, text=printed.getvalue())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command over eight devices, and its folder."""
    folder = tmp_path_factory.mktemp("sharding") / "new"
    result = _run("--devices", "8", "--report", "--trace", "--output", str(folder))
    result.folder = folder
    return result


def test_example_prints_all_layouts_and_names_the_best(run):
    assert run.status == 0
    lines = run.text.split("\n")
    found = list(layouts(8, MODEL, Plan()))
    assert len(found) == 8
    assert all(any(line.strip().startswith(str(layout)) for line in lines) for layout in found)
    assert sum(line.endswith("best") for line in lines) == 1
    assert "Best: " in run.text
    assert "peak memory" in run.text


def test_example_writes_pictures_and_trace(run):
    assert sorted(file.name for file in run.folder.iterdir()) == ["best-8.json", "best-8.png", "layouts-8.png"]
    for name in ("best-8.png", "layouts-8.png"):
        assert (run.folder / name).read_bytes().startswith(b"\x89PNG")
        assert str(run.folder / name) in run.text
    trace = json.loads((run.folder / "best-8.json").read_text(encoding="utf-8"))
    assert len(trace["traceEvents"]) > 100


def test_example_without_a_layout_that_fits_says_so(tmp_path):
    result = _run("--devices", "4", "--memory", "1000", "--output", str(tmp_path))
    assert result.status == 1
    assert "No layout fits" in result.text
    assert result.text.count("does not fit") == len(list(layouts(4, MODEL, Plan())))


def test_example_without_any_layout_says_so(tmp_path):
    result = _run("--devices", "7", "--output", str(tmp_path))
    assert result.status == 1
    assert "No layout divides" in result.text


def test_example_without_matplotlib_prints_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    result = _run("--devices", "2", "--output", str(tmp_path))
    assert result.status == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--devices", "0"], "must be at least 1; got 0"),
        (["--chunks", "2"], "--chunks goes with --schedule interleaved"),
        (["--latency", "-1"], "--latency must be seconds, not negative; got -1.0"),
        (["--flops", "0"], "must be above 0; got 0"),
        (["--heads", "5"], "--embed must be a multiple of --heads; got 32 and 5"),
    ],
)
def test_example_wrong_option_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        example.main([*SMALL, *arguments])
    assert message in capsys.readouterr().err


def test_num_parameters_is_that_of_the_shapes():
    assert num_parameters(MODEL) == PARAMETERS
    assert num_parameters(Model()) == pytest.approx(5.3e9, rel=0.01)


def test_layouts_divide_devices_batch_and_layers():
    for layout in layouts(16, MODEL, Plan()):
        assert layout.devices == 16
        assert MODEL.batch % layout.dp == MODEL.layers % layout.pp == MODEL.heads % layout.tp == 0
    for layout in layouts(16, MODEL, Plan(schedule="interleaved", chunks=2)):
        assert MODEL.layers % (2 * layout.pp) == MODEL.batch // layout.dp % layout.pp == 0


def test_cost_of_copies_sends_every_gradient_and_parameter_once():
    outcome, _ = cost(MODEL, Layout(dp=8, pp=1, tp=1), Plan(), LINK)
    sent = {(row.kind, row.axis): row for row in outcome.report.collectives if row.messages}
    expected = 7 * PARAMETERS * 4  # (n - 1) S by all, of each: every parameter divides by 8
    assert sent["psum_scatter", "dp"].bytes_total == sent["all_gather", "dp"].bytes_total == expected
    assert set(sent) == {("psum_scatter", "dp"), ("all_gather", "dp"), ("psum", "dp")}
    assert outcome.report.bubble == 0.0


def test_cost_same_products_in_every_layout():
    totals = set()
    for layout in (Layout(8, 1, 1), Layout(1, 4, 2), Layout(2, 2, 2), Layout(2, 1, 4)):
        report = cost(MODEL, layout, Plan(), LINK)[0].report
        totals.add(next(row.flops_total for row in report.kernels if row.name == "multiply"))
    assert len(totals) == 1


def test_cost_interleaved_has_half_the_bubble():
    fast = Link(latency_s=0.0, bytes_per_s=1e30, flops_per_s=1e9)
    even = MODEL._replace(vocabulary=1)  # hardly any work outside of the blocks
    plain = cost(even, Layout(1, 2, 1), Plan(), fast)[0].report.bubble
    interleaved = cost(even, Layout(1, 2, 1), Plan("interleaved", 2), fast)[0].report.bubble
    assert plain == pytest.approx(pipeline_bubble(2, 8), rel=0.1)
    assert interleaved == pytest.approx(pipeline_bubble(2, 8, 2), rel=0.2)


def test_cost_recomputing_takes_less_memory_and_more_time():
    kept, _ = cost(MODEL, Layout(1, 2, 2), Plan(), LINK)
    again, _ = cost(MODEL, Layout(1, 2, 2), Plan(recompute=True), LINK)
    assert again.report.peak_bytes < kept.report.peak_bytes
    assert again.report.flops_total > kept.report.flops_total


def test_cost_gpipe_takes_more_memory_than_1f1b():
    peaks = [cost(MODEL, Layout(1, 2, 1), Plan(name), LINK)[0].report.peak_bytes for name in ("1f1b", "gpipe")]
    assert peaks[0] < peaks[1]


def test_best_is_the_fastest_that_fits():
    outcomes = [cost(MODEL, layout, Plan(), LINK)[0] for layout in layouts(8, MODEL, Plan())]
    limit = sorted(outcome.report.peak_bytes for outcome in outcomes)[3]
    chosen = best(outcomes, limit)
    fitting = [outcome for outcome in outcomes if outcome.report.peak_bytes <= limit]
    assert chosen.step_s == min(outcome.step_s for outcome in fitting)
    assert best(outcomes, 0) is None


def test_cost_without_data_is_that_of_a_simulated_step():
    reports = [cost(MODEL, Layout(2, 2, 2), Plan(), LINK, engine)[0].report for engine in ("dry", "simulated")]
    assert reports[0]._replace(engine="") == reports[1]._replace(engine="")
