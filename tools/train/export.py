"""From a training checkpoint to a model file: the averaged weights as float16, with all metadata.

    python3 export.py CHECKPOINT.pt MODEL.safetensors
"""

import json
import sys

import torch

import picture as p
import safetensors_io


def export(checkpoint, path):
    tensors = {name: t.float().numpy().astype("float16") for name, t in checkpoint["average"].items()}
    preprocess = {"size": p.SIZE, "resize": "stretch", "mean": p.MEAN, "std": p.STD}
    safetensors_io.write(path, tensors, {
        "vig_config": json.dumps(checkpoint["config"]),
        "vig_preprocess": json.dumps(preprocess),
        "vig_labels": json.dumps(p.LABELS),
        "vig_name": "camera-health",
    })


if __name__ == "__main__":
    export(torch.load(sys.argv[1], weights_only=True), sys.argv[2])
