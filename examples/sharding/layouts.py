"""One training step of a transformer on a dry mesh: what each way of laying it out over devices would cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastcore.sharding import (
    AdamW,
    ColumnParallel,
    Layer,
    LayerNorm,
    Link,
    Mesh,
    P,
    Recomputed,
    Report,
    Sequential,
    ShardedArray,
    TransformerBlock,
    VocabularyEmbedding,
    ZeroOptimizer,
    cross_entropy,
    pipeline,
    psum,
)


class Model(NamedTuple):
    """The shape of a decoder-only transformer, and of a batch: `batch` sequences of `length` tokens."""

    layers: int = 32
    embed_dim: int = 4096
    heads: int = 32
    hidden_dim: int = 11008
    vocabulary: int = 32000
    length: int = 2048
    batch: int = 2048


class Plan(NamedTuple):
    """What all layouts share. chunks: stages a device (interleaved). rows: sequences of a device's micro-batch."""

    schedule: str = "1f1b"
    chunks: int = 1
    rows: int = 1
    recompute: bool = False


class Layout(NamedTuple):
    """Devices along each axis: copies of the model, stages of a pipeline, parts of each layer."""

    dp: int
    pp: int
    tp: int

    def __str__(self) -> str:
        return f"{self.dp} × {self.tp} × {self.pp}"

    @property
    def devices(self) -> int:
        return self.dp * self.pp * self.tp


class Outcome(NamedTuple):
    """microbatches: of a step. busy: modelled share of the devices' operations a second that is used, upper time."""

    layout: Layout
    microbatches: int
    report: Report
    busy: float

    @property
    def step_s(self) -> float:
        """The upper time: nothing overlaps."""
        return self.report.time_s[1]


def layouts(devices: int, model: Model, plan: Plan, most_tp: int = 8) -> Iterator[Layout]:
    """All layouts whose axes are powers of two, up to `most_tp` parts of a layer, and that fit model and batch."""
    for tp in (2**i for i in range(most_tp.bit_length())):
        for pp in (2**i for i in range(model.layers.bit_length())):
            dp, rest = divmod(devices, tp * pp)
            if rest or tp > most_tp or model.heads % tp or model.layers % (pp * plan.chunks):
                continue
            microbatches, rest = divmod(model.batch, dp * plan.rows)
            if rest or (plan.chunks > 1 and microbatches % pp):
                continue
            yield Layout(dp, pp, tp)


def num_parameters(model: Model) -> int:
    """Of the whole model, on one device without data."""
    stages = build(model, Mesh({"dp": 1, "pp": 1, "tp": 1}, engine="dry"), Plan())
    return sum(math.prod(param.shape) for stage in stages for param in stage.params.values())


def build(model: Model, mesh: Mesh, plan: Plan) -> list[Sequential]:
    """The model in stages: the embedding before the first block, norm and head behind the last."""
    num_stages = mesh.axes["pp"] * plan.chunks
    stages = []
    for k in range(num_stages):
        part = mesh.at(pp=k % mesh.axes["pp"])
        layers: list[Layer] = []
        if k == 0:
            layers.append(VocabularyEmbedding(part, {"weight": _nothing(model.vocabulary, model.embed_dim)}))
        for _ in range(model.layers // num_stages):
            block = TransformerBlock.create(
                part, embed_dim=model.embed_dim, num_heads=model.heads, hidden_dim=model.hidden_dim
            )
            layers.append(Recomputed(block) if plan.recompute else block)
        if k == num_stages - 1:
            layers.append(LayerNorm(part, {"weight": _nothing(model.embed_dim), "bias": _nothing(model.embed_dim)}))
            layers.append(ColumnParallel(part.zeros((model.embed_dim, model.vocabulary), np.float32, P(None, "tp"))))
        stages.append(Sequential(*layers))
    return stages


def _nothing(*shape: int) -> np.ndarray:
    """An array of this shape that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


def cost(model: Model, layout: Layout, plan: Plan, link: Link, engine: str = "dry") -> tuple[Outcome, Mesh]:
    """Forward, backward and an AdamW step whose state is divided over "dp" (ZeRO, stage 1)."""
    mesh = Mesh({"dp": layout.dp, "pp": layout.pp, "tp": layout.tp}, engine=engine, link=link)
    stages = build(model, mesh, plan)
    params = {f"{k}.{name}": param for k, stage in enumerate(stages) for name, param in stage.params.items()}
    zero = ZeroOptimizer(params, AdamW(lr=1e-4), stage=1, axis="dp")
    microbatches = model.batch // (layout.dp * plan.rows)
    shape = layout.dp * plan.rows, model.length
    tokens = [stages[0].mesh.zeros(shape, np.int32, P("dp")) for _ in range(microbatches)]
    targets = [stages[-1].mesh.zeros(shape, np.int32, P("dp")) for _ in range(microbatches)]

    def loss(logits: ShardedArray, target: ShardedArray) -> tuple[ShardedArray, ShardedArray]:
        return cross_entropy(logits, target, count=model.batch * model.length)

    result = pipeline(stages, tokens, plan.schedule, loss=loss, targets=targets)
    for k, grads in enumerate(result.grads):
        zero.accumulate({f"{k}.{name}": grad for name, grad in grads.items()})
    zero.step(scale=1.0)
    assert result.loss is not None
    psum(result.loss, "dp")
    report = mesh.report()
    busy = report.flops_total / (mesh.size * link.flops_per_s * report.time_s[1])
    return Outcome(layout, microbatches, report, busy), mesh


def best(outcomes: list[Outcome], memory_bytes: float) -> Outcome | None:
    """The least time among those that fit into a device's memory."""
    fitting = [outcome for outcome in outcomes if outcome.report.peak_bytes <= memory_bytes]
    return min(fitting, key=lambda outcome: outcome.step_s, default=None)
