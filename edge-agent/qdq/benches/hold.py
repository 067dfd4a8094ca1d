"""Copies an installed package with its AVX-512 switched off, for engines that offer no way to ask for that.

usage: python hold.py PACKAGE OUT    then PYTHONPATH=OUT python ...

onnxruntime and XNNPACK look at the processor themselves (cpuid, then xgetbv) and read no environment variable. In the
copy every xgetbv becomes `mov al, 7`: as on a system that does not save the 512-bit registers, where both fall back to
their AVX2 kernels. Nothing else changes. AVX-VNNI (256 bits) stays, and AMX might be taken for there: so the script
refuses processors that have one of them, as ours has neither.
"""

import importlib.util
import platform
import shutil
import sys
from pathlib import Path

XGETBV, MOV_AL_7 = b"\x0f\x01\xd0", b"\xb0\x07\x90"
# Where cpuid, or the zero that xgetbv takes in ecx, stands near, it is an instruction and no chance in data.
NEAR, SIGNS = 96, (b"\x0f\xa2", b"\x31\xc9", b"\x33\xc9", b"\xb9\x00\x00\x00\x00")
REFUSED = ("avx_vnni", "amx_int8")
# Large, and not needed to run a graph.
UNUSED = ("vendors", "transformers", "*WebGpu*", "*_gpu_plugin*", "*_npu_plugin*")


class CannotHold(Exception):
    pass


def hold(package, folder):
    """Returns the files that were changed, and in how many places."""
    if platform.machine() != "x86_64":
        raise CannotHold("there is no AVX2 to hold it to")
    if present := [flag for flag in REFUSED if flag in flags()]:
        raise CannotHold(f"this processor has {' and '.join(present)}, which the change does not switch off")
    source = Path(importlib.util.find_spec(package).origin).parent
    target, unfinished = folder / package, folder / f"{package}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=shutil.ignore_patterns("__pycache__", *UNUSED))
    changed = {}
    for path in sorted(unfinished.rglob("*.so*")):
        code = bytearray(path.read_bytes())
        at = code.find(XGETBV)
        while at >= 0:
            before = code[max(0, at - NEAR) : at]
            if any(sign in before for sign in SIGNS):
                code[at : at + len(XGETBV)] = MOV_AL_7
                changed[path.name] = changed.get(path.name, 0) + 1
            at = code.find(XGETBV, at + 1)
        path.write_bytes(code)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    return changed


def flags():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split())
    return set()


if __name__ == "__main__":
    for name, places in hold(sys.argv[1], Path(sys.argv[2])).items():
        print(f"{name}: {places} places")
