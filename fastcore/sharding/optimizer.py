"""Optimiser steps whose state, gradients and parameters are divided over devices: ZeRO."""

from __future__ import annotations

from collections.abc import Mapping

from fastcore._core import validate_sharding_optimizer as check
from fastcore._core.validate import not_negative_float
from fastcore.sharding.array import ShardedArray
from fastcore.sharding.collectives import accumulator_dtype
from fastcore.sharding.kernels.parts import add, cast
from fastcore.sharding.optimizer_rules import Rule
from fastcore.sharding.parts import Parts

__all__ = ["ZeroOptimizer"]


class ZeroOptimizer:
    """An optimiser for data parallelism, in which no two devices along an axis keep the same.

    Parameters
    ----------
    params : mapping, name → ShardedArray of floats, such as ``layer.params``, the same on all devices along `axis`;
        names of several layers must differ. Stages 1 and 2 change them in place. Stage 3 keeps a part of each, and the
        memory of the whole is free once the caller drops it. Arrays of several meshes, such as the stages of a
        pipeline, may be mixed. A parameter that is split along `axis` already, as experts are, is updated where it is.
    rule : Adam, AdamW or SGD
    stage : 1: the state is divided over the devices. 2: gradients, too. 3: parameters, too.
    axis : mesh axis, or several, over which batches are split

    Attributes
    ----------
    steps : int, made so far
    state : dict, name of parameter → name of state ("exp_avg", …) → its parts, (length of the row,) ShardedArray

    Raises
    ------
    ValueError : stage is not 1, 2, 3; an axis is not of the mesh
    TypeError : params are no sharded arrays of floats, rule is none

    Notes
    -----
    Source: Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models", section 5.
    With Ψ elements in blocks of p bytes, K bytes of state an element and n devices along the axis, each device holds
    (2p + K/n) Ψ, (p + (p + K)/n) Ψ and (2p + K)Ψ/n bytes, and sends 2, 2 and 3 times (n − 1)/n pΨ a step: gradients
    are scattered as sums, parameters gathered, in stage 3 once for the forward and once for the backward pass. K is 8
    for float32 and Adam, 4 for SGD with momentum, 0 without. Parameters of 16 bits have float32 states and a float32
    copy, K is 12, 8 and 4; the copy takes the parameter's place in stage 3, (p + K)Ψ/n. While a parameter is on its
    way, that one's blocks come on top.

    Rows are padded to n equal parts with zeros, so that sizes need not divide. An element is computed by one device
    in the order of the unsharded step, so stages give the same bits; numbers of devices differ by the order in which
    gradients are added.

    Examples
    --------
    >>> zero = ZeroOptimizer(layer.params, AdamW(lr=1e-3), stage=3, axis="dp")
    >>> layer.params = zero.gather()
    >>> y, saved = layer.forward(x)
    >>> grad_x, grads = layer.backward(saved, grad_y)
    >>> zero.accumulate(grads)
    >>> zero.step()
    """

    def __init__(
        self, params: Mapping[str, ShardedArray], rule: Rule, *, stage: int = 1, axis: str | tuple[str, ...] = "dp"
    ) -> None:
        self._stage = check.stage(stage)
        params = check.parameters(params, axis)
        check.update_rule(rule, Rule)
        self._rule = rule
        self._axis = axis if isinstance(axis, tuple) else (axis,)
        self.steps = 0
        self.state: dict[str, dict[str, ShardedArray]] = {}
        self._parts: dict[str, Parts] = {}
        self._gradients: dict[str, ShardedArray] = {}
        self._whole: dict[str, ShardedArray] = params if self._stage < 3 else {}
        self._masters: dict[str, ShardedArray] = {}
        for name, param in params.items():
            parts = self._parts[name] = Parts(param, self._axis)
            dtype = accumulator_dtype(param.dtype)
            self.state[name] = {each: parts.zeros(dtype) for each in rule.states}
            if self._stage == 3 or param.dtype != dtype:
                self._masters[name] = parts.take(param, dtype)

    def __repr__(self) -> str:
        axis = ", ".join(self._axis)
        return f"ZeroOptimizer({len(self._parts)} parameters, {self._rule}, stage={self._stage}, axis={axis})"

    def gather(self, *names: str) -> dict[str, ShardedArray]:
        """Whole parameters: in stage 3 gathered from all devices, in stages 1 and 2 those that were given.

        Parameters
        ----------
        *names : of parameters; none: all of them. In stage 3, ask for those of a layer when it is their turn.

        Raises
        ------
        ValueError : no parameter has this name
        """
        check.known_parameters(names, self._parts)
        return {name: self._gathered(name) for name in names or self._parts}

    def _gathered(self, name: str) -> ShardedArray:
        return self._whole[name] if self._stage < 3 else self._parts[name].gather(self._masters[name])

    def accumulate(self, grads: Mapping[str, ShardedArray]) -> None:
        """Take in gradients: each device's own ones, of its part of the batch, not averaged.

        Stages 2 and 3 add them up over the devices now, and each keeps its part, so call this as soon as a layer's
        backward is done, and drop the whole ones. Stage 1 keeps them as they are until the step. Gradients that come
        again, of the next micro-batch, are added to those before.

        Raises
        ------
        ValueError : names of no parameter, other shapes than the parameter's
        TypeError : gradients are no sharded arrays of floats
        """
        for name, gradient in check.gradients(grads, self._parts).items():
            if self._stage > 1:
                gradient = self._parts[name].scatter(gradient)
            earlier = self._gradients.pop(name, None)
            if earlier is not None:
                total = gradient.empty_like()
                add(earlier, gradient, total)
                gradient = total
            self._gradients[name] = gradient

    def step(self, *, scale: float | None = None) -> None:
        """Change the parameters, and forget the gradients.

        Parameters
        ----------
        scale : float, not negative; gradients, added up over the devices and over calls of `accumulate`, are multiplied
            by it. Default 1 / number of devices along the axis: the mean, for losses that are means over a device's
            equally many rows. For m micro-batches pass 1 / (m × devices); for losses that are sums, 1 / rows in all.

        Raises
        ------
        ValueError : a parameter has no gradient
        """
        check.all_gradients(self._gradients, self._parts)
        factor = None if scale is None else not_negative_float(scale, "scale")
        self.steps += 1
        for name, parts in self._parts.items():
            gradient = self._gradients.pop(name)
            if self._stage == 1:
                gradient = parts.scatter(gradient)
            self._update(name, gradient, 1.0 / parts.mesh.axis_size(self._axis) if factor is None else factor)

    def _update(self, name: str, gradient: ShardedArray, factor: float) -> None:
        parts, state = self._parts[name], self.state[name]
        if name in self._masters:
            master = self._masters[name]
        else:
            master = parts.take(self._whole[name], self._whole[name].dtype)
        if gradient.dtype != master.dtype:
            exact = parts.zeros(master.dtype)
            cast(gradient, exact)
            gradient = exact
        self._rule.update(self.steps, factor, master, gradient, state)
        if name in self._whole:
            parts.put(master, self._whole[name])
