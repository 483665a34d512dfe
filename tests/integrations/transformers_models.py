"""Small models of the families, with random weights: two layers, four heads of 16, words up to 97."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers

WORDS = 97
WINDOW = 6

_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": WORDS,
    "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0,
}  # fmt: skip
_GROUPED = dict(**_SIZES, num_key_value_heads=2)
_GEMMA = dict(**_GROUPED, head_dim=16, query_pre_attn_scalar=16)
_EXPERTS = {
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
}

DECODERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**_GROUPED),
    "mistral": lambda: transformers.MistralConfig(**_GROUPED, head_dim=16, sliding_window=WINDOW),
    "gemma": lambda: transformers.GemmaConfig(**_GROUPED, head_dim=16),
    "gemma2": lambda: transformers.Gemma2Config(**_GEMMA, sliding_window=WINDOW, attn_logit_softcapping=0.5),
    "gemma3": lambda: transformers.Gemma3TextConfig(**_GEMMA, sliding_window=WINDOW, sliding_window_pattern=2),
    "qwen2": lambda: transformers.Qwen2Config(**_GROUPED),
    "qwen3": lambda: transformers.Qwen3Config(**_GROUPED, head_dim=16),
    "gpt_oss": lambda: transformers.GptOssConfig(**_GROUPED, **_EXPERTS, head_dim=16, sliding_window=WINDOW),
    "gpt2": lambda: transformers.GPT2Config(
        n_embd=64, n_layer=2, n_head=4, vocab_size=WORDS, n_positions=128, bos_token_id=1, eos_token_id=None,
        pad_token_id=0,
    ),
}  # fmt: skip


def decoder(family: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(DECODERS[family]()).to(dtype).eval()
    return roughened(model)


def bert(**options: Any) -> Any:
    torch.manual_seed(0)
    return roughened(transformers.BertModel(transformers.BertConfig(**_SIZES, **options)).eval())


def whisper() -> Any:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=WORDS, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=96, num_mel_bins=16, max_source_positions=30,
        max_target_positions=40, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return roughened(transformers.WhisperForConditionalGeneration(config).eval())


def t5() -> Any:
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=WORDS, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4, dropout_rate=0.0,
        decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).eval()


def roughened(model: Any) -> Any:
    """Weights ten times those of a fresh model, so that attention is no mean over all keys; sinks that matter."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("sinks"):
                weight.copy_(torch.linspace(-1.0, 2.0, weight.numel()))
            elif any(part in name for part in ("q_proj.weight", "k_proj.weight", "c_attn.weight", "query.weight")):
                weight.mul_(10.0)
    return model


def tokens(sequences: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, WORDS, (sequences, length), generator=torch.Generator().manual_seed(seed))
