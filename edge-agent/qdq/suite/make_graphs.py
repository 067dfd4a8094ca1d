"""Writes QDQ graphs and the values that onnxruntime computes for them; README.md beside this tells of them.

usage: python make_graphs.py OUT [--only NAME-PREFIX ...] [--seed N] [--random N]
"""

import argparse
import json
import zlib
from collections import defaultdict
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from named_nets import NAMED
from net import Net, run, smooth
from random_nets import plans, random_net
from styles import STYLES

MODELS = Path(__file__).resolve().parents[3] / "models"
DTYPES = {"float32": "f32", "uint8": "u8", "int8": "i8"}
ALIGNMENT = 64


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--only", default=[""], nargs="+", metavar="NAME-PREFIX")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--random", type=int, default=40, metavar="N")
    options = arguments.parse_args()
    for name, make in graphs(options.seed, options.random):
        if name.startswith(tuple(options.only)):
            # Of the name too, so that a graph does not depend on which others are made.
            model, picture = make(np.random.default_rng([options.seed, zlib.crc32(name.encode())]))
            report(name, write(options.out / name, model, picture))


def graphs(seed, count):
    """Names, and functions from a random generator to a model and its input."""
    styles = list(STYLES)
    for index, moves in enumerate(islice(plans(seed), count)):
        style = styles[index % len(styles)]
        build = partial(random_net, moves=moves, tail=index)
        yield f"random-{index:03}-{style}", partial(built, build=build, style=style)
    for net_name, build in NAMED.items():
        for style in styles:
            yield f"{net_name}-{style}", partial(built, build=build, style=style)
    for path in sorted(MODELS.glob("*/model.onnx")):
        yield f"shipped-{path.parent.name}", partial(shipped, path=path)


def built(rng, build, style):
    net = Net(rng)
    build(net)
    dims = net.shape(net.inputs[0])
    model = STYLES[style](net.model("graph"), [smooth(rng, dims) for _ in range(3)])
    return model, smooth(rng, dims)


def shipped(rng, path):
    """A shipped model, and a picture that fills the range of its quantized input."""
    model = onnx.load(path)
    source = model.graph.input[0]
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    first = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == source.name)
    scale, zero_point = (constants[name] for name in first.input[1:])
    picture = smooth(rng, [d.dim_value for d in source.type.tensor_type.shape.dim])
    levels = 255 * (picture - picture.min()) / np.ptp(picture)
    return model, (levels - np.float32(zero_point)) * scale


def write(folder, model, picture):
    """Checks and runs the model, writes it with its values, and returns facts for the report."""
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    inputs, outputs = ([t.name for t in tensors] for tensors in (model.graph.input, model.graph.output))
    names = list(dict.fromkeys([*recorded(model), *outputs]))
    values = {inputs[0]: picture} | run(model, picture, names)
    optimized = run(model, picture, outputs, optimized=True)
    with open(folder / "values.bin", "wb") as file:
        listing = {
            "inputs": inputs,
            "outputs": outputs,
            "tensors": {name: appended(file, v) for name, v in values.items()},
            "outputs_optimized": {name: appended(file, v) for name, v in optimized.items()},
        }
    (folder / "values.json").write_text(json.dumps(listing, indent=1) + "\n")
    return {
        "nodes": len(model.graph.node),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "differing": np.concatenate([(values[o] != optimized[o]).ravel() for o in outputs]).mean(),
        "distance": max(np.abs(values[o] - optimized[o]).max() / (np.ptp(values[o]) or 1) for o in outputs),
    }


def recorded(model):
    """Names of the quantized activations, and of the float results computed from them that no node quantizes."""
    nodes = model.graph.node
    constants = {i.name for i in model.graph.initializer} | {n.output[0] for n in nodes if n.op_type == "Constant"}
    readers = defaultdict(list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)

    def is_quantized(tensor):
        return bool(readers[tensor]) and all(
            r.op_type == "QuantizeLinear" or r.op_type in ("Relu", "Clip") and is_quantized(r.output[0])
            for r in readers[tensor]
        )

    quantized_here = [n.output[0] for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] not in constants]
    dequantized = {r.output[0] for q in quantized_here for r in readers[q] if r.op_type == "DequantizeLinear"}
    results = [n.output[0] for n in nodes if n.op_type != "QuantizeLinear" and dequantized.intersection(n.input)]
    return quantized_here + [t for t in results if not is_quantized(t)]


def appended(file, values):
    """Writes a tensor at the next aligned offset and returns its entry."""
    file.write(bytes(-file.tell() % ALIGNMENT))
    entry = {"dtype": DTYPES[values.dtype.name], "dims": list(values.shape), "offset": file.tell()}
    file.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return entry


def report(name, facts):
    print(
        f"{name}: {facts['nodes']} nodes, {facts['bytes'] / 1e6:.2f} MB; "
        f"optimized differs in {facts['differing']:.2%}, by up to {facts['distance']:.2%} of the range",
        flush=True,
    )


if __name__ == "__main__":
    main()
