"""A GGUF model of one small layer with random weights and a vocabulary of its own, which llama.cpp loads like any other."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, HEADS, KV_HEADS, FEED_FORWARD = 64, 2, 1, 128
TOKENS = ["!", *(chr(code) for code in range(ord("a"), ord("z") + 1)), "<|endoftext|>"]


def write_model(path: Path) -> Path:
    """Of Qwen2's architecture."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(TOKENS) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(len(TOKENS) - 1)
    kv = WIDTH // HEADS * KV_HEADS
    shapes = {"token_embd.weight": (len(TOKENS), WIDTH), "output_norm.weight": (WIDTH,), "blk.0.attn_norm.weight": (WIDTH,)}
    shapes |= {"blk.0.ffn_norm.weight": (WIDTH,), "blk.0.attn_q.weight": (WIDTH, WIDTH), "blk.0.attn_q.bias": (WIDTH,)}
    shapes |= {f"blk.0.attn_{name}.weight": (kv, WIDTH) for name in "kv"} | {f"blk.0.attn_{name}.bias": (kv,) for name in "kv"}
    shapes |= {"blk.0.attn_output.weight": (WIDTH, WIDTH), "blk.0.ffn_down.weight": (WIDTH, FEED_FORWARD)}
    shapes |= {f"blk.0.ffn_{name}.weight": (FEED_FORWARD, WIDTH) for name in ("gate", "up")}
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape).astype(np.float32) / 8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
