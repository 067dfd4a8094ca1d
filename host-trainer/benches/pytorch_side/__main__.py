"""Answers the same commands as `host-trainer bench --serve`, a line of JSON each."""

import argparse
import json
import sys
import time

import cv2
import numpy
import torch

from .data import Radiographs, endless_loader, epoch_loader
from .net import Net, read_safetensors
from .train import Trainer, loss


class Side:
    def __init__(self, args):
        with open(args.graph) as graph, open(args.description) as description:
            self.net = Net(json.load(graph))
            self.description = json.load(description)
        tensors = read_safetensors(args.weights)
        self.checks = {name.removeprefix("check."): tensors.pop(name) for name in list(tensors) if name.startswith("check.")}
        self.net.load(tensors)
        self.spec, self.workers = self.description["train"], args.workers
        self.batch = tuple(self.checks[name] for name in ("images", "targets", "valid"))
        if args.channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
        self.trainer = Trainer(self.net, self.spec)
        self.batches = self.epoch = None
        self.data = Radiographs(self.description, cached=args.cached)
        self.ahead = 2 * args.workers + 1

    def check(self):
        """The largest differences of logits and loss from ours, with our weights on our batch."""
        images, targets, valid = self.batch
        with torch.no_grad():
            logits = self.trainer.average(images)[0]
            value = loss(logits, targets, valid, self.spec)
        return {
            "logits": (logits - self.checks["logits"]).abs().max().item(),
            "scale": self.checks["logits"].abs().max().item(),
            "loss": abs(value.item() - self.checks["loss"].item()),
        }

    def step(self, count):
        began = time.perf_counter()
        for _ in range(count):
            self.trainer.step(*self.batch)
        return (time.perf_counter() - began) / count

    def load(self, count):
        batches = self.fresh_batches()
        began = time.perf_counter()
        for _ in range(count):
            next(batches)
        return (time.perf_counter() - began) / count

    def end_to_end(self, count):
        batches = self.fresh_batches()
        began = time.perf_counter()
        for _ in range(count):
            self.trainer.step(*next(batches))
        return (time.perf_counter() - began) / count

    def first_pass(self):
        if self.epoch is None:
            plain = Radiographs(self.description, augmented=False)
            self.epoch = epoch_loader(plain, self.spec["batch"], self.workers)
            for _ in self.epoch:  # starts the workers
                pass
        began = time.perf_counter()
        for _ in self.epoch:
            pass
        return (time.perf_counter() - began) / len(self.epoch.dataset)

    def fresh_batches(self):
        """The loader without what was prepared while nobody looked."""
        if self.batches is None:
            self.batches = iter(endless_loader(self.data, self.spec["batch"], self.workers))
        for _ in range(self.ahead):
            next(self.batches)
        return self.batches

    def answer(self, name, count):
        if name == "check":
            return self.check()
        measure = {"step": self.step, "load": self.load, "end-to-end": self.end_to_end}.get(name)
        return {"seconds": measure(count) if measure else self.first_pass()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", required=True)
    parser.add_argument("--description", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    side = Side(args)
    versions = {
        "python": sys.version.split()[0], "torch": torch.__version__, "opencv": cv2.__version__,
        "numpy": numpy.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        name, _, count = line.strip().partition(" ")
        if name == "quit":
            return
        print(json.dumps(side.answer(name, int(count or 1))), flush=True)


if __name__ == "__main__":
    main()
