import json

import pytest

pytest.importorskip("matplotlib")

from benchmarks import readme


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
