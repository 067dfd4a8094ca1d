#!/bin/sh
# Puts libtorch 2.11.0 into .libtorch, for host-trainer's feature `torch`. Nothing else needs it.
#
#   sh deploy/setup-libtorch.sh           CPU, carved out of the PyPI wheel: 544 MB to fetch, 500 MB on disk
#   sh deploy/setup-libtorch.sh --cuda    uses the CUDA torch 2.11.0 that $PYTHON (default python3) has installed
#
# $PYTHON needs pip. Done already: does nothing.
set -eu

TORCH=2.11.0 CUDART=13.0.96 CUPTI=13.0.85
root=$(cd "$(dirname "$0")/.." && pwd)
dest=$root/.libtorch
python=${PYTHON:-python3}

fail() { echo "setup-libtorch: $*" >&2; exit 1; }

case "${1:-}" in
'') want=$TORCH+cpu ;;
--cuda) want=$TORCH+cuda ;;
*) fail "unknown argument '$1'; see the head of $0" ;;
esac
if [ "$(cat "$dest/build-version" 2>/dev/null || true)" = "$want" ]; then
    echo "libtorch $want is in $dest"
    exit 0
fi

part=$dest.part
rm -rf "$part"
mkdir -p "$part/lib"

if [ "$want" = "$TORCH+cuda" ]; then
    torch=$("$python" -c 'import torch, pathlib
print(torch.__version__.split("+")[0], torch.version.cuda or "cpu", pathlib.Path(torch.__file__).parent)') \
        || fail "$python has no torch; install torch==$TORCH, or leave --cuda out"
    version=${torch%% *}; rest=${torch#* }; cuda=${rest%% *}; folder=${rest#* }
    [ "$version" = "$TORCH" ] || fail "torch is $version, tch 0.24 needs $TORCH"
    [ "$cuda" != cpu ] || fail "this torch has no CUDA; leave --cuda out"
    rmdir "$part/lib"
    ln -s "$folder/lib" "$part/lib"
    ln -s "$folder/include" "$part/include"
else
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/libtorch.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    echo "fetching the torch $TORCH wheel (544 MB)"
    "$python" -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir --only-binary=:all: -d "$tmp" \
        "torch==$TORCH" "nvidia-cuda-runtime==$CUDART" "nvidia-cuda-cupti==$CUPTI" \
        || fail "pip could not fetch the wheels; is the package index reachable?"
    # libtorch_cpu needs libcudart and libcupti even without a GPU; the 3 GB around them it does not.
    "$python" - "$tmp" "$part" <<'PY'
import pathlib, re, shutil, sys, zipfile

source, target = map(pathlib.Path, sys.argv[1:])
libraries = {"libtorch_cpu.so", "libc10.so", "libgomp.so.1"}
for wheel in sorted(source.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            path = pathlib.PurePosixPath(item.filename)
            if str(path.parent) == "torch/lib" and path.name in libraries:
                out = target / "lib" / path.name
            elif item.filename.startswith("torch/include/") and not item.is_dir():
                out = target / path.relative_to("torch")
            elif re.search(r"/lib/lib(cudart|cupti)\.so\.13$", item.filename):
                out = target / "lib" / path.name
            else:
                continue
            out.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(item) as reader, open(out, "wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
PY
    # torch-sys links -ltorch and -lgomp; the wheel's own libtorch.so would drag libtorch_cuda in.
    ln -s libtorch_cpu.so "$part/lib/libtorch.so"
    ln -s libgomp.so.1 "$part/lib/libgomp.so"
fi
echo "$want" >"$part/build-version"
rm -rf "$dest"
mv "$part" "$dest"
echo "libtorch $want is in $dest"
