"""Plain NumPy twins of the public functions: the same names, arguments and numbers, nothing clever.

They are what the tests judge against and what a reader looks at first. NumPy is their only import; they form whole
matrices, of L x S weights or N x N distances, and check nothing.
"""

from fastcore.reference.activation import gelu, gelu_backward, silu, silu_backward, swiglu, swiglu_backward
from fastcore.reference.attention import (
    attention_weights,
    merge_attention_states,
    scaled_dot_product_attention,
)
from fastcore.reference.attention_backward import scaled_dot_product_attention_backward
from fastcore.reference.attention_varlen import (
    scaled_dot_product_attention_varlen,
    scaled_dot_product_attention_varlen_backward,
)
from fastcore.reference.autodiff import grad, hessian, jvp, value_and_grad
from fastcore.reference.batch_normalization import (
    batch_norm,
    batch_norm_backward,
    fold_batch_norm,
    group_norm,
    group_norm_backward,
)
from fastcore.reference.linear_attention import linear_attention, linear_attention_backward
from fastcore.reference.metrics_classification import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    fbeta_score,
    lift_curve,
    lift_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from fastcore.reference.metrics_clustering import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    contingency_matrix,
    entropy,
    expected_mutual_information,
    fowlkes_mallows_score,
    homogeneity_completeness_v_measure,
    mutual_info_score,
    normalized_mutual_info_score,
    pair_confusion_matrix,
    rand_score,
)
from fastcore.reference.metrics_ranking import (
    auc,
    average_precision_score,
    brier_score_loss,
    log_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from fastcore.reference.metrics_regression import (
    explained_variance_score,
    max_error,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_percentage_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
    regression_report,
    root_mean_squared_error,
)
from fastcore.reference.metrics_resampling import (
    bootstrap,
)
from fastcore.reference.metrics_silhouette import (
    silhouette_samples,
    silhouette_score,
)
from fastcore.reference.metrics_uplift import (
    average_treatment_effect,
    qini_auc_score,
    qini_curve,
    uplift,
    uplift_at_k,
    uplift_auc_score,
    uplift_by_percentile,
    uplift_curve,
)
from fastcore.reference.multi_head import multi_head_attention
from fastcore.reference.normalization import (
    add_layer_norm,
    add_layer_norm_backward,
    layer_norm,
    layer_norm_backward,
    rms_norm,
    rms_norm_backward,
)
from fastcore.reference.optimizer import adam_step, adamw_step, sgd_step
from fastcore.reference.penalties import elastic_net_penalty, l1_penalty, l2_penalty
from fastcore.reference.philox import dropout_mask, philox4x32
from fastcore.reference.polynomial_evaluation import polyder, polyval, polyval_and_derivative
from fastcore.reference.polynomial_fit import fit
from fastcore.reference.polynomial_inverse import inverse
from fastcore.reference.polynomial_real import real_roots
from fastcore.reference.polynomial_roots import roots
from fastcore.reference.polynomial_solve import solve
from fastcore.reference.probability import log_softmax, log_softmax_backward, softmax, softmax_backward
from fastcore.reference.proximal import prox_elastic_net, prox_group_lasso, prox_l2, soft_threshold
from fastcore.reference.quantization import dequantize, quantize
from fastcore.reference.regularization import dropout, dropout_backward
from fastcore.reference.rotary import rotary_embedding
from fastcore.reference.sharding_block import (
    block_weights,
    cross_entropy,
    language_model,
    parallel_attention,
    parallel_mlp,
    transformer_block,
)
from fastcore.reference.sharding_collectives import (
    all_gather,
    all_to_all,
    pmax,
    pmean,
    pmin,
    ppermute,
    psum,
    psum_scatter,
)
from fastcore.reference.sharding_cost import collective_bytes, collective_messages, collective_seconds
from fastcore.reference.sharding_experts import mixture_of_experts, mixture_of_experts_backward
from fastcore.reference.sharding_linear import linear, linear_backward
from fastcore.reference.sharding_pipeline import pipeline

__all__ = [
    "accuracy_score",
    "adam_step",
    "adamw_step",
    "add_layer_norm",
    "add_layer_norm_backward",
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "all_gather",
    "all_to_all",
    "attention_weights",
    "auc",
    "average_precision_score",
    "average_treatment_effect",
    "batch_norm",
    "batch_norm_backward",
    "block_weights",
    "bootstrap",
    "brier_score_loss",
    "collective_bytes",
    "collective_messages",
    "collective_seconds",
    "confusion_matrix",
    "contingency_matrix",
    "cross_entropy",
    "dequantize",
    "dropout",
    "dropout_backward",
    "dropout_mask",
    "elastic_net_penalty",
    "entropy",
    "expected_mutual_information",
    "explained_variance_score",
    "f1_score",
    "fbeta_score",
    "fit",
    "fold_batch_norm",
    "fowlkes_mallows_score",
    "gelu",
    "gelu_backward",
    "grad",
    "group_norm",
    "group_norm_backward",
    "hessian",
    "homogeneity_completeness_v_measure",
    "inverse",
    "jvp",
    "l1_penalty",
    "l2_penalty",
    "language_model",
    "layer_norm",
    "layer_norm_backward",
    "lift_curve",
    "lift_score",
    "linear",
    "linear_attention",
    "linear_attention_backward",
    "linear_backward",
    "log_loss",
    "log_softmax",
    "log_softmax_backward",
    "max_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_percentage_error",
    "mean_squared_error",
    "median_absolute_error",
    "merge_attention_states",
    "mixture_of_experts",
    "mixture_of_experts_backward",
    "multi_head_attention",
    "multilabel_confusion_matrix",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "pair_confusion_matrix",
    "parallel_attention",
    "parallel_mlp",
    "philox4x32",
    "pipeline",
    "pmax",
    "pmean",
    "pmin",
    "polyder",
    "polyval",
    "polyval_and_derivative",
    "ppermute",
    "precision_recall_curve",
    "precision_recall_fscore_support",
    "precision_score",
    "prox_elastic_net",
    "prox_group_lasso",
    "prox_l2",
    "psum",
    "psum_scatter",
    "qini_auc_score",
    "qini_curve",
    "quantize",
    "r2_score",
    "rand_score",
    "real_roots",
    "recall_score",
    "regression_report",
    "rms_norm",
    "rms_norm_backward",
    "roc_auc_score",
    "roc_curve",
    "root_mean_squared_error",
    "roots",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "scaled_dot_product_attention_varlen",
    "scaled_dot_product_attention_varlen_backward",
    "sgd_step",
    "silhouette_samples",
    "silhouette_score",
    "silu",
    "silu_backward",
    "soft_threshold",
    "softmax",
    "softmax_backward",
    "solve",
    "swiglu",
    "swiglu_backward",
    "transformer_block",
    "uplift",
    "uplift_at_k",
    "uplift_auc_score",
    "uplift_by_percentile",
    "uplift_curve",
    "value_and_grad",
]
