"""The ways in which exporters write QDQ graphs: ours, PyTorch's and those of onnxruntime's quantizer."""

import logging
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from net import HEAD, IR_VERSION, OPSETS, run

# Operators whose second input is a weight, and those whose third is a bias.
WEIGHTED = ("Conv", "Gemm", "MatMul")
BIASED = ("Conv", "Gemm")

# The quantizer of onnxruntime warns that models were not prepared, those too that were.
logging.getLogger().setLevel(logging.ERROR)


def seen_ranges(model, samples):
    """The least and the greatest value of each activation over the samples."""
    names = [i.name for i in model.graph.input] + [o for node in model.graph.node for o in node.output]
    seen = [run(model, sample, names[1:]) | {names[0]: sample} for sample in samples]
    return {name: (min(s[name].min() for s in seen), max(s[name].max() for s in seen)) for name in names}


class Qdq:
    """Rewrites a float model node by node; the styles say how constants are written and what is fused."""

    def __init__(self, model, samples):
        self.source = model.graph
        self.ranges = seen_ranges(model, samples)
        self.constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.readers = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.nodes, self.initializers = [], []
        # What stands for a tensor of the source, and the scale and zero point that it got.
        self.stand_ins, self.parameters = {}, {}

    @classmethod
    def rewrite(cls, model, samples):
        style = cls(model, samples)
        graph = style.source
        for tensor in graph.input:
            style.quantize(tensor.name, tensor.name, style.affine(tensor.name))
        fused = set()
        for node in graph.node:
            if node.name in fused:
                continue
            result = target = style.operator(node)
            if node.name.startswith(HEAD):
                continue
            last = style.fused_activation(node)
            if last:
                fused.add(last.name)
                target, result = last.output[0], style.fuse(last)
            style.quantize(target, result, style.output_parameters(node, target))
        outputs = [onnx.ValueInfoProto(name=style.stand_ins.get(o.name, o.name), type=o.type) for o in graph.output]
        rewritten = helper.make_graph(style.nodes, graph.name, graph.input, outputs, style.initializers)
        return helper.make_model(
            rewritten, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name=model.producer_name
        )

    def operator(self, node):
        """Copies the node, to read what stands for its inputs."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for slot, name in enumerate(node.input):
            if name in self.constants:
                copy.input[slot] = self.constant(node, slot, name)
            else:
                copy.input[slot] = self.stand_ins.get(name, name)
        self.nodes.append(copy)
        return node.output[0]

    def constant(self, node, slot, name):
        kind, values = node.op_type, self.constants[name]
        if node.name.startswith(HEAD):
            return self.stored(name, values)
        if kind in WEIGHTED and slot == 1:
            transposed = kind == "MatMul" or any(a.name == "transB" and a.i == 0 for a in node.attribute)
            return self.weight(name, values, int(transposed))
        if kind in BIASED and slot == 2:
            return self.bias(name, values, self.parameters[node.input[0]][0] * self.parameters[node.input[1]])
        if kind in ("Add", "Mul"):
            return self.operand(name, values)
        return self.stored(name, values)

    def quantize(self, target, result, parameters):
        """Quantizes the float tensor `result`, and lets it stand for `target` of the source when dequantized."""
        self.parameters[target] = parameters
        scale, zero_point = self.scale_and_zero_point(target, parameters)
        self.node("QuantizeLinear", [result, scale, zero_point], f"{target}.quantized")
        self.stand_ins[target] = self.node(
            "DequantizeLinear", [f"{target}.quantized", scale, zero_point], f"{target}.dequantized"
        )

    def affine(self, name):
        """Scale and zero point of 8 unsigned bits for the seen range, and for 0, which padding needs."""
        low, high = (float(bound(v, 0)) for v, bound in zip(self.ranges[name], (min, max)))
        scale = np.float32((high - low) / 255 or 1)
        return scale, np.uint8(np.clip(round(-low / scale), 0, 255))

    def fused_activation(self, node):
        """The activation function that nothing but it reads this node's output before."""
        readers = self.readers[node.output[0]]
        return readers[0] if len(readers) == 1 and self.can_fuse(node, readers[0]) else None

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def stored(self, name, values):
        self.initializers.append(numpy_helper.from_array(values, name))
        return name


