"""SmolLM2's tokenizer: byte pairs, learned on bytes, with the vocabulary and merges of the GGUF file."""

import codecs
from collections.abc import Sequence

from examples.smollm2.weights import GGUF

CONTROL = 3  # type of a token in GGUF that stands for no text
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


class Tokenizer:
    """Text to token numbers and back.

    Parameters
    ----------
    tokens : the vocabulary, each byte of a token written as one character
    merges : pairs "left right", the first to be merged first
    control : numbers of tokens that stand for no text. They never come out of a text, even one that has their names.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str], control: Sequence[int]) -> None:
        from tokenizers import Tokenizer as Backend
        from tokenizers import models, pre_tokenizers

        numbers = {token: i for i, token in enumerate(tokens)}
        pairs = [(first, second) for first, second in (pair.split(" ") for pair in merges)]
        self._backend = Backend(models.BPE(vocab=numbers, merges=pairs))
        # "smollm" in GGUF: each digit is a token of its own, whatever stands before it.
        self._backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        self.control = {tokens[i]: i for i in control}
        bytes_of = characters_of_bytes()
        self._bytes = [
            b"" if i in set(control) else bytes([bytes_of[character] for character in token])
            for i, token in enumerate(tokens)
        ]

    @classmethod
    def read(cls, file: GGUF) -> "Tokenizer":
        kinds = file["tokenizer.ggml.token_type"]
        control = [i for i, kind in enumerate(kinds) if kind == CONTROL]
        return cls(file["tokenizer.ggml.tokens"], file["tokenizer.ggml.merges"], control)

    @property
    def stop(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return frozenset(self.control[name] for name in ("<|im_end|>", "<|endoftext|>"))

    def encode(self, text: str) -> list[int]:
        return self._backend.encode(text).ids

    def chat(self, message: str) -> list[int]:
        """A user's message, up to where the answer begins, as the file's chat template has it."""
        begin, end = self.control["<|im_start|>"], self.control["<|im_end|>"]
        line = self.encode("\n")
        system, user = self.encode(f"system\n{SYSTEM}"), self.encode(f"user\n{message}")
        return [begin, *system, end, *line, begin, *user, end, *line, begin, *self.encode("assistant\n")]

    def bytes_of(self, token: int) -> bytes:
        return self._bytes[token]

    def decode(self, tokens: Sequence[int]) -> str:
        stream = TextStream(self)
        return "".join(stream.add(token) for token in tokens) + stream.end()


class TextStream:
    """Text token by token: a character whose bytes are spread over tokens comes out with the last of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._tokenizer.bytes_of(token))

    def end(self) -> str:
        """What is left: U+FFFD for the beginning of a character that never ended."""
        return self._decoder.decode(b"", final=True)


def characters_of_bytes() -> dict[str, int]:
    """GPT-2's characters for bytes: printable ones stand for themselves, the others in order from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
