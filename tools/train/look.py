"""A contact sheet of rendered samples, to see whether the labels are visibly right.

    python3 look.py CACHE OUT.png [SPLIT [LABEL]]
"""

import sys
import time

import numpy as np
from PIL import Image

import picture as p
from degrade import render
from sources import Sources
from streams import Streams


def main(cache, out, split="train", only=None):
    rng = np.random.default_rng()
    sources = Sources(cache, split, rng)
    streams = Streams(rng, sources)
    rows = []
    for label in p.LABELS if only is None else [only] * 9:
        start = time.time()
        rows.append(np.concatenate([render(rng, sources, streams, label) for _ in range(16)], 1))
        print(f"{label}: {(time.time() - start) / 16 * 1000:.0f} ms a sample")
    Image.fromarray(np.concatenate(rows)).resize((16 * 120, 9 * 120)).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
