"""The pool of rendered samples that a renderer keeps refreshing while the trainer draws from it: files and memory maps.

    python3 ring.py CACHE RING [SLOTS [SEED]]      fills the ring, then replaces random slots until it is ended

Slot i always holds the same class, so that the mix of classes is fixed by how slots are dealt.
"""

import os
import sys

import numpy as np

import picture as p

# shares of the slots: more for the classes that are hard to tell apart
SHARES = {"normal": 22, "defocused": 13, "covered": 15, "over-exposed": 11, "black": 4, "test-pattern": 9, "snow": 4,
          "solid-colour": 5, "blocky": 17}


def slot_labels(slots):
    deal = np.array([p.LABELS.index(name) for name, share in SHARES.items() for _ in range(share)])
    np.random.default_rng(1).shuffle(deal)
    return deal[np.arange(slots) % len(deal)]


class Ring:
    def __init__(self, path, slots=None):
        pixels = os.path.join(path, "pixels.u8")
        if slots:
            os.makedirs(path, exist_ok=True)
        else:
            slots = os.path.getsize(pixels) // (p.SIZE * p.SIZE * 3)
        self.pixels = np.memmap(pixels, np.uint8, "r+" if os.path.exists(pixels) else "w+", shape=(slots, p.SIZE, p.SIZE, 3))
        self.labels = slot_labels(slots)
        self.filled_file = os.path.join(path, "filled")

    def filled(self):
        """How many slots hold a sample: a prefix, so that training can start early."""
        return int(open(self.filled_file).read() or 0) if os.path.exists(self.filled_file) else 0

    def set_filled(self, n):
        with open(self.filled_file + ".new", "w") as f:
            f.write(str(n))
        os.replace(self.filled_file + ".new", self.filled_file)


def main(cache, path, slots=16000, seed=0):
    from degrade import render
    from sources import Sources
    from streams import Streams
    rng = np.random.default_rng(int(seed) or None)
    split = "valid" if "valid" in path else "train"
    sources = Sources(cache, split, rng)
    streams = Streams(rng, sources)
    ring = Ring(path, int(slots))
    for i in range(ring.filled(), len(ring.labels)):
        ring.pixels[i] = render(rng, sources, streams, p.LABELS[ring.labels[i]])
        if i % 50 == 49 or i + 1 == len(ring.labels):
            ring.set_filled(i + 1)
    while split == "train":
        i = rng.integers(len(ring.labels))
        ring.pixels[i] = render(rng, sources, streams, p.LABELS[ring.labels[i]])


if __name__ == "__main__":
    main(*sys.argv[1:])
