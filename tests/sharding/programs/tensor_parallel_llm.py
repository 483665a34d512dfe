"""A small Llama over two devices, and whole on one, several copies of it: logits and tokens."""

import numpy as np

from tests.examples.small_model import small_weights

AXES = [{"dp": 4, "tp": 2}, {"tp": 2, "dp": 4}, {"dp": 3, "tp": 1}]  # for any number of ranks; over dp are copies
PROMPTS = [[7, 30, 7, 31], list(range(3, 60))]


def cases():
    return {f"greedy tokens on {axes}": lambda make_mesh, axes=axes: greedy(make_mesh(axes)) for axes in AXES}


def greedy(mesh):
    from examples.smollm2.sharded import ShardedModel, generate_sharded

    model = ShardedModel(mesh, small_weights(), capacity=80)
    found = []
    for prompt in PROMPTS:
        found.append(np.array(list(generate_sharded(model, prompt, 4))))
        model.restart()
        found.append(model.feed(prompt).gather())
        model.restart()
    return found
