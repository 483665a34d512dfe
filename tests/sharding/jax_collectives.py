"""What JAX's collectives answer on eight devices: `python <this file> cases.json blocks.npz answers.npz`.

A case is [function of jax.lax, axis of the mesh, dtype, arguments]; its blocks, (8, *block), and its answer have its
number. Where JAX refuses, the answer is the text of its error.
"""

import json
import sys

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

AXES = {"a": 2, "b": 4}


def main() -> None:
    cases_path, blocks_path, answers_path = sys.argv[1:]
    with open(cases_path, encoding="utf-8") as file:
        cases = json.load(file)
    blocks = np.load(blocks_path)
    mesh = jax.sharding.Mesh(np.reshape(jax.devices(), tuple(AXES.values())), tuple(AXES))
    answers = {}
    for number, case in enumerate(cases):
        try:
            answers[str(number)] = answer(mesh, case, blocks[str(number)])
        except Exception as error:
            answers[str(number)] = np.array(f"{type(error).__name__}: {error}")
    np.savez(answers_path, **answers)


def answer(mesh: jax.sharding.Mesh, case: list, blocks: np.ndarray) -> np.ndarray:
    name, axis, dtype, options = case
    names = tuple(axis) if isinstance(axis, list) else axis

    def on_device(x: jax.Array) -> jax.Array:
        return getattr(jax.lax, name)(x[0], names, **options)[None]

    every = P(tuple(AXES))
    call = jax.shard_map(on_device, mesh=mesh, in_specs=every, out_specs=every, check_vma=False)
    result = jax.jit(call)(jax.numpy.asarray(blocks).astype(dtype))
    return np.asarray(result.astype("float32") if dtype == "bfloat16" else result)


if __name__ == "__main__":
    main()
