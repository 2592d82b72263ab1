"""What every part agrees on: the classes, the model's view of a picture, and the measures that define the classes.

A picture is an RGB uint8 array [H,W,3] at video size. Measures are taken on the model's view (the whole picture,
stretched to 160x160 by Pillow's antialiased bicubic) unless a reference picture is needed. Between the limits of two
neighbouring classes there is a gap: pictures in it are neither trained on nor counted in the evaluation.
"""

import cv2
import numpy as np
from PIL import Image

LABELS = ["normal", "defocused", "covered", "over-exposed", "black", "test-pattern", "snow", "solid-colour", "blocky"]
SIZE = 160
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CLIPPED = 247         # a pixel this bright counts as clipped
BLOCK = 16            # pixels: the macroblock of the usual codecs


def view(picture):
    """The model's view: what `resize: "stretch"` of the model file does."""
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.BICUBIC))


def luma(picture):
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def detail(seen):
    """Fine detail: the 97th percentile of what a blur of one pixel takes away from the view's luma."""
    y = luma(seen).astype(np.float32)
    return float(np.percentile(np.abs(y - cv2.GaussianBlur(y, (0, 0), 1.0)), 97))


def clipped_share(seen):
    return float((luma(seen) >= CLIPPED).mean())


def damaged_share(clean, damaged):
    """Share of 16x16 blocks whose mean absolute difference from the undamaged decode is above 20 levels."""
    difference = np.abs(clean.astype(np.int16) - damaged).mean(2).astype(np.float32)
    h, w = (n // BLOCK * BLOCK for n in difference.shape)
    blocks = difference[:h, :w].reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).mean((1, 3))
    return float((blocks > 20).mean())


def is_normal(seen):
    """Neither dark, clipped, flat nor blurred as a whole."""
    y = luma(seen)
    return (clipped_share(seen) <= 0.12 and y.mean() >= 18 and np.percentile(y, 99) >= 70
            and y.std() >= 9 and detail(seen) >= 4 and detail(seen) >= 0.10 * y.std())


def is_defocused(sharp, blurred, sigma_share):
    """The blur is at least 1.2% and at most 6% of the height (sigma) and takes away half of the fine detail.

    A picture blurred beyond recognition is not drawn: nobody could tell it from a covered lens.
    """
    return 0.012 <= sigma_share <= 0.06 and detail(blurred) <= 0.5 * detail(sharp) and luma(blurred).std() >= 9


def is_covered(share):
    """The occluder hides at least 60% of the picture."""
    return share >= 0.60


def is_over_exposed(seen):
    """At least 35% of the pixels are clipped, but something is still to be seen."""
    return 0.35 <= clipped_share(seen) <= 0.92 and luma(seen).mean() >= 165 and luma(seen).std() >= 10


def is_black(seen):
    """Without its on-screen text: mean at most 14, nothing above 40."""
    return seen.max(2).mean() <= 14 and np.percentile(seen.max(2), 99) <= 40


def is_solid(seen):
    """Without its on-screen text: one colour to within a few levels, and clearly not black."""
    return seen.std((0, 1)).max() <= 6 and seen.mean((0, 1)).max() >= 60


def is_pattern(seen):
    """The pattern survives the model's view: fine checkers that average to grey do not."""
    return luma(seen).std() >= 20 or seen.std((0, 1)).max() >= 25


def is_snow(seen):
    """Noise still visible in the model's view."""
    y = luma(seen).astype(np.float32)
    return y.std() >= 6 and (y - cv2.GaussianBlur(y, (0, 0), 1.0)).std() >= 4


def is_blocky(clean, damaged):
    """At least 12% of the 16x16 blocks differ strongly from the undamaged decode, and it is not merely one colour.

    `clean` may hold neighbouring frames too: a frame that is only late is not damaged.
    """
    y = luma(damaged).astype(np.int16)
    return (np.abs(y - int(np.median(y))) > 12).mean() >= 0.2 and min(damaged_share(c, damaged) for c in clean) >= 0.12
