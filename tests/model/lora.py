"""Small LoRA adapters for the 0.5B, in the format of llama.cpp's convert_lora_to_gguf.py: random, and strong enough to change every answer."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

ARCHITECTURE, LAYERS, WIDTH, FEED_FORWARD, KV_WIDTH = "qwen2", 24, 896, 4864, 128
SHAPES = {"attn_q": (WIDTH, WIDTH), "attn_v": (WIDTH, KV_WIDTH), "ffn_up": (WIDTH, FEED_FORWARD)}  # inputs, outputs
RANK = 4


def write_lora(path: Path, seed: int, *, width: int = WIDTH, strength: float = 0.25) -> Path:
    """A file with an adapter of every layer. width: of the model that it is for."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(RANK))
    for layer in range(LAYERS):
        for name, (_, outputs) in SHAPES.items():
            a = random.standard_normal((RANK, width)) / np.sqrt(width)
            b = random.standard_normal((outputs, RANK)) * strength
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", a.astype(np.float32))
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
