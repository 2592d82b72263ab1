"""On-screen text and logos, as recorders and cameras draw them."""

import cv2
import numpy as np

FONTS = [cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]
WORDS = ["CAM", "Camera", "CH", "ENTRANCE", "Parking", "LOBBY", "Gate", "REC", "Front door", "Hall", "Dock", "LIVE"]
NO_SIGNAL = ["NO SIGNAL", "No Signal", "VIDEO LOSS", "NO VIDEO", "Signal lost", "Offline", "Disconnected", "No input"]


def draw_text(rng, x, text, at, height, colour):
    """Text of a height in pixels, its lower left corner at (x, y); sometimes on a box, sometimes outlined."""
    font = FONTS[rng.integers(len(FONTS))]
    scale = height / cv2.getTextSize("X", font, 1, 1)[0][1]
    thick = max(1, round(height / 11))
    (tw, th), _ = cv2.getTextSize(text, font, scale, thick)
    style = rng.random()
    if style < 0.25:
        cv2.rectangle(x, (at[0] - 3, at[1] - th - 4), (at[0] + tw + 3, at[1] + 5), (0, 0, 0), -1)
    elif style < 0.6:
        cv2.putText(x, text, at, font, scale, (0, 0, 0), thick + 2, cv2.LINE_AA)
    cv2.putText(x, text, at, font, scale, colour, thick, cv2.LINE_AA)


def stamp(rng):
    if rng.random() < 0.5:
        return f"20{rng.integers(5, 30):02d}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d} " \
               f"{rng.integers(24):02d}:{rng.integers(60):02d}:{rng.integers(60):02d}"
    return f"{WORDS[rng.integers(len(WORDS))]} {rng.integers(1, 99):02d}"


def overlay(rng, x):
    """One to three lines of small text near the edges, perhaps a small logo."""
    x = x.copy()
    h, w = x.shape[:2]
    for _ in range(rng.integers(1, 4)):
        height = max(6, int(h * rng.uniform(0.025, 0.055)))
        y = int(h * rng.choice([rng.uniform(0.05, 0.12), rng.uniform(0.9, 0.97)]))
        colour = [(255, 255, 255), (255, 255, 0), (0, 255, 0), (255, 128, 0)][rng.choice(4, p=[0.7, 0.1, 0.1, 0.1])]
        draw_text(rng, x, stamp(rng), (int(w * rng.uniform(0.02, 0.6)), y), height, colour)
    if rng.random() < 0.2:
        lw, lh = int(w * rng.uniform(0.05, 0.14)), int(h * rng.uniform(0.04, 0.12))
        lx, ly = int(rng.choice([0.03, 0.82]) * w), int(rng.choice([0.04, 0.85]) * h)
        cv2.rectangle(x, (lx, ly), (lx + lw, ly + lh), tuple(int(c) for c in rng.integers(0, 256, 3)), -1)
    return x


def announce(rng, x):
    """A line such as NO SIGNAL anywhere, on a picture that shows nothing else."""
    x = x.copy()
    h, w = x.shape[:2]
    text = NO_SIGNAL[rng.integers(len(NO_SIGNAL))]
    height = max(7, int(h * rng.uniform(0.04, 0.1)))
    colour = tuple(int(c) for c in rng.choice([[255, 255, 255], [255, 255, 0], [255, 0, 0], [180, 180, 180], [0, 255, 0], [0, 0, 0]]))
    draw_text(rng, x, text, (int(w * rng.uniform(0.05, 0.5)), int(h * rng.uniform(0.15, 0.95))), height, colour)
    return x
