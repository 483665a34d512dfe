"""Tests of scikit-learn that fastcore's metrics need not pass, each with the reason. One that passes is a failure."""

# Never run: they ask for arrays of other libraries in the caller's namespace, through scikit-learn's private dispatch.
# Without SCIPY_ARRAY_API=1 all of them skip, after an import of torch and 2,000 set-ups.
DESELECTED = {
    "test_common": (
        "test_array_api_compliance",
        "test_mixed_array_api_namespace_input_compliance",
        "test_array_api_classification_mixed_string_numeric_input",
        "test_array_api_classification_string_input",
    ),
    "test_classification": ("test_confusion_matrix_array_api",),
    "test_cluster_common": ("test_array_api_compliance",),
    "test_supervised": ("test_entropy_array_api",),
}

# Module -> test -> why it looks at scikit-learn's own function and not at what the metric computes.
EXCUSED: dict[str, dict[str, str]] = {
    "test_score_objects": {
        "test_scoring_is_not_metric": "check_scoring knows metrics by a __module__ that begins with 'sklearn.metrics.'",
    },
}
