"""Tables of what compare.py measured, and the marks."""

from workers import HELD, OURS

# Of graph: the greatest ratio of our latency to that of the best other engine, on 1 and on 2 threads.
LATENCY = {"A": 0.90, "half": 0.75, "chexseg-edge": 0.75}
AVX2, MEMORY, LOAD = 1.0, 0.5, 1.0


def times(result):
    """One graph on so many threads: an engine a row."""
    rows = [["engine", "median ms", "min ms", "load ms", "first ms", "RSS MiB", "peak", "python", "differs", "masks"]]
    for engine, r in result["engines"].items():
        if "failed" in r:
            rows.append([engine, r["failed"][:110]])
            continue
        memory = [f"{r[key] / 1024:.1f}" for key in ("rss_kib", "peak_kib", "python_kib")]
        agreement = [f"{r['distance']:.4f}", f"{r['mask']:.2%}"] if "distance" in r else []
        latency = [f"{r[key]:.2f}" for key in ("median_ms", "min_ms")]
        rows.append([engine, *latency, f"{r['load_ms']:.1f}", f"{r['first_ms']:.1f}", *memory, *agreement])
    about = [f"  {r['about']}" for engine, r in result["engines"].items() if "about" in r and engine not in HELD]
    return "\n".join([f"{result['graph']}, threads: {result['threads']}", table(rows), *about])


def ratios(results):
    """Ours to the others: medians, and in brackets minima."""
    lines = []
    for ours, others in ("ours", free), ("ours-in-tract", free), ("ours-avx2", held):
        names = sorted({name for result in results for name in others(result)})
        if not names or not any(ran(result, ours) for result in results):
            continue
        rows = [[f"{ours} to", "threads", "the best", *names, "RSS", "RSS added", "load"]]
        for result in results:
            if ran(result, ours) and others(result):
                cells = [ratio(result, ours, others(result), key) for key in ("median_ms", "min_ms")]
                best = f"{cells[0]:.2f} ({cells[1]:.2f})"
                each = [
                    f"{ratio(result, ours, [name], 'median_ms'):.2f} ({ratio(result, ours, [name], 'min_ms'):.2f})"
                    if name in others(result)
                    else "-"
                    for name in names
                ]
                rest = [f"{ratio(result, ours, others(result), key):.2f}" for key in ("rss_kib", added, "load_ms")]
                rows.append([result["graph"], str(result["threads"]), best, *each, *rest])
        lines.append(table(rows))
    legend = (
        "RATIOS of medians (of minima); below 1 ours is better. RSS: our process to the leanest other one; RSS added:\n"
        "to what the leanest other engine adds to Python and numpy; load: to the fastest. ours-avx2 stands against\n"
        "the others held to AVX2 (hold.py)."
    )
    return "\n\n".join([legend, *lines])


def marks(results):
    rows = [["mark", "threads", "wanted", "got", ""]]

    def judge(what, result, bound, got):
        verdict = "not measured" if got is None else "met" if got <= bound else "MISSED"
        rows.append([what, str(result["threads"]), f"≤ {bound:.2f}", "-" if got is None else f"{got:.2f}", verdict])

    for result in results:
        graph = result["graph"]
        if graph in LATENCY:
            judge(f"{graph} latency", result, LATENCY[graph], ratio(result, "ours", free(result), "median_ms"))
            judge(f"{graph} AVX2 latency", result, AVX2, ratio(result, "ours-avx2", held(result), "median_ms"))
        judge(f"{graph} RSS", result, MEMORY, ratio(result, "ours", free(result), "rss_kib"))
        judge(f"{graph} RSS added", result, MEMORY, ratio(result, "ours", free(result), added))
        judge(f"{graph} load", result, LOAD, ratio(result, "ours", free(result), "load_ms"))
    return "MARKS of issue 5\n" + table(rows)


def added(r):
    """Memory of an engine: the process less Python and numpy; of them ours has none, so its whole process counts."""
    return r["rss_kib"] - r["python_kib"]


def ratio(result, ours, others, key):
    """Ours to the best of the others, or nothing where one of the two did not run."""
    value = key if callable(key) else lambda r: r[key]
    if not ran(result, ours) or not others:
        return None
    return value(result["engines"][ours]) / min(value(result["engines"][name]) for name in others)


def free(result):
    """Other engines that may use what they like."""
    return [name for name in result["engines"] if name not in (*OURS, *HELD) and ran(result, name)]


def held(result):
    return [name for name in result["engines"] if name in HELD and ran(result, name)]


def ran(result, engine):
    return "median_ms" in result["engines"].get(engine, {}) and "failed" not in result["engines"][engine]


def table(rows):
    width = max(len(row) for row in rows)
    full = [row + [""] * (width - len(row)) for row in rows]
    # A reason of failure may run over the columns beside it.
    sizes = [max(len(row[i]) for row, given in zip(full, rows) if len(given) > 2 or i == 0) for i in range(width)]
    aligned = [
        "  ".join([row[0].ljust(sizes[0]), *(cell.rjust(size) for cell, size in zip(row[1:], sizes[1:]))]).rstrip()
        for row in full
    ]
    return "\n".join(aligned)
