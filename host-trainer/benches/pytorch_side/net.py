"""A network from `host-trainer graph --json`, of PyTorch's own modules."""

import json
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def read_safetensors(path):
    """Tensors by name; only F32, which is all that our files hold."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} holds {entry['dtype']}, not F32")
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


class Net(nn.Module):
    """Runs the graph's nodes in their order."""

    def __init__(self, graph):
        super().__init__()
        self.outputs = graph["outputs"]
        self.layers = nn.ModuleList()
        self.names = []  # of the layers, as the parameters' prefixes
        self.plan = []  # (kind, layer or attribute, inputs, values that nobody reads any more)
        nodes = graph["nodes"]
        last = self._last_readers(nodes)
        for number, node in enumerate(nodes):
            kind, attributes = kind_of(node["op"])
            layer = make_layer(kind, attributes)
            if layer is not None:
                self.layers.append(layer)
                self.names.append(node["name"])
            if kind == "relu":
                attributes = self._may_overwrite(nodes, number, last)
            done = [i for i, reader in last.items() if reader == number and i not in self.outputs]
            self.plan.append((kind, attributes if layer is None else layer, node["inputs"], done))

    def forward(self, images):
        values = [None] * len(self.plan)
        for number, (kind, what, inputs, done) in enumerate(self.plan):
            x = values[inputs[0]] if inputs else images
            if kind == "input":
                value = images
            elif kind == "relu":
                value = F.relu(x, inplace=what)
            elif kind == "add":
                value = x + values[inputs[1]]
            elif kind == "concat":
                value = torch.cat([values[i] for i in inputs], 1)
            elif kind == "global-average-pool":
                value = x.mean((2, 3), keepdim=True)
            elif kind == "resize":
                (way, by), = what.items()
                size = [n * by for n in x.shape[2:]] if way == "scale" else values[by].shape[2:]
                value = F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
            else:
                value = what(x)
            values[number] = value
            for i in done:
                values[i] = None
        return [values[i] for i in self.outputs]

    def load(self, tensors):
        """Takes over weights of ours; all of them and no others."""
        state, wanted = {}, set()
        for number, (name, layer) in enumerate(zip(self.names, self.layers)):
            for suffix, own in layer.state_dict().items():
                if suffix == "num_batches_tracked":
                    state[f"layers.{number}.{suffix}"] = own
                    continue
                state[f"layers.{number}.{suffix}"] = tensors[f"{name}.{suffix}"]
                wanted.add(f"{name}.{suffix}")
        spare = set(tensors) - wanted
        if spare:
            raise ValueError(f"tensors that the graph does not have: {sorted(spare)[:5]}")
        self.load_state_dict(state)

    @staticmethod
    def _last_readers(nodes):
        last = {}
        for number, node in enumerate(nodes):
            kind, attributes = kind_of(node["op"])
            reads = list(node["inputs"])
            if kind == "resize" and "like" in attributes:
                reads.append(attributes["like"])
            for i in reads:
                last[i] = number
        return last

    @staticmethod
    def _may_overwrite(nodes, number, last):
        """`inplace=True` as in torchvision's models: nobody else reads what the ReLU reads."""
        source = nodes[number]["inputs"][0]
        readers = [n for n, node in enumerate(nodes) if source in node["inputs"]]
        kind, _ = kind_of(nodes[source]["op"])
        return readers == [number] and last[source] == number and kind not in ("input", "dropout", "relu")


def kind_of(op):
    """("conv2d", {...}) of {"conv2d": {...}}, ("relu", None) of "relu"."""
    return (op, None) if isinstance(op, str) else next(iter(op.items()))


def make_layer(kind, a):
    if kind == "conv2d":
        return nn.Conv2d(
            a["in-channels"], a["out-channels"], a["kernel"], a["stride"], a["padding"], a["dilation"],
            a["groups"], a["bias"],
        )
    if kind == "batch-norm2d":
        return nn.BatchNorm2d(a["channels"], a["eps"], a["momentum"])
    if kind == "group-norm":
        return nn.GroupNorm(a["groups"], a["channels"], a["eps"])
    if kind == "max-pool2d":
        return nn.MaxPool2d(a["kernel"], a["stride"], a["padding"])
    if kind == "avg-pool2d":
        return nn.AvgPool2d(a["kernel"], a["stride"])
    if kind == "dropout":
        return nn.Dropout(a["p"])
    if kind in ("input", "relu", "add", "concat", "global-average-pool", "resize"):
        return None
    raise ValueError(f"an operation that the bench does not know: {kind}")
