"""From training checkpoints to a model file: the averaged weights as float16, with all metadata.

    python3 export.py CHECKPOINT.pt[,CHECKPOINT.pt…] MODEL.safetensors

Several checkpoints, each of which went on from the one before, are averaged once more, weight by weight.
"""

import json
import sys

import torch

import picture as p
import safetensors_io


def load(paths):
    checkpoints = [torch.load(path, weights_only=True) for path in paths.split(",")]
    return {"config": checkpoints[0]["config"], "average": {
        name: torch.stack([c["average"][name].float() for c in checkpoints]).mean(0) for name in checkpoints[0]["average"]}}


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
    export(load(sys.argv[1]), sys.argv[2])
