"""fastcore's metrics in the place of scikit-learn's, and put back."""

import gc
import importlib
import sys
import threading
import types

import pytest
import sklearn
import sklearn.ensemble
import sklearn.feature_selection
import sklearn.linear_model
import sklearn.metrics
import sklearn.utils.estimator_checks
from sklearn.datasets import load_iris

from fastcore import metrics
from fastcore.integrations.sklearn import patch_sklearn, substituted_names

NAMES = substituted_names()


def place_marker(monkeypatch, name):
    """A function that stands for fastcore's metric of this name, and counts its calls."""

    def marker(*args, **kwargs):
        marker.calls += 1
        return 0.25

    marker.calls = 0
    marker.__name__ = name
    monkeypatch.setitem(vars(metrics), name, marker)  # setattr would import fastcore's own first
    return marker


@pytest.fixture
def markers(monkeypatch):
    """name -> marker, for all metrics."""
    return {name: place_marker(monkeypatch, name) for name in NAMES}


def held():
    """(module, attribute) -> what scikit-learn's modules hold, and the functions of their scorers."""
    found = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == "sklearn" and isinstance(module, types.ModuleType):
            found |= {(module_name, name): value for name, value in vars(module).items()}
    scorers = sklearn.metrics._scorer._SCORERS
    return found | {("scorer", name): scorer._score_func for name, scorer in scorers.items()}


def changed(before, after):
    return [place for place in before.keys() | after.keys() if before.get(place) is not after.get(place)]


def test_substituted_names_are_the_metrics_of_both():
    assert {"roc_auc_score", "f1_score", "r2_score", "silhouette_score", "expected_mutual_information"} <= set(NAMES)
    assert not {"entropy", "lift_score", "UndefinedMetricWarning"} & set(NAMES)
    assert len(NAMES) >= 38


def test_patch_sklearn_replaces_every_reference(markers):
    before = held()
    theirs = {getattr(sklearn.metrics, name, None) or getattr(sklearn.metrics.cluster, name) for name in NAMES}
    with patch_sklearn():
        inside = held()
        for name, marker in markers.items():
            holder = sklearn.metrics if hasattr(sklearn.metrics, name) else sklearn.metrics.cluster
            assert getattr(holder, name) is marker
        assert not [
            place for place, value in inside.items() if isinstance(value, types.FunctionType) and value in theirs
        ]
        # Nothing else of scikit-learn holds one either: no partial, default or closure.
        owners = [r for f in theirs for r in gc.get_referrers(f) if "sklearn" in str(getattr(r, "__module__", ""))]
        assert owners == []
    assert len(changed(before, inside)) > 150
    assert changed(before, held()) == []


def test_patch_sklearn_reaches_modules_that_imported_the_name(markers):
    with patch_sklearn():
        assert sklearn.ensemble._forest.r2_score is markers["r2_score"]
        assert sklearn.feature_selection._mutual_info.mutual_info_score is markers["mutual_info_score"]
        assert sklearn.metrics._classification.confusion_matrix is markers["confusion_matrix"]
        assert sklearn.metrics.cluster._supervised.contingency_matrix is markers["contingency_matrix"]
        assert sklearn.metrics._plot.roc_curve.auc is markers["auc"]


def test_patch_sklearn_named_alone_leaves_the_others(markers):
    others = sklearn.metrics.recall_score
    with patch_sklearn("f1_score", "f1_score"):
        assert sklearn.metrics.f1_score is markers["f1_score"]
        assert sklearn.metrics.recall_score is others
    assert sklearn.metrics.f1_score is not markers["f1_score"]


def test_patch_sklearn_serves_scorers_and_score_methods(markers):
    X, y = load_iris(return_X_y=True)
    model = sklearn.linear_model.LogisticRegression(max_iter=500).fit(X, y)
    with patch_sklearn():
        assert sklearn.metrics.get_scorer("f1_macro")(model, X, y) == 0.25
        assert sklearn.metrics.get_scorer("neg_log_loss")(model, X, y) == -0.25
        assert model.score(X, y) == 0.25
    assert [markers[name].calls for name in ("f1_score", "log_loss", "accuracy_score", "recall_score")] == [1, 1, 1, 0]
    assert model.score(X, y) > 0.9
    assert sklearn.metrics.get_scorer("f1_macro")(model, X, y) > 0.9


def test_patch_sklearn_nested_restores_with_the_last(markers):
    before = held()
    with patch_sklearn("f1_score"):
        with patch_sklearn():
            pass
        assert sklearn.metrics.f1_score is markers["f1_score"]
        assert sklearn.metrics.recall_score is not markers["recall_score"]
    assert changed(before, held()) == []


