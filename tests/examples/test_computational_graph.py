"""The source's F: its table, both paths of both partials, and the judges."""

import contextlib
import io
import os
import subprocess
import sys

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
    head, *rows = printed.splitlines()[2:10]
    assert [row.split()[0] for row in rows] == ["x", "y", "S", "P", "G", "H", "F"] == list(example.ADJOINTS)
    shown = {row.split()[0]: tuple(map(float, row[16:72].split())) for row in rows}
    assert "- complex step" in head[56:72]
    s, c = np.sin(2), np.cos(2)
    want = {"x": -2 * s / 3 - c / 9, "y": -s / 3 - c / 9, "S": -s / 3, "P": -c / 9, "G": 1 / 3, "H": c, "F": 1.0}
    for name, adjoint in want.items():
        assert shown[name][1] == pytest.approx(adjoint, abs=1e-12)
        assert abs(shown[name][2]) < 1e-15
    assert shown["P"][0] == 3.0


@pytest.mark.parametrize(
    "x, y", [(1.0, 2.0), (0.0, 2.0), (1e5, -99999.0), (1e-3, -1.0001e-3), (1e-9, 1e6), (1e100, 3.0), (1e-150, 0.0)]
)
def test_example_agrees_with_complex_steps_at_every_node(x, y, capsys):
    assert example.show_nodes(x, y)
    assert example.show_paths(x, y)
    assert "nan" not in capsys.readouterr().out


def test_example_symbols_are_sympys():
    sympy = pytest.importorskip("sympy")
    values = example.graph(example.F).evaluate(x=0.7, y=-0.2)
    found = example.adjoints_by_sympy(values)
    for name, text in example.ADJOINTS.items():
        formula = text.replace("H sin(S)", "H*sin(S)").replace(") y", ")*y").replace(") x", ")*x").replace("²", "**2")
        assert found[name] == pytest.approx(float(sympy.sympify(formula, locals={"S": sympy.Symbol("S")}).subs(values)))


def test_example_finds_a_wrong_adjoint(monkeypatch, capsys):
    right = example.adjoints_by_complex_step
    monkeypatch.setattr(example, "adjoints_by_complex_step", lambda values: right(values) | {"P": 0.0})
    assert example.main(["--points", "10"]) == 1
    assert "A derivative is not what it should be" in capsys.readouterr().err


def test_example_prints_where_its_letters_do_not_exist():
    code = "import sys; from examples.computational_graph import main; sys.exit(main(['--points', '10']))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "?F/?x" in done.stdout


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


@pytest.mark.parametrize(
    "arguments",
    [["--points", "0"], ["--x", "1", "--y", "-1"], ["--x", "nan"], ["--x=1e200", "--y=1e200"], ["--x=1e-170", "--y=0"]],
)
def test_example_refuses_wrong_options(arguments, capsys):
    with pytest.raises(SystemExit):
        example.main(arguments)
    assert "must be" in capsys.readouterr().err


def test_example_says_where_it_cannot_write(tmp_path, capsys):
    assert example.main(["--points", "10", "--plot", str(tmp_path / "no" / "such" / "folder.png")]) == 1
    assert "folder" in capsys.readouterr().err
