"""Checks what central sent to a PACS against the results that it was made of.

Arguments: the folder of the objects, then the messages as JSON files, one for each segmentation. Needs highdicom,
pydicom and pycocotools.
"""

import json
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pycocotools import mask as coco

folder, *messages = sys.argv[1:]
results = {m["image"]["sop_instance_uid"]: m for m in (json.loads(Path(p).read_text()) for p in messages)}
captured = dict(results)


def decode(finding, rows, cols):
    """The mask in source pixels: pycocotools, then the nearest pixel by centres."""
    grid = coco.decode({"size": finding["mask"]["size"], "counts": finding["mask"]["counts"].encode()})
    down = [(2 * i + 1) * grid.shape[0] // (2 * rows) for i in range(rows)]
    across = [(2 * i + 1) * grid.shape[1] // (2 * cols) for i in range(cols)]
    return grid[np.ix_(down, across)]


seen = {"segmentations": 0, "captures": 0, "pixels": 0}
for path in sorted(Path(folder).glob("*.dcm")):
    dataset = pydicom.dcmread(path)
    assert "FrameOfReferenceUID" not in dataset
    assert dataset.PatientName == "" and dataset.PatientID in ("", None)
    if dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage:
        source = dataset.SourceImageSequence[0].ReferencedSOPInstanceUID
        message = captured.pop(source)
        assert dataset.StudyInstanceUID == message["image"]["study_instance_uid"]
        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns, 3)
        found = any(finding["area_px"] for finding in message["findings"])
        assert dataset.pixel_array.any() == found
        seen["captures"] += 1
        continue
    seg = highdicom.seg.segread(path)
    assert seg.segmentation_type == highdicom.seg.SegmentationTypeValues.BINARY
    [(study, series, source)] = seg.get_source_image_uids()
    message = results.pop(source)
    image = message["image"]
    assert (study, series) == (image["study_instance_uid"], image["series_instance_uid"])
    assert (seg.Rows, seg.Columns) == (image["rows"], image["cols"])
    assert seg.number_of_segments == len(message["findings"])
    for number, finding in enumerate(message["findings"], 1):
        segment = seg.get_segment_description(number)
        assert segment.segment_label == finding["label"]
        kind = segment.segmented_property_type
        assert (kind.scheme_designator, kind.value) == (finding["code"]["scheme"], finding["code"]["value"])
        expected = decode(finding, seg.Rows, seg.Columns)
        pixels = seg.get_pixels_by_source_instance([source], segment_numbers=[number])[0, ..., 0]
        assert np.array_equal(pixels, expected), f"segment {number} differs in {(pixels != expected).sum()} pixels"
        seen["pixels"] += int(expected.sum())
    seen["segmentations"] += 1
assert not results and not captured, f"nothing of {list(results)} or {list(captured)}"
print(json.dumps(seen))
