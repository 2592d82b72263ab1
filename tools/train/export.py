"""From training checkpoints to a model file: the averaged weights as float16, with all metadata.

    python3 export.py CHECKPOINT.pt[,CHECKPOINT.pt…] MODEL.safetensors

Several checkpoints, each of which went on from the one before, are averaged once more, weight by weight. A backbone of
train_pairs.py is exported as the image model that it is for a first frame, which differs from nothing.
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


def image_model(checkpoint):
    """The three channels of the picture and what is behind them."""
    first = "patch_embed.proj.0.weight"
    weights = {name: w for name, w in checkpoint["average"].items() if not name.startswith("change.")}
    return {"config": {**checkpoint["config"], "in_chans": 3}, "average": {**weights, first: weights[first][:, :3]}}


def labels(config):
    if "temporal" not in config:
        return p.LABELS
    from clips import LABELS
    return LABELS


def export(checkpoint, path):
    config = checkpoint["config"]
    if config["in_chans"] == 6 and "temporal" not in config:
        checkpoint = image_model(checkpoint)
        config = checkpoint["config"]
    tensors = {name: t.float().numpy().astype("float16") for name, t in checkpoint["average"].items()}
    preprocess = {"size": p.SIZE, "resize": "stretch", "mean": p.MEAN, "std": p.STD}
    safetensors_io.write(path, tensors, {
        "vig_config": json.dumps(config),
        "vig_preprocess": json.dumps(preprocess),
        "vig_labels": json.dumps(labels(config)),
        "vig_name": config["name"],
    })


if __name__ == "__main__":
    export(load(sys.argv[1]), sys.argv[2])
