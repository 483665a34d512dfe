import copy
import json

import pytest

pytest.importorskip("matplotlib")

from benchmarks import readme, report


def test_only_the_block_between_the_markers_changes(run, tmp_path):
    text = f"above\n{readme.BEGIN}\nold\n{readme.END}\nbelow\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    readme.write(run, tmp_path)
    once = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert once.startswith(f"above\n{readme.BEGIN}")
    assert once.endswith(f"{readme.END}\nbelow\n")
    assert "old" not in once
    assert "PyTorch is faster, 0.80×" in once
    assert (tmp_path / readme.PICTURE).stat().st_size > 5000
    readme.write(run, tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == once


def test_block_names_what_was_not_compared(run):
    assert "**Not compared**:\n\n- JAX: jax is not installed (2 cases)" in readme.block(run)


def test_long_run_shows_the_important_cases_and_lists_all_losses(run):
    first = run["cases"][0]
    important = "attention/prefill/f32/B1-H8-L512-D64/causal"
    run["cases"] = [first | {"name": name} for name in [important, *(f"nn/f32/N{n}" for n in range(readme.MOST_ROWS))]]
    assert readme.shown(run) == [important]
    text = readme.block(run)
    assert "| `nn/f32/N3` |" not in text
    assert "- nn/f32/N3: PyTorch is faster" in text


def test_metrics_have_a_line_a_function_and_a_column_a_size(run):
    case = run["cases"][0]
    torch, numpy = case["sides"]["torch"], case["sides"]["numpy"]

    def metric(function, rows, **sides):
        name, sides = f"metrics_ranking/{function}/f64/N{rows}", {"fastcore": case["sides"]["fastcore"], **sides}
        return case | {"name": name, "group": f"{function} f64", "sizes": {"N": rows}, "sides": sides}

    run["cases"] += [
        metric("roc_auc_score", 1_000_000, torch=torch, numpy=numpy),
        metric("roc_auc_score", 10, numpy=numpy),
        metric("log_loss", 20_000, numpy=numpy),
    ]
    lines = readme.metrics_table.table(run)
    assert lines[2:] == [
        "| metric | against | N = 10 | N = 2e4 | N = 1e6 | others |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        "| `roc_auc_score f64` | PyTorch | 6 ms |  | 6 ms 0.80× | NumPy 5.00× |",
        "| `log_loss f64` | NumPy |  | 6 ms 5.00× |  |  |",
        "",
    ]
    assert all(line in readme.block(run) for line in lines)
    assert not [name for name in readme.shown(run) if name.startswith("metrics_")]


def test_missing_markers_are_reported(run):
    with pytest.raises(SystemExit, match="must have the lines"):
        readme.replaced("no markers", "new")


def test_results_are_found_in_a_folder_and_judged(run, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(run), encoding="utf-8")
    assert readme.load(tmp_path) == readme.load(tmp_path / "results.json") == run
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="not the results file"):
        readme.load(tmp_path)
    with pytest.raises(SystemExit, match="Run `make bench` first"):
        readme.load(tmp_path / "nowhere")


def test_later_runs_add_and_replace_cases(run):
    second = copy.deepcopy(run)
    second["cases"] = [{**second["cases"][0], "name": "metrics_x/f64/N10"}, {**run["cases"][0], "sizes": {"L": 7}}]
    second["created"], second["machine"]["commit"] = "2026-11-24", "abc"
    both = readme.joined([run, second])
    assert [case["name"] for case in both["cases"]] == [*(case["name"] for case in run["cases"]), "metrics_x/f64/N10"]
    assert both["cases"][0]["sizes"] == {"L": 7}
    assert "run of 2026-11-24" in report.machine_lines(both)[-1]
    assert "metrics_x" in report.machine_lines(both)[-1]
    assert "others" not in run
