"""Cases of `fastcore.sharding`: what simulating devices costs on top of the work itself.

The wall time of simulated devices says nothing about real ones. So each case is the same task done without devices, and
the question is how near the two are.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.registry import Case, Check, Side
from fastcore.attention import scaled_dot_product_attention
from fastcore.reference import scaled_dot_product_attention as reference
from fastcore.sharding import Mesh, P, TransformerBlock, pipeline, psum
from fastcore.sharding.layer import Sequential
from fastcore.sharding.products import matmul
from fastcore.sharding.ring import ring_attention

SHORT = {"float32": "f32", "float64": "f64"}


# --- a product whose columns are split ------------------------------------------------------------------------------


def product_case(devices: int, size: int, dtype: str, *, quick: bool = False) -> Case:
    """x (M, K) @ w (K, N), a share of the columns on each device; "unsharded": the same kernel on one."""

    def make() -> list[np.ndarray]:
        rng = np.random.default_rng(6)
        return [rng.standard_normal((size, size)).astype(dtype) for _ in range(2)]

    def on_devices(count: int, data: list[np.ndarray]) -> Side:
        mesh = Mesh({"tp": count})
        x, w = mesh.put(data[0]), mesh.put(data[1], P(None, "tp"))
        out = mesh.empty((size, size), dtype, P(None, "tp"))

        def call() -> object:
            matmul(x, w, out)
            return out

        return Side(call, lambda result: result.gather())

    def naive(data: list[np.ndarray]) -> Side:
        out = np.empty((size, size), dtype)
        return Side(lambda: np.matmul(data[0], data[1], out=out), np.asarray)

    def check(data: list[np.ndarray]) -> Check:
        ends = [0, size - 1]
        return Check(lambda result: result[ends], data[0][ends].astype(np.float64) @ data[1].astype(np.float64))

    itemsize = np.dtype(dtype).itemsize
    return Case(
        name=f"sharding/matmul/{SHORT[dtype]}/M{size}-K{size}-N{size}/{devices}devices",
        group=f"sharding matmul {dtype}",
        sizes={"M": size, "K": size, "N": size, "devices": devices},
        dtype=dtype,
        make=make,
        ours=partial(on_devices, devices),
        naive=naive,
        peers={"fastcore unsharded": partial(on_devices, 1)} if devices > 1 else {},
        check=check,
        flops=2.0 * size**3,
        bytes_moved=3.0 * size * size * itemsize,
        tolerance=1e-5 if dtype == "float32" else 1e-13,
        quick=quick,
    )


# --- a sum over devices ---------------------------------------------------------------------------------------------


def psum_case(devices: int, size: int, *, quick: bool = False) -> Case:
    """Blocks of `size` float32 on each device, summed up on all of them."""

    def make() -> np.ndarray:
        return np.random.default_rng(6).standard_normal((devices, size), dtype=np.float32)

    def ours(data: np.ndarray) -> Side:
        mesh = Mesh({"dp": devices})
        x = mesh.put(data, P("dp"))
        return Side(lambda: psum(x, "dp"), lambda result: result.local[:, 0])

    def naive(data: np.ndarray) -> Side:
        return Side(lambda: np.broadcast_to(data.sum(axis=0), data.shape).copy(), np.asarray)

    def check(data: np.ndarray) -> Check:
        total = np.broadcast_to(data.sum(axis=0, dtype=np.float64), (2, size))
        return Check(lambda result: result[[0, -1]], total)

    return Case(
        name=f"sharding/psum/f32/N{size}/{devices}devices",
        group="sharding psum float32",
        sizes={"N": size, "devices": devices},
        dtype="float32",
        make=make,
        ours=ours,
        naive=naive,
        check=check,
        flops=float(devices * size),
        bytes_moved=8.0 * devices * size,
        tolerance=1e-5,
        ceiling="bytes",
        quick=quick,
    )


# --- attention around a ring ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ring:
    """Self-attention of L tokens on `devices` devices."""

    H: int
    L: int
    D: int
    devices: int
    causal: bool = False

    def make(self) -> list[np.ndarray]:
        rng = np.random.default_rng(6)
        return [rng.standard_normal((1, self.H, self.L, self.D), dtype=np.float32) for _ in range(3)]

    def ours(self, data: list[np.ndarray]) -> Side:
        mesh = Mesh({"sp": self.devices})
        query, key, value = (mesh.put(each, P(None, None, "sp")) for each in data)
        return Side(lambda: ring_attention(query, key, value, is_causal=self.causal), lambda result: result.gather())

    def unsharded(self, data: list[np.ndarray]) -> Side:
        query, key, value = data
        return Side(lambda: scaled_dot_product_attention(query, key, value, is_causal=self.causal), np.asarray)

    def naive(self, data: list[np.ndarray]) -> Side:
        query, key, value = data
        return Side(lambda: reference(query, key, value, is_causal=self.causal), np.asarray)

    def check(self, data: list[np.ndarray]) -> Check:
        """The first head."""
        query, key, value = (each[:, :1].astype(np.float64) for each in data)
        expected = reference(query, key, value, is_causal=self.causal)
        return Check(lambda result: result[:, :1], expected)

    def case(self) -> Case:
        pairs = self.L * (self.L + 1) / 2 if self.causal else self.L**2
        mask = "/causal" * self.causal
        return Case(
            name=f"sharding/ring_attention/f32/H{self.H}-L{self.L}-D{self.D}{mask}/{self.devices}devices",
            group=f"sharding ring attention float32 H={self.H} D={self.D}{', causal' * self.causal}",
            sizes={"B": 1, "H": self.H, "L": self.L, "D": self.D, "devices": self.devices},
            dtype="float32",
            make=self.make,
            ours=self.ours,
            naive=self.naive,
            peers={"fastcore unsharded": self.unsharded},
            check=self.check,
            flops=4.0 * self.H * self.D * pairs,
            bytes_moved=16.0 * self.H * self.L * self.D,
            tolerance=1e-5,
        )


# --- a training step without data -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A training step of transformer blocks on a dry mesh: how long it takes to say what it costs.

    The other side has formulas for the bytes of these very layers; ours runs the program that a user wrote.
    """

    dp: int
    tp: int
    pp: int
    microbatches: int
    layers: int = 32
    tokens: int = 2048
    embed_dim: int = 4096
    num_heads: int = 32
    hidden_dim: int = 11008

    @property
    def devices(self) -> int:
        return self.dp * self.tp * self.pp

    def entering_bytes(self) -> int:
        """Of a device into each sum over "tp" and each transfer: the activations of a row, in float32."""
        return 4 * self.tokens * self.embed_dim

    def run(self) -> np.ndarray:
        """Bytes sent by all devices: sums over "tp", transfers between stages."""
        mesh = Mesh({"dp": self.dp, "tp": self.tp, "pp": self.pp}, engine="dry")
        stages = [mesh.at(pp=k) for k in range(self.pp)]
        sizes = {"embed_dim": self.embed_dim, "num_heads": self.num_heads, "hidden_dim": self.hidden_dim}
        parts = [
            Sequential(*(TransformerBlock.create(stage, **sizes) for _ in range(self.layers // self.pp)))
            for stage in stages
        ]
        shape = (self.dp, self.tokens, self.embed_dim)
        batches = [stages[0].empty(shape, np.float32, P("dp")) for _ in range(self.microbatches)]

        def loss(y):
            return y.mesh.zeros((), np.float32), y.mesh.empty(y.shape, y.dtype, y.spec)

        pipeline(parts, batches, "1f1b", loss=loss)
        rows = mesh.report().collectives
        return np.array([sum(row.bytes_total for row in rows if row.axis == axis) for axis in ("tp", "pp")], float)

    def by_device(self) -> np.ndarray:
        """The same by hand: an account of each device, and what it sends in each layer added to it."""
        sent = np.zeros((2, self.devices))
        of_sum = 2 * (self.tp - 1) * self.entering_bytes() / self.tp
        for _ in range(self.microbatches):
            for _ in range(self.layers // self.pp * 4):  # after attention and MLP, forward and backward
                sent[0] += of_sum
            sent[1] += 2 * self.entering_bytes() * (self.pp - 1) / self.pp  # on, and back
        return sent.sum(axis=1)

    def case(self) -> Case:
        return Case(
            name=f"sharding/dry_step/dp{self.dp}-tp{self.tp}-pp{self.pp}-m{self.microbatches}/{self.devices}devices",
            group="sharding dry step",
            sizes={"devices": self.devices, "microbatches": self.microbatches, "layers": self.layers},
            dtype="float32",
            make=lambda: None,
            ours=lambda _: Side(self.run, np.asarray),
            naive=lambda _: Side(self.by_device, np.asarray),
            check=lambda _: Check(lambda result: result, self.by_device()),
            flops=1.0,
            bytes_moved=1.0,
            tolerance=1e-12,
            ceiling=None,
        )


def cases() -> list[Case]:
    return [
        product_case(1, 1024, "float32"),
        product_case(8, 1024, "float32", quick=True),
        product_case(8, 1024, "float64"),
        psum_case(4096, 1024, quick=True),
        Ring(8, 4096, 64, 8).case(),
        Ring(8, 4096, 64, 8, causal=True).case(),
        Step(512, 8, 16, 64).case(),
    ]
