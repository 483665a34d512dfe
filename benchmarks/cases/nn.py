"""The cases of `fastcore.nn`: normalisation, activations, dropout, a step of an optimiser."""

from benchmarks.cases import nn_activation, nn_normalization, nn_task, nn_training
from benchmarks.registry import Case
from fastcore import nn

PARTS = (nn_normalization, nn_activation)


def cases() -> list[Case]:
    """Of the functions that this fastcore has."""
    found = [nn_task.case(part.TASKS[each.function], each) for part in PARTS for each in part.problems()]
    return [case for case in found + nn_training.cases() if case.name.split("/")[1] in nn.__all__]
