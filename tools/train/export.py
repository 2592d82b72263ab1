"""From training checkpoints to a model file: the averaged weights as float16, with all metadata.

    python3 export.py CHECKPOINT.pt[,CHECKPOINT.pt…] MODEL.safetensors [VALID_RING…]

Several checkpoints, each of which went on from the one before, are averaged once more, weight by weight.

With validation rings, the bias of "blocky" in the head is raised as far as it costs at most COST of the normal pictures there:
training draws more normal than damaged pictures, and the model leans that way.
"""

import json
import sys

import numpy as np
import torch

import picture as p
import safetensors_io
from ring import Ring
from train import to_input
from vig_torch import ViG

COST = 0.015


def logits_of(model, ring):
    with torch.no_grad():
        return np.concatenate([model(to_input(np.array(ring.pixels[i:i + 50]))).numpy() for i in range(0, ring.filled(), 50)])


def lean(checkpoint, rings):
    """How much to add to the logit of "blocky"."""
    model = ViG(checkpoint["config"])
    model.load_state_dict(checkpoint["average"])
    logits = np.concatenate([logits_of(model.eval(), ring)[:ring.filled()] for ring in rings])
    labels = np.concatenate([ring.labels[:ring.filled()] for ring in rings])
    normal, blocky = p.LABELS.index("normal"), p.LABELS.index("blocky")

    def recall(label, offset):
        return ((logits + offset * (np.arange(len(p.LABELS)) == blocky)).argmax(1) == label)[labels == label].mean()

    offset = max(o for o in np.arange(0, 3, 0.25) if recall(normal, o) >= recall(normal, 0) - COST)
    print(f"blocky {offset:+.2f}: its recall {recall(blocky, 0):.1%} before, {recall(blocky, offset):.1%} after; "
          f"normal {recall(normal, 0):.1%}, {recall(normal, offset):.1%}; of {len(labels)}")
    return offset


def load(paths):
    checkpoints = [torch.load(path, weights_only=True) for path in paths.split(",")]
    return {"config": checkpoints[0]["config"], "average": {
        name: torch.stack([c["average"][name].float() for c in checkpoints]).mean(0) for name in checkpoints[0]["average"]}}


def export(checkpoint, path, rings):
    if rings:
        checkpoint["average"]["head.bias"][p.LABELS.index("blocky")] += lean(checkpoint, rings)
    tensors = {name: t.float().numpy().astype("float16") for name, t in checkpoint["average"].items()}
    preprocess = {"size": p.SIZE, "resize": "stretch", "mean": p.MEAN, "std": p.STD}
    safetensors_io.write(path, tensors, {
        "vig_config": json.dumps(checkpoint["config"]),
        "vig_preprocess": json.dumps(preprocess),
        "vig_labels": json.dumps(p.LABELS),
        "vig_name": "camera-health",
    })


if __name__ == "__main__":
    export(load(sys.argv[1]), sys.argv[2], [Ring(ring) for ring in sys.argv[3:]])
