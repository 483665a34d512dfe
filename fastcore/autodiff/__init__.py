"""Derivatives of functions of arrays, element by element: traced, differentiated in reverse mode, compiled with SIMD.

Public names load on first use (PEP 562): whoever needs one function does not pay for the import of all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one table of public names: the module each is found in.
_MODULE_OF = {
    name: f"fastcore.autodiff.{module}"
    for module, names in {
        "expression_graph": ("Graph", "GraphNode", "graph"),
        "gradient": ("grad", "hessian", "jvp", "value_and_grad"),
    }.items()
    for name in names
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = ["Graph", "GraphNode", "grad", "graph", "hessian", "jvp", "value_and_grad"]

if TYPE_CHECKING:
    from fastcore.autodiff.expression_graph import Graph, GraphNode, graph
    from fastcore.autodiff.gradient import grad, hessian, jvp, value_and_grad
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        module_name = _MODULE_OF.get(name)
        if module_name is None:
            raise AttributeError(f"module 'fastcore.autodiff' has no attribute {name!r}")
        value = getattr(import_module(module_name), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
