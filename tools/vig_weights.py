#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Made-up ViG weights from a name and a seed, for tests and benchmarks: the same bits as vig_model_new_random().

    tools/vig_weights.py --model vig_t --seed 1 --out vig_t.safetensors

Names and shapes are those of the official state_dict, in its order; the formula is in tests/golden/data/README.md.
Needs NumPy only. Imported, it also gives tensors(config) and write(path, metadata, tensors).
"""
import argparse
import json
import math
import struct

import numpy as np

LOW_RANK = 16  # of the gates gk_proj, in every published model


def plain(name, dim, depth, heads, act, classes=1000, img=224):
    return dict(family="vig", name=name, embed_dim=dim, depth=depth, num_heads=heads, img_size=img, patch_size=16,
                in_chans=3, num_classes=classes, act_in_conv=act, out_act=act)


def hierarchical(name, dim, depths, heads, classes=1000):
    return dict(family="vig_h", name=name, dims=[dim << i for i in range(len(depths))], depths=depths,
                num_heads=heads, in_chans=3, num_classes=classes, act_in_conv=False, out_act=False)


CONFIGS = {c["name"]: c for c in (
    plain("vig_t", 192, 12, 3, True),
    plain("vig_s", 384, 12, 6, False),
    plain("vig_b", 768, 12, 12, False),
    hierarchical("vig_h_t", 96, [2, 2, 5, 2], [3, 6, 12, 24]),
    hierarchical("vig_h_s", 96, [2, 2, 17, 2], [3, 6, 12, 24]),
    hierarchical("vig_h_b", 128, [2, 2, 17, 2], [4, 8, 16, 32]),
    plain("tiny_t", 64, 2, 1, True, classes=10, img=64),
    plain("tiny_s", 128, 2, 2, False, classes=10, img=64),
    hierarchical("tiny_h", 32, [1, 1, 2, 1], [1, 2, 4, 8], classes=10),
)}


def mlp_width(family, dim):
    step = 256 if family == "vig" else 32
    return -(-(8 * dim // 3) // step) * step


def _mixer(prefix, dim, heads):
    head = dim // heads
    yield prefix + "in_proj.0.weight", (dim, 1, 3, 3)
    yield prefix + "qkv_proj.weight", (2 * dim, dim)
    yield prefix + "gk_proj.0.weight", (LOW_RANK, dim)
    yield prefix + "gk_proj.1.weight", (dim, LOW_RANK)
    yield prefix + "gk_proj.1.bias", (dim,)
    yield prefix + "o_proj.weight", (dim, dim)
    yield prefix + "g_norm.weight", (head,)
    yield prefix + "l_norm.weight", (head,)
    yield prefix + "g_proj.weight", (dim, dim)
    yield prefix + "g_proj.bias", (dim,)


def _pair(prefix, *shape):
    yield prefix + ".weight", shape
    yield prefix + ".bias", shape[:1]


def tensors(cfg):
    """(name, shape) of every tensor of a model, in the order of the official state_dict."""
    if cfg["family"] == "vig":
        dim, patch, hidden = cfg["embed_dim"], cfg["patch_size"], mlp_width("vig", cfg["embed_dim"])
        kernel = patch // 2 + 1
        yield "pos_embed", (1, (cfg["img_size"] // patch) ** 2, dim)
        yield from _pair("patch_embed.proj.0", dim // 2, cfg["in_chans"], kernel, kernel)
        yield from _pair("patch_embed.proj.1", dim // 2)
        yield from _pair("patch_embed.proj.3", dim, dim // 2, 3, 3)
        yield from _pair("patch_embed.proj.4", dim)
        yield from _pair("head", cfg["num_classes"], dim)
        for i in range(cfg["depth"]):
            p = f"blocks.{i}."
            yield p + "attn_norm.weight", (dim,)
            yield from _mixer(p + "attn.", dim, cfg["num_heads"])
            yield p + "mlp_norm.weight", (dim,)
            yield p + "mlp.gate_proj.weight", (2 * hidden, dim)
            yield p + "mlp.down_proj.weight", (dim, hidden)
        yield "norm.weight", (dim,)
        return
    dims = cfg["dims"]
    yield from _pair("patch_embed.0", dims[0] // 2, cfg["in_chans"], 3, 3)
    yield from _pair("patch_embed.2", dims[0] // 2)
    yield from _pair("patch_embed.5", dims[0], dims[0] // 2, 3, 3)
    yield from _pair("patch_embed.7", dims[0])
    for s, (dim, depth, heads) in enumerate(zip(dims, cfg["depths"], cfg["num_heads"])):
        hidden = mlp_width("vig_h", dim)
        for j in range(depth):
            p = f"layers.{s}.blocks.{j}."
            yield from _pair(p + "norm", dim)
            yield from _mixer(p + "op.", dim, heads)
            yield from _pair(p + "norm2", dim)
            yield p + "mlp.fc1.weight", (2 * hidden, dim)
            yield p + "mlp.fc2.weight", (dim, hidden)
        if s + 1 < len(dims):
            yield from _pair(f"layers.{s}.downsample.1", dims[s + 1], dim, 3, 3)
            yield from _pair(f"layers.{s}.downsample.3", dims[s + 1])
    yield from _pair("classifier.norm", dims[-1])
    yield from _pair("classifier.head", cfg["num_classes"], dims[-1])


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


def made_up(name, shape, seed, factors=()):
    """float32 array of `shape`; factors: (suffix, value) pairs, the first that ends the name multiplies."""
    offset, scale = _offset_scale(name, shape)
    factor = next((f for suffix, f in factors if name.endswith(suffix)), 1.0)
    offset, scale = float(np.float32(offset * factor)), float(np.float32(scale * factor))
    h = 0xCBF29CE484222325  # FNV-1a of the name …
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % (1 << 64)
    with np.errstate(over="ignore"):  # … seeds one splitmix64 stream per tensor
        z = np.uint64(h ^ seed) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) * 2.0 ** -23 - 1.0
    return (offset + scale * unit).astype(np.float32).reshape(shape)


def write(path, metadata, named):
    """A .safetensors file of float32, float16 or (as uint16) bfloat16 arrays; metadata: a dict of strings."""
    dtypes = {"float32": "F32", "float16": "F16", "uint16": "BF16"}
    header, at = {"__metadata__": metadata}, 0
    for name, a in named:
        header[name] = {"dtype": dtypes[a.dtype.name], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    blob = json.dumps(header, separators=(",", ":")).encode()
    blob += b" " * (-len(blob) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(blob)) + blob)
        for _, a in named:
            f.write(np.ascontiguousarray(a).tobytes())


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", choices=sorted(CONFIGS), required=True)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--factor", action="append", default=[], metavar="SUFFIX=VALUE")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    cfg = CONFIGS[args.model]
    factors = [(s, float(v)) for s, v in (f.split("=") for f in args.factor)]
    named = [(n, made_up(n, s, args.seed, factors)) for n, s in tensors(cfg)]
    write(args.out, {"format": "pt", "vig_config": json.dumps(cfg)}, named)


if __name__ == "__main__":
    main()
