"""The source's F: its table, both paths of both partials, and the judges."""

import contextlib
import io

import numpy as np
import pytest

from examples import computational_graph as example


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What one run of the command prints; it draws, too."""
    pytest.importorskip("matplotlib")
    file, text = tmp_path_factory.mktemp("graph") / "graph.png", io.StringIO()
    with contextlib.redirect_stdout(text):
        assert example.main(["--points", "2000", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    return text.getvalue()


def test_example_shows_every_node_with_its_adjoint(printed):
    rows = [line.split() for line in printed.splitlines()[3:10]]
    assert [row[0] for row in rows] == ["x", "y", "S", "P", "G", "H", "F"]
    shown = {row[0]: (float(row[-2]), float(row[-1])) for row in rows}
    assert shown["P"] == pytest.approx((3.0, -np.cos(2) / 9), abs=1e-14)
    assert shown["x"] == pytest.approx((1.0, -2 * np.sin(2) / 3 - np.cos(2) / 9), abs=1e-14)


def test_example_adds_both_paths(printed):
    assert printed.count("through S") == printed.count("through P") == 2
    for argument, want in zip("xy", example.closed_form(1.0, 2.0)):
        shares = [each.share for each in example.ways(1.0, 2.0) if each.argument == argument]
        assert len(shares) == 2
        assert sum(shares) == pytest.approx(want, rel=1e-15)
        assert all(abs(share) > 0.01 for share in shares)  # a path that is lost would show


def test_example_judges_agree(printed):
    names = {"closed form", "complex step"}
    assert names <= set(example.judges())
    assert all(f"against {name}" in printed for name in example.judges())


def test_example_judges_find_a_lost_path():
    def without_second_path(x, y):
        by_x, by_y = example.closed_form(x, y)
        return by_x + np.cos(x * y) / (x + y) ** 2, by_y

    assert example.largest_error(100, without_second_path) > 1e-3


@pytest.mark.parametrize("arguments", [["--points", "0"], ["--x", "1", "--y", "-1"], ["--x", "nan"]])
def test_example_refuses_wrong_options(arguments, capsys):
    with pytest.raises(SystemExit):
        example.main(arguments)
    assert "must be" in capsys.readouterr().err


def test_example_says_where_it_cannot_write(tmp_path, capsys):
    assert example.main(["--points", "10", "--plot", str(tmp_path / "no" / "such" / "folder.png")]) == 1
    assert "folder" in capsys.readouterr().err
