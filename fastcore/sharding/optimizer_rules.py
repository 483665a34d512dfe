"""What an optimiser does with a parameter and its gradient: the rules of Adam, AdamW and SGD, named as in PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fastcore._core import validate_optimizer, validate_sharding_optimizer
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.kernels import optimizer as kernels

__all__ = ["SGD", "Adam", "AdamW", "Rule"]


@dataclass(frozen=True)
class Rule(ABC):
    """An update of one parameter, element by element."""

    @property
    @abstractmethod
    def states(self) -> tuple[str, ...]:
        """Names of what is kept between steps, each of the parameter's shape, at first zeros."""

    @abstractmethod
    def update(
        self,
        step: int,
        scale: float,
        parameter: ShardedArray,
        gradient: ShardedArray,
        state: Mapping[str, ShardedArray],
    ) -> None:
        """Step number `step`, from 1, in place; `gradient` counts `scale` times. All are rows of one dtype."""


@dataclass(frozen=True)
class Adam(Rule):
    """Adam (Kingma and Ba 2015, algorithm 1) with weight decay as a part of the gradient.

    Parameters
    ----------
    lr : float, learning rate, not negative
    betas : two floats in [0, 1), decay of the mean and of the mean square of gradients
    eps : float, not negative, added to the root
    weight_decay : float, not negative

    Raises
    ------
    ValueError, TypeError : a value is out of range, or no number

    Notes
    -----
    The numbers of `torch.optim.Adam`.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    _decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate_sharding_optimizer.not_negative(lr=self.lr, eps=self.eps, weight_decay=self.weight_decay)
        validate_optimizer.betas(self.betas)

    @property
    def states(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def update(
        self,
        step: int,
        scale: float,
        parameter: ShardedArray,
        gradient: ShardedArray,
        state: Mapping[str, ShardedArray],
    ) -> None:
        beta1, beta2 = self.betas
        l2, shrink = (0.0, 1.0 - self.lr * self.weight_decay) if self._decoupled else (self.weight_decay, 1.0)
        numbers = (
            *(scale, l2, shrink, beta1, 1.0 - beta1, beta2, 1.0 - beta2),
            *(self.lr / (1.0 - beta1**step), (1.0 - beta2**step) ** -0.5, self.eps),
        )
        kernels.adam(parameter, gradient, *state.values(), *map(parameter.dtype.type, numbers))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2). See `Adam`; `torch.optim.AdamW`."""

    weight_decay: float = 1e-2

    _decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class SGD(Rule):
    """Gradient descent, with momentum if wanted.

    Parameters
    ----------
    lr : float, learning rate, not negative
    momentum : float, not negative; 0: no state is kept
    dampening : float; the gradient enters the momentum times 1 − dampening, but for the first step
    weight_decay : float, not negative, times the parameter is added to the gradient
    nesterov : bool; needs momentum, and no dampening (Sutskever et al. 2013)

    Raises
    ------
    ValueError, TypeError : a value is out of range, or no number

    Notes
    -----
    The numbers of `torch.optim.SGD`.
    """

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        validate_sharding_optimizer.not_negative(lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        validate_optimizer.nesterov(self.nesterov, self.momentum, self.dampening)

    @property
    def states(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def update(
        self,
        step: int,
        scale: float,
        parameter: ShardedArray,
        gradient: ShardedArray,
        state: Mapping[str, ShardedArray],
    ) -> None:
        number = parameter.dtype.type
        if not self.momentum:
            kernels.descent(parameter, gradient, number(scale), number(self.weight_decay), number(self.lr))
            return
        numbers = (scale, self.weight_decay, self.momentum, 1.0 - self.dampening, self.lr)
        kernels.momentum_descent(parameter, gradient, *state.values(), step == 1, self.nesterov, *map(number, numbers))
