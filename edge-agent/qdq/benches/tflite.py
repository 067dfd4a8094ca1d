"""Writes a QDQ ONNX graph as an int8 .tflite file, for LiteRT with XNNPACK.

usage: python tflite.py GRAPH.onnx OUT.tflite

No converter is asked: each node becomes the operator that means the same, weights and biases keep their integers.
What LiteRT wants otherwise: layout NHWC; s8 activations (u8 - 128); one scale for all ends of Concat, Resize and
MaxPool (the widest one of them, to which biases are requantized); Sigmoid's scale of 1/256. The planes of the result
stay NHWC, so LiteRT is spared a transposition that the others make.
"""

import sys
from collections import defaultdict
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

KINDS = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32}
# The versions that know 8-bit signed tensors, weights per channel and half pixels.
VERSIONS = {
    "ADD": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2, "LOGISTIC": 2,
    "MAX_POOL_2D": 2, "MEAN": 2, "MUL": 2, "PAD": 2, "QUANTIZE": 1, "RESIZE_BILINEAR": 3,
}  # fmt: skip
NONE, RELU = schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU


class Unconvertible(Exception):
    pass


def convert(model):
    """The bytes of the .tflite file."""
    return Converter(onnx.shape_inference.infer_shapes(model).graph).bytes()


