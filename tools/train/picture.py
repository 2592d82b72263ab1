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
BLOCK, REACH = 8, 4   # pixels of the view: blocks in which damage is counted, and how far a thing may have moved


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


def damaged_share(clean_views, seen):
    """Share of the view's 8x8 blocks that resemble nothing in the undamaged decode: RGB, uint8, [160,160,3] each.

    Resemble: with both views blurred a little, a mean absolute difference of at most 20 levels from some place up to
    4 pixels away in some of the frames given. So a picture that is late, or in which something lies beside its place by a
    part of a pixel or by a few, is not damaged.
    """
    soft = lambda view: cv2.GaussianBlur(view, (0, 0), 1.5)
    inner = soft(seen)[REACH:SIZE - REACH, REACH:SIZE - REACH]
    best = np.full([n // BLOCK for n in inner.shape[:2]], 255, np.float32)
    for clean in map(soft, clean_views):
        for dy in range(0, 2 * REACH + 1, 2):
            for dx in range(0, 2 * REACH + 1, 2):
                there = clean[dy:dy + inner.shape[0], dx:dx + inner.shape[1]]
                difference = cv2.resize(cv2.absdiff(inner, there), best.shape, interpolation=cv2.INTER_AREA)
                np.minimum(best, difference.mean(2), out=best)
    return float((best > 20).mean())


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


def is_blocky(clean_views, seen):
    """At least 12% of the view is damaged, and it is not merely one colour. `clean_views`: the views of neighbouring frames."""
    y = luma(seen).astype(np.int16)
    return (np.abs(y - int(np.median(y))) > 12).mean() >= 0.2 and damaged_share(clean_views, seen) >= 0.12
