"""The second opinion: checks an ONNX file and runs it with onnxruntime.

usage: python onnxruntime_run.py MODEL INPUTS OUTPUTS

INPUTS holds any number of inputs, each filling the model's static input shape, as little-endian float32;
OUTPUTS gets the outputs likewise. Prints facts of the model as JSON.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort


def main():
    model_path, inputs_path, outputs_path = sys.argv[1:]
    model = onnx.load(model_path)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # On processors without VNNI its kernels saturate 16-bit sums; this keeps them exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    (target,) = session.get_outputs()
    inputs = np.fromfile(inputs_path, "<f4").reshape(-1, *source.shape)
    outputs = [session.run([target.name], {source.name: x})[0].astype("<f4") for x in inputs]
    np.concatenate(outputs).tofile(outputs_path)
    print(
        json.dumps(
            {
                "opset": [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")][0],
                "ir_version": model.ir_version,
                "input": source.name,
                "output": target.name,
                "shape": list(outputs[0].shape),
                "count": len(inputs),
                "operators": sorted({n.op_type for n in model.graph.node}),
            }
        )
    )


main()
