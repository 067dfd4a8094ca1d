"""Writes host-trainer/golden/coco.json: a COCO instances file with every kind of segmentation, and beside each image
`expected_both`, the union of its instances as pycocotools gives it (annToRLE, merge).

usage: python coco_instances.py [OUT]   (stdout without OUT)
"""

import json
import sys

import numpy as np
from pycocotools import mask as coco


def rle_of(segmentation, rows, cols):
    """What COCO.annToRLE does."""
    if isinstance(segmentation, list):
        return coco.merge(coco.frPyObjects(segmentation, rows, cols))
    if isinstance(segmentation["counts"], list):
        return coco.frPyObjects(segmentation, rows, cols)
    return segmentation


def main():
    disc = ((np.mgrid[:20, :24][0] - 9) ** 2 + (np.mgrid[:20, :24][1] - 15) ** 2 < 30).astype(np.uint8)
    packed = coco.encode(np.asfortranarray(disc))
    code = {"size": packed["size"], "counts": packed["counts"].decode()}
    images = [
        {"id": 1, "height": 12, "width": 14, "file_name": "a.png", "person": "p1"},
        {"id": 2, "height": 20, "width": 24, "file_name": "b.png", "person": "p2"},
        {"id": 3, "height": 9, "width": 7, "file_name": "c.png", "person": "p3"},
    ]
    kinds = [
        # image, category, crowd, segmentation
        (1, 1, 0, [[2, 3, 9, 3, 9, 8, 2, 8], [10.5, 1.2, 13.8, 0.4, 12.2, 6.7]]),
        (2, 1, 0, [[-3.2, 4.5, 6.1, 1.0, 8.8, 22.4]]),
        (2, 2, 0, code),
        (3, 2, 1, {"size": [9, 7], "counts": [5, 10, 20, 3, 25]}),
    ]
    annotations = [
        {"id": 10 + i, "image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": segmentation}
        for i, (image, category, crowd, segmentation) in enumerate(kinds)
    ]
    for image in images:
        size = (image["height"], image["width"])
        own = [a["segmentation"] for a in annotations if a["image_id"] == image["id"]]
        union = coco.merge([rle_of(segmentation, *size) for segmentation in own])
        image["expected_both"] = {"size": list(size), "counts": union["counts"].decode()}
    document = {
        "info": {"description": "made by tests/python/coco_instances.py with pycocotools"},
        "images": images,
        "categories": [{"id": 1, "name": "rib"}, {"id": 2, "name": "device"}],
        "annotations": annotations,
    }
    text = json.dumps(document, indent=1) + "\n"
    if len(sys.argv) > 1:
        open(sys.argv[1], "w").write(text)
    else:
        sys.stdout.write(text)


main()
