"""Writes host-trainer/golden/polygons.json: polygons filled by Pillow (as CheXlocalize draws them) and by pycocotools.

usage: python polygons.py [OUT]   (stdout without OUT)
"""

import json
import math
import random
import sys

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco

MADE_BY = "tests/python/polygons.py: Pillow ImageDraw.polygon(outline=1, fill=1) and pycocotools frPyObjects"


def blob(rng, rows, cols, points, rough):
    """A star-shaped outline like an organ's, with fractions of pixels."""
    out = []
    for i in range(points):
        angle = 2 * math.pi * i / points
        r = 0.42 * (1 + rough * math.sin(3 * angle + rng.uniform(0, 0.3)) * rng.uniform(0.7, 1.0))
        out.append([cols * (0.5 + r * math.cos(angle)), rows * (0.5 + r * math.sin(angle))])
    return out


def cases():
    rng = random.Random(17)
    yield "square", 12, 14, [[2, 3], [9, 3], [9, 8], [2, 8]]
    yield "square, closed and turned", 12, 14, [[2, 3], [2, 8], [9, 8], [9, 3], [2, 3]]
    yield "square of fractions", 12, 14, [[2.4, 3.5], [9.6, 3.5], [9.6, 8.5], [2.4, 8.5]]
    yield "triangle", 20, 20, [[3.2, 2.1], [17.9, 9.5], [5.5, 18.3]]
    yield "half outside", 16, 16, [[-6.5, 4.2], [8.1, -3.0], [21.7, 9.9], [7.3, 25.0]]
    yield "crossing itself", 24, 24, [[2, 2], [21, 21], [21, 2], [2, 21]]
    yield "thin tube", 40, 30, [[4.5, 2.0], [6.0, 2.0], [21.2, 37.0], [19.7, 37.0]]
    yield "repeated corners", 14, 14, [[2, 2], [2, 2], [11, 2], [11, 11], [11, 11], [2, 11]]
    yield "to the last pixel", 10, 11, [[0, 0], [11, 0], [11, 10], [0, 10]]
    yield "steps", 16, 18, [[2, 2], [8, 2], [8, 5], [14, 5], [14, 12], [2, 12]]
    for i, (points, rough) in enumerate([(9, 0.2), (24, 0.1), (60, 0.15), (120, 0.05), (40, 0.3)]):
        rows, cols = rng.randint(60, 160), rng.randint(60, 160)
        outline = blob(rng, rows, cols, points, rough)
        yield f"outline {i}", rows, cols, [[round(x, 5), round(y, 5)] for x, y in outline]


def text(rle):
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def main():
    out = []
    for name, rows, cols, polygon in cases():
        image = Image.new("1", (cols, rows))
        ImageDraw.Draw(image).polygon([tuple(point) for point in polygon], outline=1, fill=1)
        pillow = coco.encode(np.asfortranarray(np.array(image), dtype=np.uint8))
        flat = [value for point in polygon for value in point]
        (fine,) = coco.frPyObjects([flat], rows, cols)
        out.append(
            {"name": name, "size": [rows, cols], "polygon": polygon, "pillow": text(pillow), "coco": text(fine)}
        )
    lines = ",\n  ".join(json.dumps(case) for case in out)
    document = f'{{"made_by": {json.dumps(MADE_BY)},\n "cases": [\n  {lines}\n ]}}\n'
    if len(sys.argv) > 1:
        open(sys.argv[1], "w").write(document)
    else:
        sys.stdout.write(document)


main()
