"""The engines, and the processes that run them."""

import os
import subprocess
import sys
from pathlib import Path

import onnx

import hold
import tflite

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# Names of our worker's kinds.
KINDS = {"ours": "session", "ours-in-tract": "lowered", "ours-avx2": "session", "tract": "tract"}
OURS = ("ours", "ours-in-tract", "ours-avx2")
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
HELD = [f"{name}-avx2" for name in PEERS]
ENGINES = [*OURS, "tract", *PEERS, *HELD]


class Failed(Exception):
    pass


class Worker:
    """A process that has loaded one graph; README.md tells what it is told and answers."""

    def __init__(self, command, environment, graph, picture):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self.load = float(self.ask(f"load {graph} {picture}").split()[1])
        except Failed:
            self.close()
            raise

    def ask(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed(f"died at '{command.split()[0]}' with status {self.process.wait()}")
        if answer.startswith("error"):
            raise Failed(answer.removeprefix("error").strip())
        return answer

    def run(self, count):
        return [float(word) for word in self.ask(f"run {count}").split()]

    def rss(self):
        """KiB: now, at most, and of Python alone."""
        return [int(word) for word in self.ask("rss").split()[1:]]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Bench:
    """Starts workers; keeps the files they read under `folder`."""

    def __init__(self, folder, worker):
        self.folder, self.worker = folder, worker

    def start(self, engine, threads, graph, picture):
        command, environment = self.command(engine, threads)
        if engine.startswith("litert"):
            graph = self.tflite(graph)
        return Worker(command, environment, graph, picture)

    def command(self, engine, threads):
        if engine in KINDS:
            return [self.worker, KINDS[engine], threads], {"CXR_ISA": "avx2"} if engine == "ours-avx2" else {}
        name = engine.removesuffix("-avx2")
        environment = {}
        if engine in HELD:
            copy = self.folder / "held"
            if not (copy / PEERS[name]).exists():
                try:
                    hold.hold(PEERS[name], copy)
                except hold.CannotHold as error:
                    raise Failed(f"not held: {error}") from error
            environment["PYTHONPATH"] = str(copy)
        return [sys.executable, HERE / "peers.py", name, threads], environment

    def tflite(self, graph):
        path = graph.with_suffix(".tflite")
        if not path.exists():
            try:
                path.write_bytes(tflite.convert(onnx.load(graph)))
            except tflite.Unconvertible as error:
                raise Failed(f"not converted: {error}") from error
        return path


def built():
    """The path of our worker, built if need be."""
    command = ["cargo", "build", "--release", "--package", "qdq", "--example", "worker"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "examples" / "worker"
