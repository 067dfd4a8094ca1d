"""Float ONNX nets of static shapes with random weights, and onnxruntime to run them."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper, shape_inference

OPSETS = [helper.make_opsetid("", 17)]
IR_VERSION = 8
# Nodes whose names begin so stay float in every style of quantization.
HEAD = "head."


class Net:
    """A graph under construction; `op` returns the name of the tensor that it makes."""

    def __init__(self, rng):
        self.rng = rng
        self.inputs, self.nodes, self.constants = [], [], {}
        self.activations = []
        self.types = {}

    def input(self, *dims):
        self.inputs.append("image")
        return self._typed("image", helper.make_tensor_type_proto(TensorProto.FLOAT, dims))

    def shape(self, tensor):
        return [d.dim_value for d in self.types[tensor].tensor_type.shape.dim]

    def channels(self, tensor):
        return self.shape(tensor)[1]

    def op(self, kind, *inputs, prefix="", constants=(), **attributes):
        """Adds a node; `constants` come after `inputs`, "" standing for one that is left out."""
        name = f"{prefix}{kind.lower()}{len(self.nodes)}"
        inputs = list(inputs)
        for slot, values in enumerate(constants):
            inputs.append("" if values is None else self.constant(f"{name}.constant{slot}", values))
        node = helper.make_node(kind, inputs, [name], name, **attributes)
        types = {i: self.types[i] for i in inputs if i}
        data = {i: self.constants[i] for i in inputs if i in self.constants}
        schema = onnx.defs.get_schema(kind, OPSETS[0].version, "")
        inferred = shape_inference.infer_node_outputs(schema, node, types, data, None, OPSETS, IR_VERSION)
        self.nodes.append(node)
        return self._typed(name, inferred[name])

    def constant(self, name, values):
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        self.types[name] = helper.make_tensor_type_proto(self.constants[name].data_type, np.shape(values))
        return name

    def conv(self, x, channels, kernel=1, stride=1, dilation=1, group=1, bias=True, gain=2.0, prefix="", **padding):
        """A convolution, padded to keep the size at stride 1 unless `pads` or `auto_pad` says otherwise."""
        kernel, stride, dilation = pair(kernel), pair(stride), pair(dilation)
        reach = [d * (k - 1) for k, d in zip(kernel, dilation)]
        padding = padding or {"pads": [r // 2 for r in reach] + [r - r // 2 for r in reach]}
        weight = self.weights([channels, self.channels(x) // group, *kernel], 0, gain)
        constants = [weight, self.bias(channels)] if bias else [weight]
        return self.op(
            "Conv", x, prefix=prefix, constants=constants,
            kernel_shape=kernel, strides=stride, dilations=dilation, group=group, **padding,
        )

    def gemm(self, x, features, transposed=True, bias=True, gain=1.0):
        dims = [features, self.channels(x)] if transposed else [self.channels(x), features]
        weight = self.weights(dims, 0 if transposed else 1, gain)
        constants = [weight, self.bias(features)] if bias else [weight]
        return self.op("Gemm", x, constants=constants, transB=int(transposed))

    def relu(self, x):
        return self.op("Relu", x)

    def clip(self, x, low, high):
        return self.op("Clip", x, constants=[None if v is None else np.float32(v) for v in (low, high)])

    def concat(self, *parts, axis=1):
        return self.op("Concat", *parts, axis=axis)

    def resize(self, x, scales=None, sizes=None, **attributes):
        """Resizes height and width, by factors or to sizes."""
        if sizes is not None:
            sizes = np.array(self.shape(x)[:2] + list(sizes), np.int64)
            return self.op("Resize", x, constants=[None, None, sizes], **attributes)
        return self.op("Resize", x, constants=[None, np.array([1, 1, *scales], np.float32)], **attributes)

    def squeeze_excite(self, x, hidden, gate, **attributes):
        pooled = self.op("GlobalAveragePool", x)
        weighed = self.conv(self.relu(self.conv(pooled, hidden)), self.channels(x))
        return self.op("Mul", x, self.op(gate, weighed, **attributes))

    def weights(self, dims, axis, gain):
        """He's, the channels of `axis` differing in magnitude as those of trained nets do, at the same mean square."""
        fan_in = np.prod(dims) / dims[axis]
        sigma = 0.4
        spread = np.exp(self.rng.normal(-sigma**2, sigma, [n if i == axis else 1 for i, n in enumerate(dims)]))
        return (self.rng.normal(0, np.sqrt(gain / fan_in), dims) * spread).astype(np.float32)

    def bias(self, channels):
        return self.rng.normal(0, 0.2, channels).astype(np.float32)

    def model(self, name):
        """The net as a model; what no node reads are its outputs."""
        read = {i for node in self.nodes for i in node.input}
        outputs = [o for node in self.nodes for o in node.output if o not in read]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_value_info(i, self.types[i]) for i in self.inputs],
            [helper.make_value_info(o, self.types[o]) for o in outputs],
            list(self.constants.values()),
        )
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="qdq-suite")

    def _typed(self, name, kind):
        self.types[name] = kind
        self.activations.append(name)
        return name


def pair(value):
    return list(value) if np.ndim(value) else [value, value]


def smooth(rng, dims):
    """A picture of natural look: noise at each scale, the coarser the stronger, about 0 and of deviation 1."""
    picture = np.zeros(dims)
    for cells in (2, 4, 8, 16, 32):
        rows, columns = (interpolation(cells, size) for size in dims[2:])
        picture += rows @ rng.standard_normal([*dims[:2], cells, cells]) @ columns.T / cells
    return (picture / picture.std()).astype(np.float32)


def interpolation(cells, size):
    """The matrix that stretches `cells` values to `size`, linearly."""
    at = np.linspace(0, cells - 1, size)
    return np.array([np.interp(at, range(cells), unit) for unit in np.eye(cells)]).T


def run(model, picture, names, optimized=False):
    """The tensors `names` of a model of one input, as onnxruntime computes them on one thread of the CPU."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    present = {o.name for o in model.graph.output}
    probed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    level = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimized else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {model.graph.input[0].name: picture})))
