#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the seeds of the fuzz targets: into corpus/ the smallest models there can be, one for each way of writing one, and
into corpus-state/ saved states of streams."""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "corpus")
SIZES = {"F32": 4, "F16": 2, "BF16": 2}


def mixer(p, d, heads):
    return [(p + "in_proj.0.weight", [d, 1, 3, 3]), (p + "qkv_proj.weight", [2 * d, d]),
            (p + "gk_proj.0.weight", [16, d]), (p + "gk_proj.1.weight", [d, 16]), (p + "gk_proj.1.bias", [d]),
            (p + "o_proj.weight", [d, d]), (p + "g_norm.weight", [d // heads]), (p + "l_norm.weight", [d // heads]),
            (p + "g_proj.weight", [d, d]), (p + "g_proj.bias", [d])]


def conv_norm(p, conv, norm, out, inputs, kernel):
    return [("%s.%d.weight" % (p, conv), [out, inputs, kernel, kernel]), ("%s.%d.bias" % (p, conv), [out]),
            ("%s.%d.weight" % (p, norm), [out]), ("%s.%d.bias" % (p, norm), [out])]


def plain():
    config = {"family": "vig", "embed_dim": 2, "depth": 1, "num_heads": 1, "img_size": 16, "patch_size": 16,
              "in_chans": 3, "num_classes": 1, "act_in_conv": True, "out_act": True}
    b = "blocks.0."
    return config, ([("pos_embed", [1, 1, 2])] + conv_norm("patch_embed.proj", 0, 1, 1, 3, 9)
                    + conv_norm("patch_embed.proj", 3, 4, 2, 1, 3) + [("head.weight", [1, 2]), ("head.bias", [1])]
                    + [(b + "attn_norm.weight", [2])] + mixer(b + "attn.", 2, 1)
                    + [(b + "mlp_norm.weight", [2]), (b + "mlp.gate_proj.weight", [512, 2]),
                       (b + "mlp.down_proj.weight", [2, 256]), ("norm.weight", [2])])


def hierarchical(stages):
    config = {"family": "vig_h", "name": "h", "dims": [2] * stages, "depths": [1] * stages, "num_heads": [1] * stages,
              "in_chans": 3, "num_classes": 2, "act_in_conv": False, "out_act": False}
    tensors = conv_norm("patch_embed", 0, 2, 1, 3, 3) + conv_norm("patch_embed", 5, 7, 2, 1, 3)
    for s in range(stages):
        p = "layers.%d.blocks.0." % s
        tensors += [(p + "norm.weight", [2]), (p + "norm.bias", [2])] + mixer(p + "op.", 2, 1)
        tensors += [(p + "norm2.weight", [2]), (p + "norm2.bias", [2]), (p + "mlp.fc1.weight", [64, 2]),
                    (p + "mlp.fc2.weight", [2, 32])]
        if s + 1 < stages:
            tensors += conv_norm("layers.%d.downsample" % s, 1, 3, 2, 2, 3)
    tensors += [("classifier.norm.weight", [2]), ("classifier.norm.bias", [2]), ("classifier.head.weight", [2, 2]),
                ("classifier.head.bias", [2])]
    return config, tensors


def write(name, model, dtype, **metadata):
    config, tensors = model
    header, at = {"__metadata__": {"vig_config": json.dumps(config), **metadata}}, 0
    for tensor, shape in tensors:
        size = SIZES[dtype]
        for n in shape:
            size *= n
        header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    save(name, json.dumps(header, separators=(",", ":")).encode(), bytes(at))


def save(name, header, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + data)


os.makedirs(OUT, exist_ok=True)
write("plain-bf16", plain(), "BF16")
write("one-stage-f16", hierarchical(1), "F16", vig_labels='["a","\\u00e9\\ud83d\\ude00"]', vig_name="n",
      vig_preprocess='{"size":32,"resize":"stretch","resize_ratio":1.14,"mean":[0,0.5,1e-1],"std":[1,2,3]}')
write("two-stages-f32", hierarchical(2), "F32")
save("empty", b"{}", b"")
save("odd-tensors", b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[0,3],'
     b'"data_offsets":[4,4]}} \n', bytes(4))

OUT = os.path.join(HERE, "corpus-state")
os.makedirs(OUT, exist_ok=True)
for name, side, n in (("seen", "16", 2), ("empty", "0", 0)):
    header = {"__metadata__": {"vig_state_model": "abc", "vig_state_precision": "fp32", "vig_state_height": side,
                               "vig_state_width": side, "vig_state_time": "-5"},
              "state": {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}}
    save(name, json.dumps(header, separators=(",", ":")).encode(), bytes(4 * n))
