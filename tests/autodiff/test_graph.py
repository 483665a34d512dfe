"""graph: names, values, adjoints, the table, Graphviz' text, and a picture."""

import sys

import numpy as np
import pytest

from fastcore.autodiff import graph


def F(x, y):
    S = x * y
    P = x + y
    G = np.cos(S)
    H = 1 / P
    return G * H


def test_graph_names_nodes_after_variables():
    found = graph(F)
    assert [node.name for node in found.nodes] == ["x", "y", "S", "P", "G", "H", "F"]
    assert [node.expression for node in found.nodes] == ["", "", "x * y", "x + y", "cos(S)", "1 / P", "G * H"]
    assert found.nodes[5] == ("H", "divide", (1.0, "P"))
    assert found.output == "F"
    assert str(found).splitlines()[4].split() == ["P", "x", "+", "y", "add"]
    assert repr(found) == "<Graph of F: 7 nodes>"


def test_graph_numbers_what_has_no_name():
    def with_taken_name(x):
        v1 = np.exp(x)
        return np.sin(-(v1 * v1)) + 1.0

    assert [node.name for node in graph(with_taken_name).nodes] == ["x", "v1", "v2", "v3", "v4", "with_taken_name"]
    assert [node.name for node in graph(lambda x, unused, n=2: x**n).nodes] == ["x", "unused", "v1"]
    assert graph(lambda x: x).output == "x"


def test_graph_leaves_a_profiler_as_it_was():
    def profiler(frame, event, argument):
        pass

    sys.setprofile(profiler)
    try:
        graph(F)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


def test_evaluate_and_adjoints_are_those_of_the_source():
    x, y = 1.3, 0.7
    values, slopes = graph(F).evaluate(x=x, y=y), graph(F).adjoints(x=x, y=y)
    S, P = x * y, x + y
    G, H = np.cos(S), 1 / P
    expected = {"x": x, "y": y, "S": S, "P": P, "G": G, "H": H, "F": G * H}
    assert values == pytest.approx(expected, rel=1e-15)
    by_s, by_p = -H * np.sin(S), -G / P**2
    expected = {"x": by_s * y + by_p, "y": by_s * x + by_p, "S": by_s, "P": by_p, "G": H, "H": G, "F": 1.0}
    assert slopes == pytest.approx(expected, rel=1e-15)
    arrays = graph(F).adjoints(x=np.full((2, 1), x), y=np.full(3, y))
    np.testing.assert_allclose(arrays["S"], np.full((2, 3), by_s), rtol=1e-15)


def test_partials_multiply_along_paths():
    x, y = 1.3, 0.7
    found = graph(F).partials(x=x, y=y)
    assert list(found) == [
        ("x", "S"), ("y", "S"), ("x", "P"), ("y", "P"), ("S", "G"), ("P", "H"), ("G", "F"), ("H", "F"),
    ]  # fmt: skip
    through_s = found["x", "S"] * found["S", "G"] * found["G", "F"]
    through_p = found["x", "P"] * found["P", "H"] * found["H", "F"]
    assert through_s + through_p == pytest.approx(graph(F).adjoints(x=x, y=y)["x"], rel=1e-15)
    assert graph(lambda x: x * x).partials(x=3.0) == {("x", "v1"): 6.0}
    assert graph(lambda x: np.floor(x)).partials(x=3.0) == {("x", "v1"): 0.0}
    assert graph(lambda x: x).partials(x=3.0) == {}


def test_conditions_have_values_and_no_adjoints():
    def pieces(x):
        positive = x > 0
        return np.where(positive, x * x, 3.0)

    x = np.array([-1.0, 2.0])
    values = graph(pieces).evaluate(x=x)
    assert values["positive"].tolist() == [False, True]
    slopes = graph(pieces).adjoints(x=x)
    assert list(slopes) == ["x", "v1", "pieces"]
    np.testing.assert_array_equal(slopes["x"], [0.0, 4.0])


def test_to_dot_has_each_node_and_edge():
    lines = graph(F).to_dot().splitlines()
    assert lines[0] == "digraph {"
    assert '    "G" [label="G = cos(S)", shape=ellipse];' in lines
    assert sum("->" in line for line in lines) == 8
    assert ("S", "G") in graph(F).edges


@pytest.mark.parametrize("inputs", [{}, {"x": 1.0, "y": 2.0}])
def test_plot_writes_a_picture(tmp_path, inputs):
    pytest.importorskip("matplotlib")
    graph(F).plot(tmp_path / "graph.svg", **inputs)
    assert "<svg" in (tmp_path / "graph.svg").read_text()


def test_plot_refuses_arrays(tmp_path):
    with pytest.raises(ValueError, match=r"plot takes numbers.*\(3,\) for x"):
        graph(F).plot(tmp_path / "graph.svg", x=np.ones(3), y=1.0)


def test_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastcore-kernels\[plot\]'"):
        graph(F).plot(tmp_path / "graph.svg")
