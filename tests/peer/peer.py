"""What anyone would write: pynetdicom takes the image, pydicom and OpenCV make the tensor, onnxruntime runs the same int8
graph, OpenCV makes the masks, pycocotools encodes them and paho-mqtt publishes the same kind of JSON.

Usage: peer.py BUNDLE DICOM_PORT MQTT_PORT SPOOL THREADS
It does not keep what edge-agent promises: a result that the broker does not take is lost, and so is an image that is in
memory when the power goes. Each image is written to SPOOL before the answer, without fsync.
"""

import json
import queue
import sys
import threading
import time
import tomllib
import uuid
from pathlib import Path

import cv2
import numpy
import onnxruntime
import paho.mqtt.client as mqtt
from pycocotools import mask as rle
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification


class Model:
    def __init__(self, bundle, threads):
        self.manifest = tomllib.loads((bundle / "manifest.toml").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.preprocess = self.manifest["preprocess"]
        self.classes = self.manifest["classes"]

    def run(self, path):
        dataset = dcmread(path)
        pixels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(numpy.float32)
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (pixels - low) / max(high - low, 1.0)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 1.0 - pixels
        rows, cols = pixels.shape
        side = self.preprocess["input_size"]
        scale = side / max(rows, cols)
        height, width = round(rows * scale), round(cols * scale)
        small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        top, left = (side - height) // 2, (side - width) // 2
        canvas = numpy.zeros((side, side), numpy.float32)
        canvas[top : top + height, left : left + width] = small
        canvas = (canvas - self.preprocess["mean"]) / self.preprocess["std"]
        logits = self.session.run(None, {self.input: canvas[None, None]})[0][0]
        most = self.manifest["postprocess"]["mask_max_side"]
        shrink = min(1.0, most / max(rows, cols))
        grid = (round(cols * shrink), round(rows * shrink))
        findings = []
        for spec, plane in zip(self.classes, logits):
            plane = cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)
            plane = cv2.resize(plane[top : top + height, left : left + width], grid, interpolation=cv2.INTER_LINEAR)
            probability = 1.0 / (1.0 + numpy.exp(-plane))
            mask = (probability > spec["threshold"]).astype(numpy.uint8)
            count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask)
            for component in range(1, count):
                if statistics[component, cv2.CC_STAT_AREA] < 16:
                    mask[labels == component] = 0
            encoded = rle.encode(numpy.asfortranarray(mask))
            findings.append({
                "label": spec["label"],
                "score": float(probability.max()),
                "area_px": int(mask.sum()),
                "mask": {"size": encoded["size"], "counts": encoded["counts"].decode()},
            })
        return {
            "result_id": str(uuid.uuid5(uuid.NAMESPACE_OID, dataset.SOPInstanceUID)),
            "image": {"sop_instance_uid": dataset.SOPInstanceUID, "rows": rows, "cols": cols},
            "findings": findings,
        }


def main():
    bundle, dicom_port, mqtt_port, spool, threads = sys.argv[1:]
    spool = Path(spool)
    model = Model(Path(bundle), int(threads))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="peer", protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", int(mqtt_port))
    client.loop_start()
    waiting = queue.Queue(maxsize=1000)

    def work():
        while True:
            path = waiting.get()
            client.publish("cxr/v1/peer/peer/result", json.dumps(model.run(path)), qos=1)
            path.unlink()

    threading.Thread(target=work, daemon=True).start()

    def store(event):
        path = spool / f"{event.request.AffectedSOPInstanceUID}.dcm"
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.save_as(path, enforce_file_format=True)
        waiting.put(path)
        return 0x0000

    unit = AE(ae_title="CHEXSEG")
    unit.maximum_pdu_size = 0
    unit.maximum_associations = 64
    for context in AllStoragePresentationContexts:
        unit.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    unit.add_supported_context(Verification)
    unit.start_server(("127.0.0.1", int(dicom_port)), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    print("ready", flush=True)
    while True:
        time.sleep(1)


main()
