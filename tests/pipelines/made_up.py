# SPDX-License-Identifier: LGPL-2.1-or-later
"""Made-up weights, by the generator that tests/golden/data/README.md defines (the same bits as vig_model_new_random)."""
import math
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools"))
import convert_checkpoint as cc

MASK = (1 << 64) - 1
GAINS = [("in_proj.0.weight", 1.5), ("qkv_proj.weight", 1.0), ("gk_proj.0.weight", 1.0), ("gk_proj.1.weight", 3.0),
         ("g_proj.weight", 1.5), ("o_proj.weight", 0.375), ("mlp.gate_proj.weight", 1.25), ("mlp.down_proj.weight", 0.375),
         ("mlp.fc1.weight", 1.25), ("mlp.fc2.weight", 0.375), ("head.weight", 5.0)]
FIXED = [("pos_embed", 0.0, 0.5), ("gk_proj.1.bias", -1.0, 6.0), ("g_proj.bias", 0.0, 1.0)]

TINY_T = {"family": "vig", "name": "tiny_t", "embed_dim": 64, "depth": 2, "num_heads": 1, "img_size": 64, "patch_size": 16,
          "in_chans": 3, "num_classes": 10, "act_in_conv": True, "out_act": True}
TINY_H = {"family": "vig_h", "name": "tiny_h", "dims": [32, 64, 128, 256], "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8],
          "in_chans": 3, "num_classes": 10, "act_in_conv": False, "out_act": False}


def offset_and_scale(name, shape):
    for suffix, offset, scale in FIXED:
        if name.endswith(suffix):
            return offset, scale
    gain = next((g for suffix, g in GAINS if name.endswith(suffix)), None)
    if gain is None and name.endswith(".bias"):
        return 0.0, 0.125
    if gain is None and len(shape) == 1:
        return 1.0, 0.25
    return 0.0, (gain or 1.0) * math.sqrt(3.0 / math.prod(shape[1:]))


def tensor(name, shape, seed):
    offset, scale = (float(np.float32(v)) for v in offset_and_scale(name, shape))
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(h ^ seed) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    r = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -23 - 1.0
    return (offset + scale * r).astype(np.float32).reshape(shape)


def tensors(config, seed):
    return {name: tensor(name, shape, seed) for name, shape in cc.expected_tensors(config).items()}


if __name__ == "__main__":
    labels = sys.argv[2].split(",")
    model = dict(TINY_T, num_classes=len(labels), name="made-up")
    cc.write_model(sys.argv[1], tensors(model, 3), model, labels)
