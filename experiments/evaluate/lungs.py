"""Where the lungs lie on a chest radiograph of 128 pixels: a shape learned from clear lungs, fitted to each.

A threshold finds lungs that are dark, not those with pneumonia. So the shape is the mean of both lungs on
normal training images where a threshold finds two that touch no edge; on every other image it is moved,
stretched and sheared to where what lies inside is darkest against what lies around it.

    python -m experiments.evaluate.lungs --data ../shared/data --picture FILE      30 val images, for the eye
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage
from scipy.optimize import minimize
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image

from experiments.data import balanced, load

Grey = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
SIDE = 128
SHAPES = 40  # images whose lungs make the shape, at most
LEAST = 900  # pixels of a lung
PLACED = (84, 92, 60.0, 63.5)  # rows, columns and middle of both lungs in the shape
FREE = np.array([0.25, 0.25, 14.0, 14.0, 0.1])  # width, height, right, down, shear: how far a fit goes at ease


def lung_shape(data: Path) -> Grey:
    """The share (128, 128) of the clear lungs of training images that cover a pixel, all at the same place."""
    cohort, found = load("chest", data, "train", side=SIDE), list[Grey]()
    normal = np.flatnonzero(cohort.labels == 0)
    for row in np.random.default_rng(0).permutation(normal)[:400]:
        lungs = _dark_lungs(cohort.images[row, 0].numpy().astype(float))
        if lungs is not None:
            found.append(_at_its_place(lungs))
        if len(found) == SHAPES:
            break
    return np.asarray(ndimage.gaussian_filter(np.mean(found, axis=0), 1))


def lung_fields(image: Grey, shape: Grey) -> Mask:
    """The lungs on an image (128, 128) of 0 to 255."""
    image = image.astype(float)
    inside = shape > 0.5
    ring = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(inside)
    weights = ndimage.gaussian_filter(ring / ring.sum() - inside / inside.sum(), 1)
    mean = ndimage.gaussian_filter(image, 20)
    spread = np.sqrt(ndimage.gaussian_filter((image - mean) ** 2, 20)) + 8
    local = np.clip((ndimage.gaussian_filter(image, 1.5) - mean) / spread, -2, 2)

    def cost(moves: Grey) -> float:
        moved = _moved(weights, moves)
        contrast = (local * moved).sum() / (np.abs(moved).sum() + 1e-9)
        return float(0.03 * (((moves - [1, 1, 0, 0, 0]) / FREE) ** 2).sum() - contrast)

    starts = [
        np.array([scale, scale, 0, down, 0]) for scale, down in itertools.product((0.85, 1, 1.15), (-10, 0, 10))
    ]
    settings = {"maxiter": 2, "xtol": 0.02, "ftol": 0.01}
    fits = [minimize(cost, start, method="Powell", options=settings) for start in starts]
    return np.asarray(_moved(shape, min(fits, key=lambda fit: float(fit.fun)).x) > 0.5)


def _moved(values: Grey, moves: Grey) -> Grey:
    wide, high, right, down, shear = moves
    middle = (SIDE - 1) / 2
    turn = np.array([[1 / high, 0], [shear, 1 / wide]])
    offset = np.array([middle, middle]) - turn @ np.array([middle + down, middle + right])
    return np.asarray(ndimage.affine_transform(values, turn, offset, order=1))


def _dark_lungs(image: Grey) -> Mask | None:
    """The convex hulls of the largest dark parts left and right of the spine; None where they touch an edge or
    are small."""
    smooth, found = ndimage.gaussian_filter(image, 2), np.zeros((SIDE, SIDE), dtype=bool)
    columns = ndimage.gaussian_filter1d(smooth[25:90].mean(axis=0), 3)
    spine = 45 + int(columns[45:83].argmax())
    y, x = np.mgrid[:SIDE, :SIDE]
    for left, right in ((8, spine - 2), (spine + 2, 120)):
        part = np.zeros_like(found)
        inner = smooth[10:115, left:right]
        part[10:115, left:right] = inner < threshold_otsu(inner)
        labels, count = ndimage.label(ndimage.binary_opening(part, iterations=3))
        parts = [labels == number for number in range(1, count + 1)]
        if not parts:
            return None

        def central(one: Mask, middle: float = (left + right) / 2) -> float:
            return float(one.sum() - 25 * np.hypot(y[one].mean() - 54, x[one].mean() - middle))

        found |= convex_hull_image(max(parts, key=central))
    rows, cells = np.nonzero(found)
    labels, count = ndimage.label(found)
    clear = rows.min() > 13 and cells.min() > 8 and cells.max() < 119 and count == 2
    return found if clear and min(np.bincount(labels.ravel())[1:]) > LEAST else None


def _at_its_place(lungs: Mask) -> Grey:
    rows, columns = np.nonzero(lungs)
    turn = np.diag([np.ptp(rows) / PLACED[0], np.ptp(columns) / PLACED[1]])
    middle = np.array([rows.max() + rows.min(), columns.max() + columns.min()]) / 2
    return np.asarray(
        ndimage.affine_transform(lungs.astype(float), turn, middle - turn @ np.array(PLACED[2:]), order=1)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    options = parser.parse_args()
    shape, tiles = lung_shape(options.data), []
    for image in balanced(load("chest", options.data, "val", side=SIDE), 120).images[:30, 0].numpy():
        lungs = lung_fields(image, shape)
        tile = np.repeat(image[..., None], 3, axis=2)
        tile[ndimage.binary_dilation(lungs) & ~lungs] = (255, 160, 0)
        tiles.append(np.kron(tile, np.ones((2, 2, 1), np.uint8)))
    rows = [np.concatenate(tiles[k : k + 6], axis=1) for k in range(0, 30, 6)]
    Picture.fromarray(np.concatenate(rows)).save(options.picture, optimize=True)


if __name__ == "__main__":
    main()
