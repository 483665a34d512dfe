"""Where the devices are: simulated in this process, on the ranks of MPI, or nowhere."""

from collections.abc import Mapping
from typing import Any

from fastcore._core import validate_sharding as check

__all__ = ["make_engine"]


def make_engine(name: str, axes: Mapping[str, int]) -> Any:
    """The engine of this name for a mesh of these axes."""
    check.engine_name(name)
    if name == "mpi":
        from fastcore.sharding.engines.mpi import MpiEngine

        return MpiEngine(axes)
    if name == "dry":
        from fastcore.sharding.engines.dry import DryEngine

        return DryEngine()
    from fastcore.sharding.engines.simulated import SimulatedEngine

    return SimulatedEngine()
