"""Compares the latency, memory and load time of engines on one int8 graph after the other. README.md tells more.

usage: python compare.py [--engines NAME,...] [--threads N,...] [--graphs NAME,...] [--rounds N] [--runs N] [--loads N]
                         [--style ours|ort] [--worker FILE] [--folder DIR] [--json OUT]
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

import graphs
import machine
import report
from workers import ENGINES, ROOT, Bench, Failed, built

# Threads of other engines may spin for a while after their run.
PAUSE = 0.03
WARM = 3


def main():
    options = parsed()
    facts = machine.facts(ROOT)
    print(machine.told(facts), flush=True)
    bench = Bench(options.folder, options.worker or built())
    results = []
    for name in options.graphs:
        path = graphs.make(name, options.folder, options.style)
        print("\n" + graphs.line(name, path), flush=True)
        for threads in options.threads:
            result = {"graph": name, "threads": threads, "engines": compared(bench, options, path, threads)}
            print(report.times(result), flush=True)
            results.append(result)
    print("\n" + report.ratios(results))
    print("\n" + report.marks(results))
    facts["load_after"] = machine.facts(ROOT)["load"]
    print(f"\nload average {facts['load'][0]} before, {facts['load_after'][0]} after (the bench's own runs included)")
    if options.json:
        chosen = {key: str(value) for key, value in vars(options).items()}
        options.json.write_text(json.dumps({"machine": facts, "options": chosen, "results": results}, indent=1) + "\n")


def parsed():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--engines", type=names_of(ENGINES), default=ENGINES, help=",".join(ENGINES))
    arguments.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    arguments.add_argument("--graphs", type=names_of(graphs.NAMES), default=graphs.NAMES, help=",".join(graphs.NAMES))
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--runs", type=int, default=10, help="of each engine in each round")
    arguments.add_argument("--loads", type=int, default=5, help="fresh processes, for memory and load time")
    arguments.add_argument("--style", choices=("ours", "ort"), default="ours", help="who quantizes the random nets")
    arguments.add_argument("--worker", type=Path, help="our worker, if built already")
    arguments.add_argument("--folder", type=Path, default=ROOT / "target" / "qdq-bench", help="for what is generated")
    arguments.add_argument("--json", type=Path, metavar="OUT")
    options = arguments.parse_args()
    options.folder = options.folder.resolve()
    return options


def names_of(known):
    def names(text):
        wanted = text.split(",")
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
        return wanted

    return names


def compared(bench, options, path, threads):
    """What each engine took, or why it did not run."""
    results = {engine: measured_load(bench, engine, threads, path, options.loads) for engine in options.engines}
    workers = {}
    try:
        for engine in options.engines:
            attempt(results, engine, lambda: workers.update({engine: start(bench, engine, threads, path)}))
        interleave(workers, results, options.rounds, options.runs)
        compare_outputs(workers, results, bench.folder)
    finally:
        for worker in workers.values():
            worker.close()
    return results


def attempt(results, engine, action):
    """Does it, unless the engine failed before; notes a failure."""
    if "failed" not in results[engine]:
        try:
            action()
        except Failed as failure:
            results[engine]["failed"] = str(failure)


def start(bench, engine, threads, path):
    worker = bench.start(engine, threads, path, graphs.input_of(path))
    try:
        worker.run(WARM)
    except Failed:
        worker.close()
        raise
    return worker


def measured_load(bench, engine, threads, path, count):
    """Load time, first run and memory of fresh processes."""
    loads, firsts, memories = [], [], []
    result = {}
    try:
        for _ in range(count):
            worker = bench.start(engine, threads, path, graphs.input_of(path))
            try:
                result["about"] = worker.ask("about")
                loads.append(worker.load)
                firsts += worker.run(1)
                worker.run(WARM)
                memories.append(worker.rss())
            finally:
                worker.close()
    except Failed as failure:
        return {"failed": str(failure)}
    rss, peak, python = (statistics.median(values) for values in zip(*memories))
    return result | {
        "load_ms": statistics.median(loads),
        "first_ms": statistics.median(firsts),
        "rss_kib": rss,
        "peak_kib": peak,
        "python_kib": python,
    }


def interleave(workers, results, rounds, runs):
    engines = list(workers)
    kept = {engine: [] for engine in engines}
    for number in range(rounds):
        turn = number % len(engines) if engines else 0
        for engine in engines[turn:] + engines[:turn]:
            time.sleep(PAUSE)
            # The first run finds the caches full of another engine's data.
            attempt(results, engine, lambda: kept[engine].append(workers[engine].run(runs + 1)[1:]))
    for engine, values in kept.items():
        if values:
            every = [value for of_round in values for value in of_round]
            results[engine] |= {"median_ms": statistics.median(every), "min_ms": min(every), "rounds_ms": values}


def compare_outputs(workers, results, folder):
    """Each engine's planes against onnxruntime's, as a check that all of them computed the same graph."""
    planes = {}
    for engine, worker in workers.items():
        file = folder / f"{engine}.out"
        attempt(results, engine, lambda: worker.ask(f"save {file}"))
        if "failed" not in results[engine]:
            planes[engine] = np.fromfile(file, "<f4")
        file.unlink(missing_ok=True)
    reference = planes.get("onnxruntime")
    for engine, values in planes.items():
        if reference is not None and len(values) == len(reference):
            results[engine]["distance"] = float(np.abs(values - reference).mean() / np.ptp(reference))
            results[engine]["mask"] = float(((values > 0) == (reference > 0)).mean())


if __name__ == "__main__":
    main()
