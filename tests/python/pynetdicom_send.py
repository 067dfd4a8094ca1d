"""Sends DICOM files over one association with pynetdicom and prints the status of each as hex.

Usage: pynetdicom_send.py PORT FILE... [--jpeg2000]
With --jpeg2000 the pixel data of every file is compressed losslessly first.
"""

import io
import sys

import numpy
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from pynetdicom import AE


def compressed(dataset):
    pixels = numpy.frombuffer(dataset.PixelData, numpy.uint16).reshape(dataset.Rows, dataset.Columns)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return dataset


def main():
    arguments = [a for a in sys.argv[1:] if a != "--jpeg2000"]
    port, files = int(arguments[0]), arguments[1:]
    datasets = [dcmread(file) for file in files]
    if "--jpeg2000" in sys.argv:
        datasets = [compressed(dataset) for dataset in datasets]
    unit = AE(ae_title="ROOM-2")
    for dataset in datasets:
        unit.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = unit.associate("127.0.0.1", port, ae_title="CHEXSEG")
    if not association.is_established:
        sys.exit("no association")
    for dataset in datasets:
        print(f"{association.send_c_store(dataset).Status:04X}")
    association.release()


main()
