#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Made-up ViG weights from a name and a seed, for tests and benchmarks: the same bits as vig_model_new_random().

    tools/vig_weights.py --model vig_t --seed 1 --out vig_t.safetensors

The formula is in tests/golden/data/README.md. Needs NumPy only.
"""
import argparse
import math

import numpy as np

import convert_checkpoint as checkpoint

# The published variants, and the small ones of the tests.
TINY_T = dict(checkpoint.VARIANTS["vig_t"], name="tiny_t", embed_dim=64, depth=2, num_heads=1, img_size=64, num_classes=10)
TINY_H = dict(checkpoint.VARIANTS["vig_h_t"], name="tiny_h", dims=[32, 64, 128, 256], depths=[1, 1, 2, 1],
              num_heads=[1, 2, 4, 8], num_classes=10)
CONFIGS = {**checkpoint.VARIANTS, "tiny_t": TINY_T, "tiny_h": TINY_H}

# The first rule whose suffix ends the name: offset, and either a scale or a gain (scale = gain * sqrt(3 / fan_in)).
RULES = (
    ("pos_embed", 0.0, 0.5, None),
    ("in_proj.0.weight", 0.0, None, 1.5),
    ("qkv_proj.weight", 0.0, None, 1.0),
    ("gk_proj.0.weight", 0.0, None, 1.0),
    ("gk_proj.1.weight", 0.0, None, 3.0),
    ("gk_proj.1.bias", -1.0, 6.0, None),
    ("g_proj.weight", 0.0, None, 1.5),
    ("g_proj.bias", 0.0, 1.0, None),
    ("o_proj.weight", 0.0, None, 0.375),
    ("mlp.gate_proj.weight", 0.0, None, 1.25),
    ("mlp.down_proj.weight", 0.0, None, 0.375),
    ("mlp.fc1.weight", 0.0, None, 1.25),
    ("mlp.fc2.weight", 0.0, None, 0.375),
    ("head.weight", 0.0, None, 5.0),
    ("boundary", -2.0, 2.0, None),
    (".bias", 0.0, 0.125, None),
)


def _offset_scale(name, shape):
    for suffix, offset, scale, gain in RULES:
        if name.endswith(suffix):
            break
    else:
        offset, scale, gain = (1.0, 0.25, None) if len(shape) == 1 else (0.0, None, 1.0)
    if scale is None:
        scale = gain * math.sqrt(3.0 / math.prod(shape[1:]))
    return offset, scale


def uniform(name, seed, index):
    """Numbers `index` (uint64 array) of the stream `name`, in [-1, 1)."""
    h = 0xCBF29CE484222325  # FNV-1a of the name seeds one splitmix64 stream
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % (1 << 64)
    with np.errstate(over="ignore"):
        z = np.uint64(h ^ seed) + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -23 - 1.0


def tensor(name, shape, seed, factors=()):
    """float32 array of `shape`; factors: (suffix, value) pairs, the first that ends the name multiplies."""
    offset, scale = _offset_scale(name, shape)
    factor = next((f for suffix, f in factors if name.endswith(suffix)), 1.0)
    offset, scale = float(np.float32(offset * factor)), float(np.float32(scale * factor))
    unit = uniform(name, seed, np.arange(math.prod(shape), dtype=np.uint64))
    return (offset + scale * unit).astype(np.float32).reshape(shape)


def tensors(config, seed, factors=()):
    """{official name: array} of a model."""
    return {name: tensor(name, shape, seed, factors) for name, shape in checkpoint.expected_tensors(config).items()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", choices=sorted(CONFIGS), required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--factor", action="append", default=[], metavar="SUFFIX=VALUE")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    factors = [(suffix, float(value)) for suffix, value in (f.split("=") for f in args.factor)]
    checkpoint.write_model(args.out, tensors(CONFIGS[args.model], args.seed, factors), CONFIGS[args.model])


if __name__ == "__main__":
    main()
