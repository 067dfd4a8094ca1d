"""What the numbers were taken on."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = "onnx", "onnxruntime", "openvino", "ai-edge-litert", "flatbuffers", "numpy"
# Those that decide which kernels run.
FLAGS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "amx_int8",
    "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip


def facts(root):
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    family = "/".join(fields.get(key, "?") for key in ("cpu family", "model", "stepping"))
    return {
        "processor": f"{fields.get('model name', platform.machine())} (family/model/stepping {family})",
        "cpus": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "hypervisor": "hypervisor" in flags,
        "kernel": platform.release(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "rustc": output("rustc", "--version"),
        "commit": output("git", "-C", root, "describe", "--always", "--dirty"),
    }


def told(facts):
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    lines = [
        f"processor  {facts['processor']}, {facts['cpus']} CPUs{', virtual' if facts['hypervisor'] else ''}",
        f"flags      {' '.join(facts['flags'])}; governor {facts['governor'] or 'unknown'}",
        f"software   Linux {facts['kernel']}, {facts['rustc']}, Python {facts['python']}, {packages}",
        f"commit     {facts['commit']}",
        f"load       {' '.join(map(str, facts['load']))} before the first run",
    ]
    if facts["load"][0] > 0.2 * facts["cpus"]:
        lines.append("NOISY      others compute on this machine: trust no ratio below")
    return "\n".join(lines)


def read(path):
    return Path(path).read_text().strip() if Path(path).exists() else None


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
