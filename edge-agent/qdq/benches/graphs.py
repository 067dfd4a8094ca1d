"""Writes the graphs of the benchmark: int8 QDQ, weights random but the same for a seed; the shipped models as they are.

usage: python graphs.py OUT [--only NAME,...] [--style ours|ort] [--seed N]

Activations u8, weights s8 per channel. Beside each graph lies its input (.f32). Prints one line a graph: millions of
multiplications, bytes, input, SHA-256.
"""

import argparse
import hashlib
import shutil
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "suite"))

from make_graphs import built, shipped
from named_nets import LINEAR, deeplabv3plus, mobilenetv2_stages, separable
from net import HEAD

MODELS = Path(__file__).resolve().parents[3] / "models"
CLASSES = 10


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--only", default="", metavar="NAME,...")
    arguments.add_argument("--style", choices=("ours", "ort"), default="ours")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    for name in chosen(options.only):
        print(line(name, make(name, options.out, options.style, options.seed)), flush=True)


def deeplab(net, width, channels, low_level):
    """ResNet-18 DeepLabV3+ of output stride 16 at 320 px, every dilated convolution of the ASPP separable."""
    image = net.input(1, 3, 320, 320)
    features = deeplabv3plus(net, image, width, channels, low_level, partial(separable, net))
    upsampled(net, net.conv(features, CLASSES, gain=1.0, prefix=HEAD), 4)


def lraspp(net):
    """MobileNetV2 of output stride 16 with the LR-ASPP head of 128 channels at 320 px."""
    stages = mobilenetv2_stages(net, net.input(1, 3, 320, 320), 1, output_stride=16)
    fine, deep = stages[2], stages[-1]
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", deep), 128, gain=1.0))
    y = net.op("Mul", net.relu(net.conv(deep, 128)), gate)
    y = net.conv(net.resize(y, scales=[2, 2], **LINEAR), CLASSES, gain=1.0)
    upsampled(net, net.op("Add", y, net.conv(fine, CLASSES, gain=1.0)), 8)


def upsampled(net, logits, scale):
    """The planes of the result: float, as are the last convolution and the upsampling of the shipped models."""
    net.resize(logits, scales=[scale, scale], prefix=HEAD, **LINEAR)


BUILT = {
    "A": partial(deeplab, width=64, channels=256, low_level=48),
    "half": partial(deeplab, width=32, channels=128, low_level=24),
    "mnv2": lraspp,
}
SHIPPED = {path.parent.name: path for path in sorted(MODELS.glob("*/model.onnx"))}
NAMES = [*BUILT, *SHIPPED]


def chosen(names):
    """The names of a list with commas, or all."""
    wanted = [name for name in names.split(",") if name]
    if unknown := set(wanted) - set(NAMES):
        sys.exit(f"no such graph: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return wanted or NAMES


def make(name, folder, style="ours", seed=1):
    """Writes the graph, and its input beside it, unless both stand there already; returns the graph's path."""
    path = folder / (f"{name}.onnx" if name in SHIPPED else f"{name}-{style}-{seed}.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    if name in SHIPPED or not input_of(path).exists():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if name in SHIPPED:
            _, picture = shipped(rng, SHIPPED[name])
            shutil.copyfile(SHIPPED[name], path)
        else:
            model, picture = built(rng, BUILT[name], style)
            onnx.checker.check_model(model, full_check=True)
            onnx.save(model, path)
        picture.astype("<f4").tofile(input_of(path))
    return path


def input_of(path):
    return path.with_suffix(".f32")


def line(name, path):
    model = onnx.load(path)
    dims = "×".join(str(d.dim_value) for d in model.graph.input[0].type.tensor_type.shape.dim)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    size = path.stat().st_size / 1e6
    return f"{name:14} {macs(model) / 1e6:8.1f} MMAC {size:6.2f} MB  input {dims}  {digest}  {path.name}"


def macs(model):
    """Multiplications of the convolutions, those with padding counted."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    infos = [*graph.value_info, *graph.input, *graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in infos}
    shapes |= {i.name: i.dims for i in graph.initializer}
    convolutions = (n for n in graph.node if n.op_type == "Conv")
    return sum(int(np.prod(shapes[n.output[0]]) * np.prod(shapes[n.input[1]][1:])) for n in convolutions)


if __name__ == "__main__":
    main()
