"""Native-speed CPU kernels written in Python, compiled by Numba.

Importing costs next to nothing: public names load on first use (PEP 562), and Numba with them.

The distribution is called ``fastcore-kernels``; the ``fastcore`` of PyPI is another project that installs into the same
folder, so the two cannot share an environment.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The one table of public names: where each is found. A name whose module is itself is a submodule.
_MODULE_OF = {
    "CacheFullError": "fastcore.kvcache",
    "KVCache": "fastcore.kvcache",
    "MultiHeadAttention": "fastcore.attention",
    "PagedKVCache": "fastcore.kvcache",
    "attention": "fastcore.attention",
    "autodiff": "fastcore.autodiff",
    "get_num_threads": "fastcore._core.threads",
    "kvcache": "fastcore.kvcache",
    "linear_attention": "fastcore.attention",
    "linear_attention_backward": "fastcore.attention",
    "merge_attention_states": "fastcore.attention",
    "metrics": "fastcore.metrics",
    "nn": "fastcore.nn",
    "num_threads": "fastcore._core.threads",
    "polynomial": "fastcore.polynomial",
    "reference": "fastcore.reference",
    "rotary_embedding": "fastcore.kvcache",
    "scaled_dot_product_attention": "fastcore.attention",
    "scaled_dot_product_attention_backward": "fastcore.attention",
    "scaled_dot_product_attention_varlen": "fastcore.attention",
    "scaled_dot_product_attention_varlen_backward": "fastcore.attention",
    "set_num_threads": "fastcore._core.threads",
    "sharding": "fastcore.sharding",
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = [
    "CacheFullError",
    "KVCache",
    "MultiHeadAttention",
    "PagedKVCache",
    "attention",
    "autodiff",
    "get_num_threads",
    "kvcache",
    "linear_attention",
    "linear_attention_backward",
    "merge_attention_states",
    "metrics",
    "nn",
    "num_threads",
    "polynomial",
    "reference",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_backward",
    "scaled_dot_product_attention_varlen",
    "scaled_dot_product_attention_varlen_backward",
    "set_num_threads",
    "sharding",
]

if TYPE_CHECKING:
    from fastcore import attention, autodiff, kvcache, metrics, nn, polynomial, reference, sharding
    from fastcore._core.threads import get_num_threads, num_threads, set_num_threads
    from fastcore.attention import (
        MultiHeadAttention,
        linear_attention,
        linear_attention_backward,
        merge_attention_states,
        scaled_dot_product_attention,
        scaled_dot_product_attention_backward,
        scaled_dot_product_attention_varlen,
        scaled_dot_product_attention_varlen_backward,
    )
    from fastcore.kvcache import CacheFullError, KVCache, PagedKVCache, rotary_embedding
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        module_name = _MODULE_OF.get(name)
        if module_name is None:
            raise AttributeError(f"module 'fastcore' has no attribute {name!r}")
        module = import_module(module_name)
        value = module if module_name == f"fastcore.{name}" else getattr(module, name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def _find_namesake(path: list[str]) -> str | None:
    """Metadata folder of an installed distribution named `fastcore`, or None.

    Lists the folders of `path` instead of asking importlib.metadata, which costs several ms to import.
    """
    for folder in path:
        try:
            entries = os.listdir(folder or os.curdir)
        except OSError:  # zip archives and folders that do not exist
            continue
        for entry in entries:
            if entry.startswith("fastcore-") and entry.endswith((".dist-info", ".egg-info")):
                return os.path.join(folder, entry)
    return None


if (_namesake := _find_namesake(sys.path)) is not None:
    raise ImportError(
        "fastcore (from fastcore-kernels) cannot share an environment with the unrelated distribution named fastcore:"
        f" both install into one folder `fastcore`. Found {_namesake}. Keep one of them: `pip uninstall -y fastcore"
        " fastcore-kernels`, then `pip install fastcore-kernels`."
    )
