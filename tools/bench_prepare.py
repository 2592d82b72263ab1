#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes what the contenders of tests/bench/cpu read: inputs, and models with made-up weights, as ONNX and as ours.

    bench_prepare.py MODEL SIZE BATCH FOLDER [--onnx] [--int8] [--camera]

FOLDER/input-224-b1.npy and, of ViG, FOLDER/vig_t.safetensors, unless they are there; with --onnx also
FOLDER/vig_t-224-b1.onnx; with --int8 that one and FOLDER/vig_t-224-b1-int8.onnx (the products' weights quantised, a
scale a channel; activations as they come); with --camera FOLDER/vig_t-224-b1-camera.onnx, which takes bytes 0 to 255 as
GStreamer's onnxinference gives them. Whether a runtime computes the right thing with them is for the bench to check.
"""
import argparse
import os
import sys

import numpy as np
import torch

import bench_models
from bench_worker import model_path

OPSET = 17  # LayerNormalization is one operator from here on


class Camera(torch.nn.Module):
    """What takes colours from 0 to 255."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        mean, std = ([255 * x for x in v] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x):
        return self.model((x - self.mean) / self.std)


def export(model, x, path):
    """The exporter that traces (the other one needs onnxscript, which Debian does not have), with fixed shapes: runtimes
    plan better, and chunks of the scan must divide the tokens."""
    import onnx
    with torch.no_grad():
        torch.onnx.export(model, (x,), path, input_names=["input"], output_names=["logits"], opset_version=OPSET,
                          dynamo=False)
    model = onnx.load(path)  # onnxinference takes no model whose metadata do not give each output a name of its own
    onnx.helper.set_model_props(model, {"logits": "vig-logits"})
    onnx.save(model, path)


def quantise(path, path_int8):
    """Debian's onnx and onnxruntime share a registry of operators: onnx builds its list when onnx.reference is imported,
    and fails once onnxruntime has added its own. This order prints a "Schema error" for each operator; they mean nothing.
    """
    import onnx.reference  # noqa: F401
    import onnxruntime.quantization as q
    q.quantize_dynamic(path, path_int8, per_channel=True, weight_type=q.QuantType.QInt8, op_types_to_quantize=["MatMul"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model", choices=bench_models.NAMES)
    ap.add_argument("size", type=int)
    ap.add_argument("batch", type=int)
    ap.add_argument("folder")
    for kind in ("--onnx", "--int8", "--camera"):
        ap.add_argument(kind, action="store_true")
    args = ap.parse_args()
    path = lambda name, suffix: model_path(args.folder, name, args.size, args.batch, suffix)  # noqa: E731
    x = bench_models.pictures(args.batch, args.size)
    if not os.path.exists(path("input", ".npy")):
        np.save(path("input", ".npy"), x.numpy())
    if args.model not in bench_models.DEIT:
        bench_models.write_weights(args.model, os.path.join(args.folder, args.model + ".safetensors"))
    if args.onnx or args.int8:
        export(bench_models.made(args.model, args.size), x, path(args.model, ".onnx"))
    if args.camera:
        export(Camera(bench_models.made(args.model, args.size)), x, path(args.model, "-camera.onnx"))
    if args.int8:
        quantise(path(args.model, ".onnx"), path(args.model, "-int8.onnx"))


if __name__ == "__main__":
    sys.exit(main())
