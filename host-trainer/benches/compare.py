#!/usr/bin/env python3
"""Our trainer against PyTorch: the same network, weights, images, batch size and threads on the same machine.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install -r host-trainer/benches/requirements.txt
    /tmp/bench/bin/python host-trainer/benches/compare.py --config host-trainer/experiments/study-a/experiment.toml

Three programs stay alive and take turns, one measuring while the others wait: ours, PyTorch that decodes every image
every time ("plain"), and PyTorch with all decoded images in memory ("cached"). Before that both must agree on the
logits of a batch. Ratios are ours / theirs, taken round by round; below 1 we are faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LARGEST_DIFFERENCE = 1e-4  # of logits, as a share of the largest logit (at least 1)


class Side:
    """A program that answers a command a line with a line of JSON."""

    def __init__(self, command, **environment):
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE,
            env={**os.environ, **environment},
        )
        self.hello = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(answer["error"])
        return answer

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.read()
        time.sleep(0.3)  # its loader fills up again before anybody else is measured
        return answer

    def memory(self):
        """Bytes: peak of the program itself, and its helper processes' share now."""
        pid = self.process.pid
        peak = kilobytes(f"/proc/{pid}/status", "VmHWM")
        return 1024 * (peak + sum(kilobytes(f"/proc/{child}/smaps_rollup", "Pss") for child in children(pid)))

    def quit(self):
        self.process.stdin.write("quit\n")
        self.process.stdin.close()
        self.process.wait()


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [child, *children(child)]
    return found


def kilobytes(path, field):
    try:
        lines = Path(path).read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), 0)


def arguments():
    root = HERE.parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--trainer", type=Path, default=root / "target/release/host-trainer")
    parser.add_argument("--steps", type=int, default=3, help="steps a measurement (default 3)")
    parser.add_argument("--batches", type=int, default=30, help="batches a measurement of the loader (default 30)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each part (default 7)")
    parser.add_argument("--workers", type=int, default=1, help="threads, or processes there, that load (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of libtorch (default 1)")
    parser.add_argument("--tuned", action="store_true",
                        help="give PyTorch what our trainer does of itself: glibc's tunables and channels_last")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def start(args, folder):
    """Our side and the two of PyTorch, which begin with our weights."""
    config = args.config.resolve()
    graph, weights, description = (folder / name for name in ("graph.json", "weights.safetensors", "description.json"))
    graph.write_bytes(subprocess.check_output([args.trainer, "graph", "--config", config, "--json"]))
    environment = {"OMP_NUM_THREADS": str(args.threads), "RUST_LOG": "warn"}
    ours = Side(
        [args.trainer.resolve(), "bench", "--serve", "--config", config, "--device", "cpu",
         "--workers", args.workers, "--threads", args.threads], **environment)
    ours.ask(f"check {weights}")
    description.write_text(json.dumps(ours.hello))

    if args.tuned:
        found = Path(f"/proc/{ours.process.pid}/environ").read_text().split("\0")
        settings = dict(entry.partition("=")[::2] for entry in found)
        environment["GLIBC_TUNABLES"] = settings.get("GLIBC_TUNABLES", "")

    def theirs(*more):
        return Side(
            [sys.executable, "-m", "pytorch_side", "--graph", graph, "--weights", weights, "--description", description,
             "--workers", args.workers, "--threads", args.threads,
             *(["--channels-last"] if args.tuned else []), *more], **environment)

    return {"ours": ours, "plain": theirs(), "cached": theirs("--cached")}


def check(sides):
    """Both compute the same, or there is nothing to compare."""
    found = sides["cached"].ask("check")
    if found["logits"] > LARGEST_DIFFERENCE * max(1.0, found["scale"]) or found["loss"] > LARGEST_DIFFERENCE:
        sys.exit(f"the two networks differ, so there is nothing to compare: {found}")
    return found


def measure(args, sides):
    """Seconds of each part, side and round."""
    parts = {  # part: (command, the sides that differ in it)
        "step": (f"step {args.steps}", ["ours", "cached"]),
        "load": (f"load {args.batches}", ["ours", "plain", "cached"]),
        "end-to-end": (f"end-to-end {args.steps}", ["ours", "plain", "cached"]),
        "first-pass": ("first-pass", ["ours", "plain"]),
    }
    times = {part: {side: [] for side in names} for part, (_, names) in parts.items()}
    for number in range(-1, args.rounds):  # the first round warms up
        for part, (command, names) in parts.items():
            # Each goes first as often as last.
            for name in names if number % 2 else reversed(names):
                seconds = sides[name].ask(command)["seconds"]
                if number >= 0:
                    times[part][name].append(seconds)
        print(f"round {number + 1}/{args.rounds}", file=sys.stderr)
    return times


def rows(times):
    for part, by_side in times.items():
        ours = by_side["ours"]
        for name, theirs in by_side.items():
            if name == "ours":
                continue
            yield {
                "part": part, "against": name,
                "ours_median": statistics.median(ours), "theirs_median": statistics.median(theirs),
                "ours_min": min(ours), "theirs_min": min(theirs),
                "ratio": statistics.median(a / b for a, b in zip(ours, theirs)),
                "ratio_of_minima": min(ours) / min(theirs),
            }


NAMES = {
    "step": "step alone", "load": "loader alone, a batch", "end-to-end": "step with loader",
    "first-pass": "decode and resize, an image",
}


def show(result):
    print(f"{result['config']}: batch {result['batch']}, {result['size']} px, {result['threads']} thread(s), "
          f"{result['workers']} worker(s), {result['rounds']} rounds{', PyTorch tuned' if result['tuned'] else ''}")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    agreement = result["check"]
    print(f"logits (up to {agreement['scale']:.0f}) agree to {agreement['logits']:.1e}, the loss to {agreement['loss']:.1e}\n")
    print("| ms | against | ours | PyTorch | ratio | ours, best | PyTorch, best | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for row in result["rows"]:
        ours, theirs, best, their_best = (
            f"{row[key] * 1000:.2f}" for key in ("ours_median", "theirs_median", "ours_min", "theirs_min"))
        print(f"| {NAMES[row['part']]} | {row['against']} | {ours} | {theirs} | **{row['ratio']:.2f}** "
              f"| {best} | {their_best} | {row['ratio_of_minima']:.2f} |")
    memory = ", ".join(f"{name} {size >> 20} MiB" for name, size in result["memory"].items())
    print(f"\npeak memory, helper processes included: {memory}")


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        sides = start(args, Path(folder))
        agreement = check(sides)
        times = measure(args, sides)
        memory = {name: side.memory() for name, side in sides.items()}
        for side in sides.values():
            side.quit()
    hello = sides["ours"].hello
    result = {
        "config": args.config.name, "batch": hello["train"]["batch"], "size": hello["preprocess"]["input_size"],
        "threads": args.threads, "workers": args.workers, "rounds": args.rounds,
        "tuned": args.tuned,
        "versions": {"host-trainer": hello["version"], **sides["cached"].hello},
        "check": agreement, "rows": list(rows(times)), "memory": memory, "seconds": times,
    }
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
