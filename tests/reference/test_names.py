"""fastcore.reference has a twin of each public function, under its name."""

from fastcore import metrics, reference

# Parts of homogeneity_completeness_v_measure, of which the twin gives all three; what is no function of data.
WITHOUT_TWIN = {"completeness_score", "homogeneity_score", "v_measure_score", "stream"}


def test_metrics_have_a_twin_of_their_name():
    functions = {name for name in metrics._MODULE_OF if name.islower()}
    assert functions - WITHOUT_TWIN <= set(reference.__all__)


def test_names_are_listed_in_order():
    assert reference.__all__ == sorted(reference.__all__)
    assert all(hasattr(reference, name) for name in reference.__all__)
