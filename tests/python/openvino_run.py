"""The third opinion: runs an ONNX file with OpenVINO.

usage: python openvino_run.py MODEL INPUTS OUTPUTS

As onnxruntime_run.py, which checks the file and tells its facts.
"""

import sys

import numpy as np
import openvino as ov


def main():
    model_path, inputs_path, outputs_path = sys.argv[1:]
    model = ov.Core().compile_model(model_path, "CPU", {"INFERENCE_NUM_THREADS": 1})
    (source,) = model.inputs
    inputs = np.fromfile(inputs_path, "<f4").reshape(-1, *source.shape)
    outputs = [model([x])[model.output(0)].astype("<f4") for x in inputs]
    np.concatenate(outputs).tofile(outputs_path)


main()