def test_patch_sklearn_same_context_twice_is_one(markers):
    before = held()
    context = patch_sklearn()
    with context, context:
        with context:
            pass
        assert sklearn.metrics.f1_score is markers["f1_score"]
    assert changed(before, held()) == []


def test_patch_sklearn_left_out_of_order_restores(markers):
    before = held()
    first, second = patch_sklearn("f1_score", "auc"), patch_sklearn("f1_score", "r2_score")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sklearn.metrics.f1_score is markers["f1_score"]
    assert sklearn.metrics.auc is not markers["auc"]
    second.__exit__(None, None, None)
    assert changed(before, held()) == []


def test_patch_sklearn_after_an_exception_restores(markers):
    before = held()
    with pytest.raises(ZeroDivisionError), patch_sklearn():
        raise ZeroDivisionError
    assert changed(before, held()) == []


def test_patch_sklearn_metric_that_does_not_load_changes_nothing(markers, monkeypatch):
    before = held()
    monkeypatch.delitem(vars(metrics), "v_measure_score")
    monkeypatch.setitem(metrics._MODULE_OF, "v_measure_score", "fastcore.metrics.no_such_module")
    with pytest.raises(ModuleNotFoundError), patch_sklearn():
        pass
    assert changed(before, held()) == []


def test_patch_sklearn_by_many_threads_restores(markers):
    before = held()
    wrong = []

    def work(name):
        for _ in range(20):
            with patch_sklearn(name, "f1_score"):
                if getattr(sklearn.metrics, name) is not markers[name]:
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("auc", "r2_score", "auc", "max_error")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert changed(before, held()) == []


def test_patch_sklearn_module_imported_meanwhile_gets_theirs(markers, monkeypatch):
    theirs = sklearn.metrics.f1_score
    module = types.ModuleType("sklearn.imported_meanwhile")
    with patch_sklearn():
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec("from sklearn.metrics import f1_score as f1, make_scorer\nscorers = {'f1': make_scorer(f1)}", vars(module))
        assert module.f1 is markers["f1_score"]
    assert module.f1 is theirs
    assert module.scorers["f1"]._score_func is theirs


def test_patch_sklearn_leaves_what_others_changed_meanwhile(markers, monkeypatch):
    theirs = sklearn.metrics.f1_score

    def mine(y_true, y_pred): ...

    with patch_sklearn():
        sklearn.metrics.f1_score = mine
    assert sklearn.metrics.f1_score is mine
    assert sklearn.metrics._classification.f1_score is theirs
    sklearn.metrics.f1_score = theirs


def test_patch_sklearn_after_another_library_restores_both(markers, monkeypatch):
    """sklearnex puts its own into sklearn.metrics, and leaves the module of the definition alone."""

    def other(y_true, y_score): ...

    inner = sklearn.metrics._ranking.roc_auc_score
    monkeypatch.setattr(sklearn.metrics, "roc_auc_score", other)
    before = held()
    with patch_sklearn("roc_auc_score"):
        assert sklearn.metrics.roc_auc_score is markers["roc_auc_score"]
        assert sklearn.metrics._ranking.roc_auc_score is markers["roc_auc_score"]
        assert sklearn.metrics._scorer.roc_auc_score is markers["roc_auc_score"]
    assert changed(before, held()) == []
    assert sklearn.metrics._ranking.roc_auc_score is inner


def test_patch_sklearn_decorates_functions(markers):
    @patch_sklearn("f1_score")
    def score(*args, depth=0):
        """Of its own."""
        return score(*args, depth=depth - 1) if depth else sklearn.metrics.f1_score(*args)

    assert score([1], [1], depth=2) == 0.25
    assert score.__doc__ == "Of its own."
    assert sklearn.metrics.f1_score([1], [1]) == 1.0


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("f1", ValueError, r"name must be one of substituted_names\(\). Got 'f1'"),
        ("f1_scores", ValueError, "Did you mean 'f1_score'"),
        ("lift_score", ValueError, "name must be one of"),
        (3, TypeError, "name must be a string. Got int"),
        (lambda: None, TypeError, r"parentheses: @patch_sklearn\(\)"),
    ],
)
def test_patch_sklearn_unknown_name_raises(name, error, message):
    with pytest.raises(error, match=message):
        patch_sklearn(name)


def test_integration_without_scikit_learn_raises(monkeypatch):
    monkeypatch.delitem(sys.modules, "fastcore.integrations.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'scikit-learn>=1\.9'"):
        importlib.import_module("fastcore.integrations.sklearn")
