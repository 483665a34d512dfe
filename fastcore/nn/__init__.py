"""Normalisation, activations, regularisation and optimiser steps, with PyTorch's functional signatures.

Public names load on first use (PEP 562): whoever needs one function does not pay for the import of all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one table of public names: the module each is found in.
_MODULE_OF = {
    name: f"fastcore.nn.{module}"
    for module, names in {
        "activation": ("gelu", "gelu_backward", "silu", "silu_backward", "swiglu", "swiglu_backward"),
        "batch_normalization": ("batch_norm", "batch_norm_backward", "fold_batch_norm"),
        "group_normalization": ("group_norm", "group_norm_backward"),
        "normalization": ("add_layer_norm", "layer_norm", "rms_norm"),
        "normalization_backward": ("add_layer_norm_backward", "layer_norm_backward", "rms_norm_backward"),
        "optimizer": ("adam_step", "adamw_step", "sgd_step"),
        "penalties": ("elastic_net_penalty", "l1_penalty", "l2_penalty"),
        "proximal": ("prox_elastic_net", "prox_group_lasso", "prox_l2", "soft_threshold"),
        "probability": ("log_softmax", "log_softmax_backward", "softmax", "softmax_backward"),
        "regularization": ("dropout", "dropout_backward"),
    }.items()
    for name in names
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = [
    "adam_step",
    "adamw_step",
    "add_layer_norm",
    "add_layer_norm_backward",
    "batch_norm",
    "batch_norm_backward",
    "dropout",
    "dropout_backward",
    "elastic_net_penalty",
    "fold_batch_norm",
    "gelu",
    "gelu_backward",
    "group_norm",
    "group_norm_backward",
    "l1_penalty",
    "l2_penalty",
    "layer_norm",
    "layer_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "prox_elastic_net",
    "prox_group_lasso",
    "prox_l2",
    "rms_norm",
    "rms_norm_backward",
    "sgd_step",
    "silu",
    "silu_backward",
    "soft_threshold",
    "softmax",
    "softmax_backward",
    "swiglu",
    "swiglu_backward",
]

if TYPE_CHECKING:
    from fastcore.nn.activation import gelu, gelu_backward, silu, silu_backward, swiglu, swiglu_backward
    from fastcore.nn.batch_normalization import batch_norm, batch_norm_backward, fold_batch_norm
    from fastcore.nn.group_normalization import group_norm, group_norm_backward
    from fastcore.nn.normalization import add_layer_norm, layer_norm, rms_norm
    from fastcore.nn.normalization_backward import add_layer_norm_backward, layer_norm_backward, rms_norm_backward
    from fastcore.nn.optimizer import adam_step, adamw_step, sgd_step
    from fastcore.nn.penalties import elastic_net_penalty, l1_penalty, l2_penalty
    from fastcore.nn.probability import log_softmax, log_softmax_backward, softmax, softmax_backward
    from fastcore.nn.proximal import prox_elastic_net, prox_group_lasso, prox_l2, soft_threshold
    from fastcore.nn.regularization import dropout, dropout_backward
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        module_name = _MODULE_OF.get(name)
        if module_name is None:
            raise AttributeError(f"module 'fastcore.nn' has no attribute {name!r}")
        value = getattr(import_module(module_name), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