class Ours(Qdq):
    """As host-trainer writes it: all constants quantized, Relu and Clip left to the range of the quantized tensor."""

    def weight(self, name, values, axis):
        scale = magnitudes(values, axis) / np.float32(127)
        self.parameters[name] = scale
        return self.dequantized(name, symmetric(values, scale, axis), scale, axis=axis)

    def bias(self, name, values, scale):
        return self.dequantized(name, np.rint(values / scale).astype(np.int32), scale, axis=0)

    def operand(self, name, values):
        scale = np.float32(np.abs(values).max() / 127)
        return self.dequantized(name, np.rint(values / scale).astype(np.int8), scale)

    def dequantized(self, name, values, scale, **axis):
        inputs = [
            self.stored(f"{name}.quantized", values),
            self.stored(f"{name}.scale", scale),
            self.stored(f"{name}.zero_point", np.zeros_like(scale, values.dtype)),
        ]
        return self.node("DequantizeLinear", inputs, name, **axis)

    def scale_and_zero_point(self, target, parameters):
        return [self.stored(f"{target}.{key}", v) for key, v in zip(("scale", "zero_point"), parameters)]

    def output_parameters(self, node, target):
        return self.affine(target)

    def can_fuse(self, node, last):
        if last.op_type == "Clip":
            low, high = (self.constants.get(name, 0) for name in [*last.input, ""][1:3])
            # A quantized range always holds 0, so it cannot clip above.
            return low <= 0 <= high
        return last.op_type == "Relu"

    def fuse(self, last):
        return last.input[0]


class Torch(Qdq):
    """As PyTorch exports: float weights that the graph quantizes, float biases and operands, Relu as a node."""

    # Quantized kernels of PyTorch that keep the scale of their input, and those of a fixed one.
    KEEP = ("MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Flatten", "Reshape", "Transpose", "Relu", "Clip")
    FIXED = {
        "Sigmoid": (np.float32(1 / 256), np.uint8(0)),
        "HardSigmoid": (np.float32(1 / 256), np.uint8(0)),
        "Tanh": (np.float32(2 / 256), np.uint8(128)),
    }

    def weight(self, name, values, axis):
        scale = magnitudes(values, axis) / np.float32(127.5)
        self.parameters[name] = scale
        stored = self.stored(name, values)
        scale = self.stored(f"{name}.scale", scale)
        zero_point = self.stored(f"{name}.zero_point", np.zeros(values.shape[axis], np.int8))
        quantized = self.node("QuantizeLinear", [stored, scale, zero_point], f"{name}.quantized", axis=axis)
        return self.node("DequantizeLinear", [quantized, scale, zero_point], f"{name}.dequantized", axis=axis)

    def bias(self, name, values, _scale):
        return self.stored(name, values)

    operand = Qdq.stored

    def scale_and_zero_point(self, target, parameters):
        return [
            self.node("Constant", [], f"{target}.{key}", value=numpy_helper.from_array(np.asarray(v)))
            for key, v in zip(("scale", "zero_point"), parameters)
        ]

    def output_parameters(self, node, target):
        if node.op_type in self.KEEP:
            return self.parameters[node.input[0]]
        return self.FIXED.get(node.op_type) or self.affine(target)

    def can_fuse(self, node, last):
        return last.op_type == "Relu" and node.op_type in (*WEIGHTED, "Add")

    def fuse(self, last):
        self.nodes.append(last)
        return last.output[0]


def magnitudes(values, axis):
    return np.abs(values).max(axis=tuple(i for i in range(values.ndim) if i != axis))


def symmetric(values, scale, axis):
    along = [-1 if i == axis else 1 for i in range(values.ndim)]
    return np.clip(np.rint(values / scale.reshape(along)), -127, 127).astype(np.int8)


class Samples(CalibrationDataReader):
    def __init__(self, name, samples):
        self.feeds = iter([{name: sample} for sample in samples])

    def get_next(self):
        return next(self.feeds, None)


def prepare(model, path):
    """What `quant_pre_process` does to graphs of static shapes, without the packages that it needs for others."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = path
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(path)), path)


def onnxruntimes(activation_type, per_channel):
    """The style of onnxruntime's own quantizer."""

    def quantize(model, samples):
        with tempfile.TemporaryDirectory() as folder:
            prepared, result = (str(Path(folder, name)) for name in ("prepared.onnx", "quantized.onnx"))
            prepare(model, prepared)
            quantize_static(
                prepared,
                result,
                Samples(model.graph.input[0].name, samples),
                quant_format=QuantFormat.QDQ,
                activation_type=activation_type,
                weight_type=QuantType.QInt8,
                per_channel=per_channel,
                nodes_to_exclude=[n.name for n in model.graph.node if n.name.startswith(HEAD)],
            )
            return onnx.load(result)

    return quantize


# Functions from a float model and samples of its input to the model in QDQ form.
STYLES = {
    "ours": Ours.rewrite,
    "torch": Torch.rewrite,
    "ort": onnxruntimes(QuantType.QUInt8, per_channel=True),
    "ort-s8": onnxruntimes(QuantType.QInt8, per_channel=True),
    "ort-per-tensor": onnxruntimes(QuantType.QUInt8, per_channel=False),
}
