"""Plain NumPy twins of the public functions: the same names, arguments and numbers, nothing clever.

They are what the tests judge against and what a reader looks at first. NumPy is their only import; they form whole
L x S matrices and check nothing.
"""

from fastcore.reference.activation import gelu, silu, swiglu
from fastcore.reference.attention import (
    attention_weights,
    merge_attention_states,
    scaled_dot_product_attention,
)
from fastcore.reference.multi_head import multi_head_attention
from fastcore.reference.normalization import add_layer_norm, layer_norm, rms_norm
from fastcore.reference.philox import dropout_mask, philox4x32
from fastcore.reference.quantization import dequantize, quantize
from fastcore.reference.rotary import rotary_embedding

__all__ = [
    "add_layer_norm",
    "attention_weights",
    "dequantize",
    "dropout_mask",
    "gelu",
    "layer_norm",
    "merge_attention_states",
    "multi_head_attention",
    "philox4x32",
    "quantize",
    "rms_norm",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "silu",
    "swiglu",
]
