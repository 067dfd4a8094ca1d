"""Fills corpus/ with small valid inputs of every target, to be mutated.

Usage: seed.py  (from anywhere; needs numpy, pillow and pydicom, as tests/requirements.txt has them)
"""

import io
import json
import struct
import uuid
from pathlib import Path

import numpy
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DX = "1.2.840.10008.5.1.4.1.1.1.1"


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def dataset(pixels, bits):
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID, d.StudyInstanceUID = DX, "1.2.3.4", "1.2.3"
    d.Modality, d.PhotometricInterpretation = "DX", "MONOCHROME2"
    d.AcquisitionDate, d.AcquisitionTime = "20261130", "120000"
    d.Rows, d.Columns = pixels.shape
    d.SamplesPerPixel, d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 1, bits, bits, bits - 1, 0
    d.WindowCenter, d.WindowWidth, d.RescaleIntercept, d.RescaleSlope = "2000", "4000", "0", "1"
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = DX, "1.2.3.4"
    return d


def dicom():
    wide = (numpy.arange(12 * 10, dtype=numpy.uint16) * 500 % 60000).reshape(12, 10)
    narrow = (wide >> 8).astype(numpy.uint8)
    for name, syntax in (
        ("explicit", ExplicitVRLittleEndian),
        ("implicit", ImplicitVRLittleEndian),
        ("deflated", DeflatedExplicitVRLittleEndian),
    ):
        d = dataset(wide, 16)
        d.PixelData = wide.tobytes()
        d["PixelData"].VR = "OW"
        d.file_meta.TransferSyntaxUID = syntax
        save(d, name)
    for name, syntax, pixels, options in (
        ("jpeg", JPEGBaseline8Bit, narrow, ("JPEG", {})),
        ("jpeg2000", JPEG2000Lossless, wide, ("JPEG2000", {"irreversible": False, "no_jp2": True})),
    ):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, options[0], **options[1])
        d = dataset(pixels, 8 * pixels.itemsize)
        d.PixelData = encapsulate([stream.getvalue()])
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
        d.file_meta.TransferSyntaxUID = syntax
        save(d, name)
    d = dataset(wide, 16)
    d.PixelData = wide.tobytes()
    d["PixelData"].VR = "OW"
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.compress(RLELossless, wide, generate_instance_uid=False)
    save(d, "rle")
    for format in ("PNG", "TIFF", "JPEG"):
        stream = io.BytesIO()
        Image.fromarray(narrow).save(stream, format)
        put("dicom", format.lower(), stream.getvalue())


def save(d, name):
    stream = io.BytesIO()
    d.save_as(stream, enforce_file_format=True)
    put("dicom", f"{name}.dcm", stream.getvalue())


def pdu():
    def element(tag, value):
        return struct.pack("<HHI", 0, tag, len(value)) + value

    def word(tag, value):
        return element(tag, struct.pack("<H", value))

    def uid(tag, value):
        return element(tag, value.encode() + b"\0" * (len(value) % 2))

    store = uid(0x2, DX) + word(0x100, 1) + word(0x110, 1) + word(0x700, 0) + word(0x800, 0) + uid(0x1000, "1.2.3.4")
    echo = uid(0x2, "1.2.840.10008.1.1") + word(0x100, 0x30) + word(0x110, 1) + word(0x800, 0x101)
    commit = uid(0x3, "1.2.840.10008.1.20.1") + word(0x100, 0x130) + word(0x110, 1) + word(0x800, 0) + word(0x1008, 1)

    def data(control, payload):
        item = struct.pack(">IBB", len(payload) + 2, 1, control) + payload
        return struct.pack(">BBI", 4, 0, len(item)) + item

    d = Dataset()
    d.TransactionUID = "1.2.3.77"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = DX, "1.2.3.4"
    d.ReferencedSOPSequence = [item]
    stream = io.BytesIO()
    from pydicom.filewriter import write_dataset
    from pydicom.filebase import DicomFileLike

    target = DicomFileLike(stream)
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, d)
    put("pdu", "echo", data(3, echo))
    put("pdu", "store", data(3, store) + data(0, b"\x08\0\x16\0UI\x1a\0" + DX.encode()) + data(2, b""))
    put("pdu", "commit", data(3, commit) + data(2, stream.getvalue()))
    context = b"\x10\0\0\x151.2.840.10008.3.1.1.1"
    abstract = b"\x30\0" + struct.pack(">H", len(DX)) + DX.encode()
    syntax = b"\x40\0\0\x111.2.840.10008.1.2"
    proposed = b"\x01\0\0\0" + abstract + syntax
    presentation = b"\x20\0" + struct.pack(">H", len(proposed)) + proposed
    user = b"\x50\0\0\x08\x51\0\0\x04\0\0\x40\0"
    body = b"\0\x01\0\0" + b"CHEXSEG".ljust(16) + b"ROOM-1".ljust(16) + bytes(32) + context + presentation + user
    put("pdu", "associate", struct.pack(">BBI", 1, 0, len(body)) + body)
    put("pdu", "release", struct.pack(">BBI", 5, 0, 4) + bytes(4))


def messages():
    some = str(uuid.UUID(int=1))
    model = {"name": "m", "version": "1", "sha256": "a" * 64, "quantization": "qdq-int8"}
    put("message", "ack", json.dumps({"schema": "1.2", "result_id": some}).encode())
    put("message", "status", json.dumps({"schema": "1.2", "status": "online", "boot_id": some}).encode())
    put("message", "command", json.dumps({"schema": "1.2"}).encode())
    put("message", "birth", json.dumps({
        "schema": "1.2", "boot_id": some, "started_at": "2026-11-30T00:00:00Z", "firmware": "0.1.0", "model": model,
        "manifest_schema": "1.1", "pipeline_version": 1, "capabilities": ["dicom-store-scp"],
    }).encode())
    put("message", "health", json.dumps({
        "schema": "1.2", "boot_id": some, "at": "2026-11-30T00:00:00Z", "images_waiting": 1, "results_waiting": 2,
        "oldest_unsent_s": 3, "set_aside": 4, "delivered": 5, "rss_bytes": 6,
    }).encode())
    put("message", "topic", b"cxr/v1/north/cart-3/cmd/ping")
    for name in ("manifest.toml",):
        put("manifest", name, (ROOT / "models/chexseg-edge" / name).read_bytes())
    for name, sides, counts in (("disc", (20, 20), b"61b0h0"), ("all", (4, 4), b"0@"), ("none", (4, 4), b"@")):
        put("rle", name, struct.pack("<HH", *sides) + counts)


dicom()
pdu()
messages()
print(sum(1 for _ in (HERE / "corpus").rglob("*") if _.is_file()), "inputs")
