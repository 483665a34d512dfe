"""llama.cpp by llama-cpp-python: the same GGUF file, its weights left in 4 and 8 bits, its cache float16."""

from typing import Any

import numpy as np

from benchmarks.environment import thread_count
from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable
from examples.smollm2.weights import default_path


def prepare(data: Any) -> Side:
    library = require("llama_cpp")
    if data.task.B > 1:
        raise Unavailable("llama-cpp-python evaluates one sequence at a time")
    (known,), (new,) = data.known, data.new

    def side(flash: bool) -> Side:
        llama = library.Llama(
            str(default_path()),
            n_ctx=data.task.S,
            n_batch=max(32, data.task.S),
            n_threads=thread_count(),
            n_threads_batch=thread_count(),
            flash_attn=flash,
            verbose=False,
        )
        if known:
            llama.eval(known)

        def call() -> np.ndarray:
            llama.n_tokens = data.before  # what is behind it in the cache, the next line removes
            llama.eval(new)
            return np.ctypeslib.as_array(llama._ctx.get_logits(), shape=(1, llama.n_vocab()))

        return Side(call, np.array)

    return fastest({"flash attention": lambda: side(True), "no flash attention": lambda: side(False)})
