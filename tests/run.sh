#!/bin/sh
# Installs what the tests need and runs every test of every crate, the torch half included.
#
# Needs a Rust toolchain, a C compiler and python3. Debian packages are installed when root, else named;
# Python packages go into .venv, libtorch into .libtorch, both inside the tree.
# Arguments go to `cargo test`, such as the name of a test.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

# command:package pairs; g++ compiles torch-sys.
missing=
for pair in mosquitto:mosquitto minisign:minisign g++:g++ storescu:dcmtk openssl:openssl dciodvfy:dicom3tools Orthanc:orthanc-dicomweb socat:socat; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
done
[ -d /usr/lib/postgresql ] || missing="$missing postgresql"
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing$missing"
        apt-get -qq update
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
    else
        echo "tests/run.sh: please install these packages:$missing" >&2
        echo "  sudo apt-get install$missing" >&2
        exit 1
    fi
fi

say "Python packages"
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt

say "libtorch"
if [ -n "${LIBTORCH:-}" ] || [ "${LIBTORCH_USE_PYTORCH:-}" = 1 ]; then
    echo "as the environment says"
else
    PYTHON=.venv/bin/python sh deploy/setup-libtorch.sh
fi

say "cargo test"
CHEXSEG_PYTHON=$PWD/.venv/bin/python
export CHEXSEG_PYTHON
exec cargo test --locked --workspace --features host-trainer/torch,e2e-tests/torch "$@"
