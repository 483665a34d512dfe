"""Normalisation and activations, with PyTorch's functional signatures."""

from fastcore.nn.activation import gelu, silu, swiglu
from fastcore.nn.normalization import add_layer_norm, layer_norm, rms_norm

__all__ = ["add_layer_norm", "gelu", "layer_norm", "rms_norm", "silu", "swiglu"]
