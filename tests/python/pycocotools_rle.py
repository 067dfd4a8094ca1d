"""Writes the golden run-length codes of shared/golden/pycocotools_rle.json with pycocotools.

usage: python pycocotools_rle.py [OUT]   (stdout without OUT)
"""

import json
import sys

import numpy as np
from pycocotools import mask as coco


def cases():
    rng = np.random.default_rng(17)
    yield "empty", np.zeros((5, 7), np.uint8)
    yield "full", np.ones((5, 7), np.uint8)
    yield "one pixel on", np.ones((1, 1), np.uint8)
    yield "one pixel off", np.zeros((1, 1), np.uint8)
    yield "single row", (np.arange(23) % 3 == 0).astype(np.uint8)[None, :]
    yield "single column", (np.arange(23) % 3 == 0).astype(np.uint8)[:, None]
    yield "first pixel only", np.pad(np.ones((1, 1), np.uint8), ((0, 8), (0, 8)))
    yield "last pixel only", np.pad(np.ones((1, 1), np.uint8), ((8, 0), (8, 0)))
    yield "long runs", np.pad(np.ones((30, 40), np.uint8), ((10, 10), (11, 9)))
    y, x = np.mgrid[:48, :40]
    yield "disc", ((y - 20) ** 2 + (x - 22) ** 2 < 250).astype(np.uint8)
    yield "checkerboard", ((y + x) % 2).astype(np.uint8)
    for density in (0.05, 0.5, 0.95):
        yield f"noise {density}", (rng.random((29, 31)) < density).astype(np.uint8)


def main():
    out = []
    for name, m in cases():
        rle = coco.encode(np.asfortranarray(m))
        text = "".join(map(str, m.reshape(-1)))
        out.append({"name": name, "size": rle["size"], "mask": text, "counts": rle["counts"].decode()})
    text = json.dumps(out, indent=1) + "\n"
    if len(sys.argv) > 1:
        open(sys.argv[1], "w").write(text)
    else:
        sys.stdout.write(text)


main()