class Converter:
    def __init__(self, graph):
        self.graph = graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        infos = [*graph.value_info, *graph.input, *graph.output]
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in infos}
        self.readers = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        # Of the DequantizeLinear's outputs: what they stand for.
        self.weights, self.quantized = {}, {}
        # Scale and zero point of each quantized activation, and the sets that must share theirs.
        self.parameters, self.leaders = {}, {}
        self.writer = Writer()
        self.read_quantization()
        self.unify()

    def read_quantization(self):
        for node in self.graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            scale, zero_point = (self.constants[name] for name in node.input[1:])
            if node.op_type == "QuantizeLinear":
                if zero_point.dtype != np.uint8 or scale.ndim:
                    raise Unconvertible(f"{node.name}: activations other than u8 per tensor")
                self.parameters[node.output[0]] = np.float32(scale), int(zero_point) - 128
            elif node.input[0] in self.constants:
                if np.any(zero_point):
                    raise Unconvertible(f"{node.name}: weights with a zero point")
                self.weights[node.output[0]] = self.constants[node.input[0]], np.atleast_1d(scale)
            else:
                self.quantized[node.output[0]] = node.input[0]

    def unify(self):
        """Gives one scale to tensors of which LiteRT asks it."""
        originals = dict(self.parameters)
        sets = {name: [name] for name in originals}
        for node in self.graph.node:
            if node.op_type in ("Concat", "MaxPool", "Resize") and (result := self.result(node)) in originals:
                for name in node.input:
                    if name in self.quantized and sets[self.quantized[name]] is not sets[result]:
                        sets[result] += sets[self.quantized[name]]
                        sets |= dict.fromkeys(sets[result], sets[result])
            if node.op_type == "Sigmoid":
                self.parameters[self.result(node)] = np.float32(1 / 256), -128
        for name, members in sets.items():
            if len(members) > 1:
                self.parameters[name] = max((originals[m] for m in members), key=lambda p: p[0])
        # A range that began at 0 was a Relu; where the new one begins below, the Relu must be said.
        self.relus = {n for n, (_, z) in originals.items() if z == -128 != self.parameters[n][1]}

    def result(self, node):
        """The quantized tensor that the node makes, or its float output."""
        readers = self.readers[node.output[0]]
        if len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            return readers[0].output[0]
        return node.output[0]

    def bytes(self):
        for tensor in self.graph.input:
            self.writer.inputs.append(self.activation(tensor.name, self.shapes[tensor.name]))
        for node in self.graph.node:
            self.node(node)
        for tensor in self.graph.output:
            self.writer.outputs.append(self.writer.names[tensor.name])
        return self.writer.bytes()

    def node(self, node):
        kind = node.op_type
        if kind == "DequantizeLinear":
            return
        if kind == "QuantizeLinear":
            # Those of a node's result are of that node.
            if node.input[0] in self.writer.names:
                self.emit("QUANTIZE", [self.writer.names[node.input[0]]], node, node.output[0])
            return
        make = getattr(self, kind.lower(), None)
        if make is None:
            raise Unconvertible(f"{node.name}: no form for {kind}")
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        make(node, attributes, self.result(node))

    def activation(self, name, nchw):
        dims = [nchw[0], *nchw[2:], nchw[1]] if len(nchw) == 4 else nchw
        return self.writer.tensor(name, dims, self.parameters.get(name))

    def operand(self, name):
        """The tensor to read: the quantized one, dequantized first where that was not asked for by a quantized node."""
        if name in self.quantized:
            return self.writer.names[self.quantized[name]]
        return self.writer.names[name]

    def emit(self, kind, inputs, node, target, options=None):
        output = self.activation(target, self.shapes[node.output[0]])
        self.writer.operator(kind, inputs, output, options)

    def real(self, name):
        """The float tensor, for nodes that nothing quantizes."""
        tensor = self.operand(name)
        if name not in self.quantized:
            return tensor
        if name not in self.writer.names:
            self.writer.operator("DEQUANTIZE", [tensor], self.activation(name, self.shapes[self.quantized[name]]))
        return self.writer.names[name]

    def input(self, name, target):
        return self.operand(name) if target in self.parameters else self.real(name)

    def fused(self, target):
        return RELU if target in self.relus else NONE

    def conv(self, node, attributes, target):
        weight, source = node.input[1], self.input(node.input[0], target)
        depthwise = attributes["group"] > 1
        if depthwise and not attributes["group"] == self.shapes[node.input[0]][1] == self.shapes[weight][0]:
            raise Unconvertible(f"{node.name}: grouped convolution")
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        if target in self.parameters:
            values, scale = self.weights[weight]
            bias_values, bias_scale = self.weights[node.input[2]]
            source_scale, _ = self.parameters[self.quantized[node.input[0]]]
            bias = np.rint(bias_values * (bias_scale.astype(float) / (source_scale * scale))).astype(np.int32)
            weights = self.writer.constant(values.transpose(order), scale, 3 if depthwise else 0)
            biases = self.writer.constant(bias, source_scale * scale, 0)
        else:
            values, bias = (self.value(name) for name in node.input[1:])
            weights, biases = self.writer.constant(values.transpose(order)), self.writer.constant(bias)
        strides, dilations, kernel = attributes["strides"], attributes["dilations"], attributes["kernel_shape"]
        source, padding = self.padded(node, source, kernel, strides, dilations, attributes["pads"])
        options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        options.padding, options.fusedActivationFunction = padding, self.fused(target)
        options.strideH, options.strideW = strides
        options.dilationHFactor, options.dilationWFactor = dilations
        if depthwise:
            options.depthMultiplier = 1
        self.emit("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [source, weights, biases], node, target, options)

    def value(self, name):
        if name in self.weights:
            values, scale = self.weights[name]
            return values * scale.reshape([-1] + [1] * (values.ndim - 1)).astype(np.float32)
        return self.constants[name]

    def padded(self, node, source, kernel, strides, dilations, pads):
        """The tensor to read and the kind of padding; a PAD goes before where LiteRT's SAME would pad otherwise."""
        sizes = self.shapes[node.input[0]][2:]
        starts, ends = pads[:2], pads[2:]
        if not any(pads):
            return source, schema.Padding.VALID
        same = True
        for size, k, stride, dilation, start, end in zip(sizes, kernel, strides, dilations, starts, ends):
            total = max(0, (-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size)
            same &= (start, end) == (total // 2, total - total // 2)
        if same:
            return source, schema.Padding.SAME
        n, c = self.shapes[node.input[0]][:2]
        (top, left), (bottom, right) = starts, ends
        amounts = self.writer.constant(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        dims = [n, c, sizes[0] + top + bottom, sizes[1] + left + right]
        wide = self.writer.like(source, f"{node.name}.padded", [dims[0], *dims[2:], dims[1]])
        self.writer.operator("PAD", [source, amounts], wide, schema.PadOptionsT())
        return wide, schema.Padding.VALID

    def maxpool(self, node, attributes, target):
        kernel, strides = attributes["kernel_shape"], attributes["strides"]
        pads = attributes.get("pads", [0] * 4)
        if any(pads) and self.parameters[target][1] != -128:
            raise Unconvertible(f"{node.name}: padding would be seen")
        source, padding = self.padded(node, self.input(node.input[0], target), kernel, strides, [1, 1], pads)
        options = schema.Pool2DOptionsT(padding, strides[1], strides[0], kernel[1], kernel[0], NONE)
        self.emit("MAX_POOL_2D", [source], node, target, options)

    def add(self, node, attributes, target):
        options = schema.AddOptionsT(fusedActivationFunction=self.fused(target))
        self.emit("ADD", [self.input(name, target) for name in node.input], node, target, options)

    def mul(self, node, attributes, target):
        options = schema.MulOptionsT(fusedActivationFunction=self.fused(target))
        self.emit("MUL", [self.input(name, target) for name in node.input], node, target, options)

    def concat(self, node, attributes, target):
        axis = {1: 3, 2: 1, 3: 2}[attributes["axis"]]
        inputs = [self.input(name, target) for name in node.input]
        self.emit("CONCATENATION", inputs, node, target, schema.ConcatenationOptionsT(axis))

    def globalaveragepool(self, node, attributes, target):
        axes = self.writer.constant(np.array([1, 2], np.int32))
        self.emit("MEAN", [self.input(node.input[0], target), axes], node, target, schema.ReducerOptionsT(True))

    def sigmoid(self, node, attributes, target):
        self.emit("LOGISTIC", [self.input(node.input[0], target)], node, target)

    def resize(self, node, attributes, target):
        if (attributes["mode"], attributes["coordinate_transformation_mode"]) != (b"linear", b"half_pixel"):
            raise Unconvertible(f"{node.name}: only bilinear of half pixels")
        size = self.writer.constant(np.array(self.shapes[node.output[0]][2:], np.int32))
        options = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
        self.emit("RESIZE_BILINEAR", [self.input(node.input[0], target), size], node, target, options)


class Writer:
    """The tensors, buffers and operators of a file."""

    def __init__(self):
        self.tensors, self.names = [], {}
        self.buffers = [schema.BufferT()]
        self.codes, self.operators = [], []
        self.inputs, self.outputs = [], []

    def tensor(self, name, dims, parameters=None):
        """An activation: s8 with parameters, else f32."""
        kind, quantization = schema.TensorType.FLOAT32, None
        if parameters:
            scale, zero_point = parameters
            quantization = schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero_point])
            kind = schema.TensorType.INT8
        self.names[name] = self.added(schema.TensorT(list(dims), kind, 0, name, quantization, hasRank=True))
        return self.names[name]

    def like(self, tensor, name, dims):
        model = self.tensors[tensor]
        return self.added(schema.TensorT(dims, model.type, 0, name, model.quantization, hasRank=True))

    def constant(self, values, scale=None, axis=0):
        quantization = None
        if scale is not None:
            scale = np.broadcast_to(scale, values.shape[axis]).astype(np.float32)
            zeros = np.zeros(len(scale), np.int64)
            quantization = schema.QuantizationParametersT(scale=scale, zeroPoint=zeros, quantizedDimension=axis)
        values = np.ascontiguousarray(values)
        self.buffers.append(schema.BufferT(values.view(np.uint8).reshape(-1)))
        name = f"constant{len(self.buffers)}"
        kind = KINDS[values.dtype.name]
        return self.added(
            schema.TensorT(list(values.shape), kind, len(self.buffers) - 1, name, quantization, hasRank=True)
        )

    def added(self, tensor):
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, kind, inputs, output, options=None):
        if kind not in self.codes:
            self.codes.append(kind)
        record = schema.OperatorT(self.codes.index(kind), inputs, [output])
        if options:
            record.builtinOptions = options
            record.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.operators.append(record)

    def bytes(self):
        graph = schema.SubGraphT(self.tensors, self.inputs, self.outputs, self.operators, "main")
        codes = [(getattr(schema.BuiltinOperator, kind), VERSIONS[kind]) for kind in self.codes]
        codes = [schema.OperatorCodeT(min(code, 127), None, version, code) for code, version in codes]
        model = schema.ModelT(3, codes, [graph], "qdq benches", self.buffers)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(convert(onnx.load(sys.argv[1])))
