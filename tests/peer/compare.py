"""Our agent against peer.py, on the same images through the same broker.

Usage: compare.py [--images 40] [--rounds 3] [--threads 1] [--json FILE]
Needs release builds (README.md) and requirements.txt in the interpreter that runs this. Both sides live at once and take turns;
nothing else may compute meanwhile. Prints a table of ratios, ours / peer.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target/release"
BUNDLE = ROOT / "models/chexseg-edge"
PORTS = {"ours": 21112, "peer": 21113}
BROKER = 21883


def jpeg2000(source, target):
    dataset = dcmread(source)
    pixels = numpy.frombuffer(dataset.PixelData, numpy.uint16).reshape(dataset.Rows, dataset.Columns)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.save_as(target, enforce_file_format=True)


def wait_for_port(port):
    import socket

    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nobody listens on {port}")


def memory(process):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "VmRSS"))}
    return {"rss_mib": int(values["VmRSS"]) / 1024, "peak_mib": int(values["VmHWM"]) / 1024}


def environment():
    """What the service runs with."""
    lines = (ROOT / "deploy/systemd/edge-agent.service").read_text().splitlines()
    words = [line.removeprefix("Environment=").split() for line in lines if line.startswith("Environment=")]
    return os.environ | dict(word.split("=", 1) for line in words for word in line)


def start(folder, threads):
    (folder / "mosquitto.conf").write_text(f"listener {BROKER} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    mosquitto = "/usr/sbin/mosquitto" if Path("/usr/sbin/mosquitto").exists() else "mosquitto"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    broker = subprocess.Popen([mosquitto, "-c", folder / "mosquitto.conf"], **quiet)
    wait_for_port(BROKER)
    (folder / "agent.toml").write_text(
        f"site = 'bench'\ndevice = 'ours'\nbundle = '{BUNDLE}'\nstate_dir = '{folder}/state'\nthreads = {threads}\n"
        f"[mqtt]\nhost = '127.0.0.1'\nport = {BROKER}\n"
        f"[dicom]\nlisten = '127.0.0.1:{PORTS['ours']}'\nmax_pdu_bytes = 1048576\n"
    )
    (folder / "spool").mkdir()
    log = open(folder / "agent.log", "w")
    ours = subprocess.Popen([RELEASE / "edge-agent", "run", "--config", folder / "agent.toml"], stderr=log, env=environment())
    script = Path(__file__).with_name("peer.py")
    arguments = [str(a) for a in (BUNDLE, PORTS["peer"], BROKER, folder / "spool", threads)]
    peer = subprocess.Popen([sys.executable, script, *arguments], stdout=subprocess.DEVNULL)
    for port in PORTS.values():
        wait_for_port(port)
    return broker, {"ours": ours, "peer": peer}


def station(*words):
    output = subprocess.run([RELEASE / "station", *map(str, words)], capture_output=True, text=True)
    if output.returncode:
        sys.exit(output.stderr)
    return output.stdout


def percentile(values, share):
    return float(numpy.percentile(values, share))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        station("make", folder / "plain", 4)
        plain = sorted((folder / "plain").iterdir())
        (folder / "jpeg2000").mkdir()
        for file in plain:
            jpeg2000(file, folder / "jpeg2000" / file.name)
        kinds = {"uncompressed": plain, "JPEG 2000": sorted((folder / "jpeg2000").iterdir())}
        broker, sides = start(folder, options.threads)
        try:
            report = measure(options, kinds, sides)
        finally:
            for process in (*sides.values(), broker):
                process.terminate()
                process.wait()
    show(report)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


def measure(options, kinds, sides):
    report = {"load": os.getloadavg(), "kinds": {}, "memory": {}}
    for kind, files in kinds.items():
        results = {side: {"latency_ms": [], "response_ms": [], "images_per_s": []} for side in sides}
        for side in sides:
            station("run", PORTS[side], BROKER, 1, 4, *files)
        for _ in range(options.rounds):
            for side in sides:
                one = json.loads(station("run", PORTS[side], BROKER, 1, options.images, *files))
                results[side]["latency_ms"] += one["latency_ms"]
                results[side]["response_ms"] += one["response_ms"]
            for side in sides:
                many = json.loads(station("run", PORTS[side], BROKER, 4, options.images, *files))
                results[side]["images_per_s"].append(many["images_per_s"])
        report["kinds"][kind] = results
    report["memory"] = {side: memory(process) for side, process in sides.items()}
    return report


def show(report):
    print(f"load average before: {report['load'][0]:.1f}")
    print(f"{'':14}{'':24}{'ours':>10}{'peer':>10}{'ratio':>8}")

    def row(kind, name, ours, peer):
        print(f"{kind:14}{name:24}{ours:10.1f}{peer:10.1f}{ours / peer:8.2f}")

    for kind, sides in report["kinds"].items():
        for name, share in (("p50 ms", 50), ("p95 ms", 95)):
            row(kind, f"to published, {name}", *(percentile(sides[s]["latency_ms"], share) for s in ("ours", "peer")))
        row(kind, "C-STORE answer, p50 ms", *(percentile(sides[s]["response_ms"], 50) for s in ("ours", "peer")))
        row(kind, "C-STORE answer, max ms", *(max(sides[s]["response_ms"]) for s in ("ours", "peer")))
        row(kind, "images/s, 4 associations", *(statistics.median(sides[s]["images_per_s"]) for s in ("ours", "peer")))
    row("memory", "RSS MiB", *(report["memory"][s]["rss_mib"] for s in ("ours", "peer")))
    row("memory", "peak MiB", *(report["memory"][s]["peak_mib"] for s in ("ours", "peer")))


main()
