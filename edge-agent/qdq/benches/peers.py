"""A worker that runs a graph by an engine other than ours; compare.py starts it. README.md tells the protocol.

usage: python peers.py onnxruntime|openvino|litert THREADS
"""

import os
import sys
import time

import numpy as np


class Onnxruntime:
    """Default spinning, all optimizations; input and output bound, so that a run allocates nothing of ours."""

    def __init__(self, path, threads, picture):
        import onnxruntime as ort

        ort.set_default_logger_severity(3)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        source, target = self.session.get_inputs()[0], self.session.get_outputs()[0]
        self.picture = picture.reshape(source.shape)
        self.output = np.empty(target.shape, np.float32)
        self.binding = self.session.io_binding()
        self.binding.bind_input(source.name, "cpu", 0, np.float32, source.shape, self.picture.ctypes.data)
        self.binding.bind_output(target.name, "cpu", 0, np.float32, target.shape, self.output.ctypes.data)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def result(self):
        return self.output


class Openvino:
    """The latency hint, one stream, tensors shared with the caller."""

    def __init__(self, path, threads, picture):
        import openvino

        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
        compiled = openvino.Core().compile_model(path, "CPU", hints)
        self.request = compiled.create_infer_request()
        self.picture = picture.reshape(tuple(compiled.input(0).shape))
        self.request.set_input_tensor(openvino.Tensor(self.picture, shared_memory=True))

    def run(self):
        self.request.infer(share_inputs=True, share_outputs=True)

    def result(self):
        return self.request.get_output_tensor(0).data


class Litert:
    """The interpreter with its default delegate, XNNPACK, on the .tflite file that tflite.py wrote."""

    def __init__(self, path, threads, picture):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        source = self.interpreter.get_input_details()[0]
        _, rows, columns, channels = source["shape"]
        picture = picture.reshape(1, channels, rows, columns).transpose(0, 2, 3, 1)
        self.interpreter.set_tensor(source["index"], np.ascontiguousarray(picture))
        delegates = [op["op_name"] for op in self.interpreter._get_ops_details()].count("DELEGATE")
        self.note = f", {delegates} part{'s' if delegates != 1 else ''} by XNNPACK"

    def run(self):
        self.interpreter.invoke()

    def result(self):
        return self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"]).transpose(0, 3, 1, 2)


ENGINES = {
    "onnxruntime": ("onnxruntime", Onnxruntime),
    "openvino": ("openvino", Openvino),
    "litert": ("ai_edge_litert.interpreter", Litert),
}


def main():
    # What engines print goes to stderr, so that only answers are on stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, kind = ENGINES[sys.argv[1]]
    threads = int(sys.argv[2])
    # Python with numpy: not the engine's.
    base = memory()[0]
    __import__(module)
    engine = None
    for line in sys.stdin:
        command, *words = line.split()
        if command == "quit":
            break
        try:
            if command == "load":
                picture = np.fromfile(words[1], "<f4")
                start = time.perf_counter()
                engine = kind(words[0], threads, picture)
                answer = f"loaded {(time.perf_counter() - start) * 1e3:.3f}"
            elif command == "run":
                answer = " ".join(f"{timed(engine):.4f}" for _ in range(int(words[0])))
            elif command == "rss":
                answer = "rss {} {} {}".format(*memory(), base)
            elif command == "save":
                np.ascontiguousarray(engine.result(), "<f4").tofile(words[0])
                answer = "saved"
            elif command == "about":
                answer = f"{about(sys.argv[1], threads)}{getattr(engine, 'note', '')}"
            else:
                answer = f"error no command '{command}'"
        except Exception as error:
            answer = f"error {error}".replace("\n", " ")[:400]
        print(answer, file=answers, flush=True)


def timed(engine):
    start = time.perf_counter()
    engine.run()
    return (time.perf_counter() - start) * 1e3


def memory():
    """VmRSS and VmHWM in KiB."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return [int(fields[key].split()[0]) for key in ("VmRSS", "VmHWM")]


def about(name, threads):
    from importlib.metadata import version

    package = {"litert": "ai-edge-litert"}.get(name, name)
    return f"{package} {version(package)}, {threads} thread{'s' if threads > 1 else ''}"


if __name__ == "__main__":
    main()
