"""One program on simulated devices, on MPI, or dry: meshes, collectives, layers, pipelines and what they cost.

Public names load on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one table of public names: the module each is found in.
_MODULE_OF = {
    name: f"fastcore.sharding.{module}"
    for module, names in {
        "spec": ("P",),
        "link": ("Link", "fit_link"),
        "mesh": ("Mesh",),
        "array": ("ShardedArray",),
        "collectives": (
            "all_gather",
            "all_to_all",
            "pmax",
            "pmean",
            "pmin",
            "ppermute",
            "psum",
            "psum_scatter",
            "transfer",
        ),
        "cost": ("collective_bytes", "collective_messages", "collective_seconds"),
        "device": ("device_function", "device_kernel"),
        "linear": (
            "ColumnParallel",
            "RowParallel",
            "column_parallel",
            "column_parallel_backward",
            "row_parallel",
            "row_parallel_backward",
        ),
        "pipelining": ("PipelineResult", "pipeline"),
        "report": ("Report",),
        "schedule": (
            "Action",
            "Timeline",
            "pipeline_bubble",
            "pipeline_in_flight",
            "pipeline_schedule",
            "simulate_schedule",
        ),
        "optimizer": ("ZeroOptimizer",),
        "optimizer_rules": ("Adam", "AdamW", "SGD"),
        "block": ("LayerNorm", "ParallelMLP", "TransformerBlock"),
        "layer": ("Layer", "Recomputed", "Sequential"),
        "parallel_attention": ("ParallelAttention",),
        "experts": ("MixtureOfExperts",),
        "routing": ("Routing", "combine_tokens", "dispatch_tokens", "route_tokens"),
        "ring": ("RingSaved", "ring_attention", "ring_attention_backward"),
        "token_layout": ("unzigzag", "zigzag"),
        "ulysses": ("UlyssesSaved", "ulysses_attention", "ulysses_attention_backward"),
        "data_parallel": ("data_parallel",),
        "loss": ("cross_entropy", "mean_squared_error"),
        "vocabulary": ("VocabularyEmbedding",),
    }.items()
    for name in names
}

# Repeated for type checkers, which read only literals; a test holds this list, the table and the imports together.
__all__ = [
    "SGD",
    "Action",
    "Adam",
    "AdamW",
    "ColumnParallel",
    "Layer",
    "LayerNorm",
    "Link",
    "Mesh",
    "MixtureOfExperts",
    "P",
    "ParallelAttention",
    "ParallelMLP",
    "PipelineResult",
    "Recomputed",
    "Report",
    "RingSaved",
    "Routing",
    "RowParallel",
    "Sequential",
    "ShardedArray",
    "Timeline",
    "TransformerBlock",
    "UlyssesSaved",
    "VocabularyEmbedding",
    "ZeroOptimizer",
    "all_gather",
    "all_to_all",
    "collective_bytes",
    "collective_messages",
    "collective_seconds",
    "column_parallel",
    "column_parallel_backward",
    "combine_tokens",
    "cross_entropy",
    "data_parallel",
    "device_function",
    "device_kernel",
    "dispatch_tokens",
    "fit_link",
    "mean_squared_error",
    "pipeline",
    "pipeline_bubble",
    "pipeline_in_flight",
    "pipeline_schedule",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "psum",
    "psum_scatter",
    "ring_attention",
    "ring_attention_backward",
    "route_tokens",
    "row_parallel",
    "row_parallel_backward",
    "simulate_schedule",
    "transfer",
    "ulysses_attention",
    "ulysses_attention_backward",
    "unzigzag",
    "zigzag",
]

if TYPE_CHECKING:
    from fastcore.sharding.array import ShardedArray
    from fastcore.sharding.block import LayerNorm, ParallelMLP, TransformerBlock
    from fastcore.sharding.collectives import (
        all_gather,
        all_to_all,
        pmax,
        pmean,
        pmin,
        ppermute,
        psum,
        psum_scatter,
        transfer,
    )
    from fastcore.sharding.cost import collective_bytes, collective_messages, collective_seconds
    from fastcore.sharding.data_parallel import data_parallel
    from fastcore.sharding.device import device_function, device_kernel
    from fastcore.sharding.experts import MixtureOfExperts
    from fastcore.sharding.layer import Layer, Recomputed, Sequential
    from fastcore.sharding.linear import (
        ColumnParallel,
        RowParallel,
        column_parallel,
        column_parallel_backward,
        row_parallel,
        row_parallel_backward,
    )
    from fastcore.sharding.link import Link, fit_link
    from fastcore.sharding.loss import cross_entropy, mean_squared_error
    from fastcore.sharding.mesh import Mesh
    from fastcore.sharding.optimizer import ZeroOptimizer
    from fastcore.sharding.optimizer_rules import SGD, Adam, AdamW
    from fastcore.sharding.parallel_attention import ParallelAttention
    from fastcore.sharding.pipelining import PipelineResult, pipeline
    from fastcore.sharding.report import Report
    from fastcore.sharding.ring import RingSaved, ring_attention, ring_attention_backward
    from fastcore.sharding.routing import Routing, combine_tokens, dispatch_tokens, route_tokens
    from fastcore.sharding.schedule import (
        Action,
        Timeline,
        pipeline_bubble,
        pipeline_in_flight,
        pipeline_schedule,
        simulate_schedule,
    )
    from fastcore.sharding.spec import P
    from fastcore.sharding.token_layout import unzigzag, zigzag
    from fastcore.sharding.ulysses import UlyssesSaved, ulysses_attention, ulysses_attention_backward
    from fastcore.sharding.vocabulary import VocabularyEmbedding
else:  # hidden from type checkers, which would otherwise take any misspelt name for a lazy one

    def __getattr__(name):
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'fastcore.sharding' has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value  # the next look-up does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
