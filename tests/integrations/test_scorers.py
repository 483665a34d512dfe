"""Scorers with fastcore's metrics in scikit-learn's cross-validation and searches."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import get_scorer as get_theirs
from sklearn.metrics import make_scorer, silhouette_score
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from fastcore import metrics
from fastcore.integrations.sklearn import get_scorer, get_scorer_names, patch_sklearn

OWN = {"lift", "mean_percentage_error", "neg_absolute_mean_percentage_error", "silhouette", "uplift_auc", "qini_auc"}
BOTH = [name for name in get_scorer_names() if name not in OWN]
METRIC = {name: get_theirs(name)._score_func.__name__ for name in BOTH}
CLUSTERING = [name for name in BOTH if hasattr(sklearn.metrics.cluster, METRIC[name])]
REGRESSION = [name for name in BOTH if hasattr(sklearn.metrics._regression, METRIC[name])]
OF_CLASSES = [name for name in BOTH if name not in CLUSTERING and name not in REGRESSION]
BINARY = [name for name in OF_CLASSES if not name.endswith("_samples") and "_ov" not in name]
MANY_CLASSES = [
    name for name in OF_CLASSES if name.endswith(("_macro", "_micro", "_weighted", "loss")) or "_ov" in name
]


def test_get_scorer_names_are_scikit_learns_and_ours():
    names = set(get_scorer_names())
    assert names >= OWN
    assert names - OWN <= set(sklearn.metrics.get_scorer_names())
    assert len(names - OWN) >= 41
    assert {"roc_auc_ovr_weighted", "f1_samples", "neg_root_mean_squared_error", "v_measure_score"} <= names


def test_get_scorer_names_in_a_patched_scikit_learn_are_the_same():
    names = get_scorer_names()
    with patch_sklearn():
        assert get_scorer_names() == names
        assert get_scorer("f1_macro")._score_func is metrics.f1_score


@pytest.mark.parametrize("name", BOTH)
def test_get_scorer_computes_with_ours_as_scikit_learns_does(name):
    ours, theirs = get_scorer(name), get_theirs(name)
    function = theirs._score_func.__name__
    assert ours._score_func is getattr(metrics, function)
    assert repr(ours) == repr(theirs)
    assert get_theirs(name)._score_func is theirs._score_func


def assert_scores_agree(model, X, y, names):
    scores = {
        who: cross_validate(model, X, y, scoring={name: get(name) for name in names}, cv=3, error_score="raise")
        for who, get in (("ours", get_scorer), ("theirs", get_theirs))
    }
    for name in names:
        key = f"test_{name}"
        np.testing.assert_allclose(scores["ours"][key], scores["theirs"][key], rtol=1e-12, atol=1e-15, err_msg=name)


def test_scorers_of_two_classes_agree():
    X, y = load_breast_cancer(return_X_y=True)
    assert_scores_agree(GaussianNB(), X, y, BINARY)


def test_scorers_of_two_strings_agree():
    X, y = load_breast_cancer(return_X_y=True)
    pos_label = {"f1", "precision", "recall", "average_precision", "neg_brier_score"}  # is needed by these
    names = [name for name in BINARY if name not in pos_label]
    assert_scores_agree(GaussianNB(), X, np.array(["bad", "good"])[y], names)


def test_scorers_of_many_classes_agree():
    X, y = load_iris(return_X_y=True)
    assert_scores_agree(GaussianNB(), X, y, MANY_CLASSES)


def test_scorers_of_label_sets_agree():
    X, y = make_multilabel_classification(n_samples=90, random_state=0, allow_unlabeled=False)
    names = [name for name in OF_CLASSES if name.endswith("_samples") or name == "accuracy"]
    assert_scores_agree(KNeighborsClassifier(3), X, y, names)


def test_scorers_of_regression_agree():
    X, y = load_diabetes(return_X_y=True)
    assert len(REGRESSION) == 8
    assert_scores_agree(Ridge(), X, y, REGRESSION)


def test_scorers_of_clusters_agree():
    X, y = load_iris(return_X_y=True)
    assert len(CLUSTERING) == 9
    assert_scores_agree(KMeans(3, n_init=1, random_state=0), X, y, CLUSTERING)


def test_scorers_with_sample_weight_agree():
    X, y = load_breast_cancer(return_X_y=True)
    model = GaussianNB().fit(X, y)
    weights = np.random.default_rng(0).random(len(y))
    for name in BINARY:
        expected = get_theirs(name)(model, X, y, sample_weight=weights)
        assert get_scorer(name)(model, X, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)


def test_scorers_choose_the_same_model():
    X, y = load_breast_cancer(return_X_y=True)
    grid = {"max_depth": [1, 2, 4]}
    searches = [
        GridSearchCV(DecisionTreeClassifier(random_state=0), grid, scoring=scoring, cv=3).fit(X, y)
        for scoring in (get_scorer("roc_auc"), "roc_auc")
    ]
    assert searches[0].best_params_ == searches[1].best_params_
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(searches[0].cv_results_[key], searches[1].cv_results_[key], rtol=1e-10)


def test_scorers_of_several_metrics_at_once():
    X, y = load_breast_cancer(return_X_y=True)
    scoring = {name: get_scorer(name) for name in ("lift", "roc_auc", "neg_log_loss")}
    search = GridSearchCV(
        DecisionTreeClassifier(random_state=0), {"max_depth": [1, 4]}, scoring=scoring, refit="lift", cv=3
    )
    search.fit(X, y)
    assert search.best_score_ == search.cv_results_["mean_test_lift"].max() > 1


def test_scorers_in_a_patched_scikit_learn_go_by_name():
    X, y = load_breast_cancer(return_X_y=True)
    expected = cross_val_score(GaussianNB(), X, y, scoring="average_precision", cv=3)
    with patch_sklearn():
        patched = cross_val_score(GaussianNB(), X, y, scoring="average_precision", cv=3)
    np.testing.assert_allclose(patched, expected, rtol=1e-12)


def test_lift_scorer_is_precision_over_prevalence():
    X, y = load_breast_cancer(return_X_y=True)
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)
    picked = model.predict(X) == 1
    assert get_scorer("lift")(model, X, y) == pytest.approx(y[picked].mean() / y.mean(), rel=1e-12)


def test_percentage_error_scorers_have_their_signs():
    X, y = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(X, y)
    weights = np.random.default_rng(0).random(len(y))
    expected = metrics.mean_percentage_error(y, model.predict(X))
    assert get_scorer("mean_percentage_error")(model, X, y) == expected
    assert get_scorer("neg_absolute_mean_percentage_error")(model, X, y) == -abs(expected)
    weighted = get_scorer("neg_absolute_mean_percentage_error")(model, X, y, sample_weight=weights)
    assert weighted == -abs(metrics.mean_percentage_error(y, model.predict(X), sample_weight=weights))


def test_silhouette_scorer_finds_the_number_of_clusters(rng):
    X = np.concatenate([rng.normal(center, 0.3, (30, 2)) for center in (-4, 0, 4)])
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    assert get_scorer("silhouette")(model, X) == pytest.approx(silhouette_score(X, model.labels_), rel=1e-10)
    grid = {"n_clusters": [2, 3, 5]}
    search = GridSearchCV(KMeans(n_init=2, random_state=0), grid, scoring=get_scorer("silhouette"), cv=3).fit(
        rng.permutation(X)
    )
    assert search.best_params_ == {"n_clusters": 3}


@pytest.fixture
def treated(rng):
    """X, y and treatment; it helps where the first column is positive."""
    X, treatment = rng.normal(size=(300, 3)), rng.integers(0, 2, 300)
    return X, (rng.random(300) < 0.3 + 0.4 * treatment * (X[:, 0] > 0)).astype(int), treatment


@pytest.mark.parametrize("name, function", [("qini_auc", "qini_auc_score"), ("uplift_auc", "uplift_auc_score")])
def test_uplift_scorers_ask_for_the_treatment(name, function, treated):
    X, y, treatment = treated
    with sklearn.config_context(enable_metadata_routing=True):
        scores = cross_val_score(
            LinearRegression(),
            X,
            y,
            scoring=get_scorer(name),
            cv=[(range(200), range(200, 300))],
            params={"treatment": treatment},
        )
        search = GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}, scoring=get_scorer(name), cv=2).fit(
            X, y, treatment=treatment
        )
    uplift = LinearRegression().fit(X[:200], y[:200]).predict(X[200:])
    assert scores == [getattr(metrics, function)(y[200:], uplift, treatment[200:])]
    assert np.isfinite(search.best_score_)


@pytest.mark.parametrize("name", get_scorer_names())
def test_scorers_are_pickled_and_made_anew(name):
    scorer = get_scorer(name)
    again = pickle.loads(pickle.dumps(scorer))
    assert getattr(again, "_score_func", again) is getattr(scorer, "_score_func", scorer)
    assert name == "silhouette" or get_scorer(name) is not scorer  # a plain function, nothing of it can be set


def test_scorers_with_options_are_made_as_for_any_function():
    X, y = load_breast_cancer(return_X_y=True)
    options = {"response_method": "predict_proba", "max_fpr": 0.1}
    model = GaussianNB().fit(X, y)
    expected = make_scorer(sklearn.metrics.roc_auc_score, **options)(model, X, y)
    assert make_scorer(metrics.roc_auc_score, **options)(model, X, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("auc_roc", ValueError, r"name must be one of get_scorer_names\(\). Got 'auc_roc'"),
        ("roc_auk", ValueError, "Did you mean 'roc_auc'"),
        ("matthews_corrcoef", ValueError, "name must be one of"),
        (None, TypeError, "name must be a string. Got NoneType"),
    ],
)
def test_get_scorer_unknown_name_raises(name, error, message):
    with pytest.raises(error, match=message):
        get_scorer(name)
