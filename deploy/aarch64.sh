#!/bin/sh
# Builds for 64-bit Arm Linux on another Linux machine, and tests the result in an emulator.
#
#   sh deploy/aarch64.sh agent [OPTION]...  cross-builds the edge-agent, by default optimised; options go to `cargo build`
#   sh deploy/aarch64.sh test [OPTION]...   cross-builds qdq's tests and runs them with each instruction set;
#                                           options go to `cargo test`
#   sh deploy/aarch64.sh digest MODEL.onnx [INPUT.f32]
#                                           runs a quantized graph here and there with each instruction set: one digest?
#   sh deploy/aarch64.sh golden [BUNDLE]    analyses a bundle's golden images here and there: same logits, same masks?
#
# Needs Rust from rustup. Debian packages are installed when root, else named. The agent wants a C library at least as new
# as the one that the cross compiler comes with.
set -eu
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
libraries=/usr/aarch64-linux-gnu

say() { printf '\n== %s\n' "$*"; }
usage() {
    sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p;}' "$0" >&2
    exit 2
}

# need COMMAND:PACKAGE...
need() {
    missing=
    for pair; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
    done
    [ -e "$libraries/lib/crt1.o" ] || missing="$missing libc6-dev-arm64-cross"
    if [ -n "$missing" ]; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "installing$missing"
            apt-get -qq update
            # shellcheck disable=SC2086  # a list of words
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
        else
            echo "deploy/aarch64.sh: please install these packages:$missing" >&2
            echo "  sudo apt-get install$missing" >&2
            exit 1
        fi
    fi
    rustup -q target add "$target"
}

# A linker and an emulator for this target are no business of those who build on Arm itself: no .cargo/config.toml.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
emulate() {
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $libraries -cpu $1"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER
}
emulate max

# Of this processor, as CXR_ISA takes them.
here() {
    echo scalar
    for isa in avx2 avx512vnni; do
        ! sed 's/_//g' /proc/cpuinfo | grep -qw $isa || echo $isa
    done
}

# digests ISA PACKAGE EXAMPLE OPTION... -- ARGUMENT...: collects what an example prints with an instruction set.
digests() {
    isa=$1 package=$2 example=$3
    shift 3
    CXR_ISA=$isa cargo run --locked -q -p "$package" --example "$example" "$@" >"$out/lines"
    cat "$out/lines"
    cat "$out/lines" >>"$out/all"
}

# same FIELDS LINES: whether those fields of the lines collected are but so many.
same() {
    count=$(cut -d' ' -f"$1" "$out/all" | sort -u | wc -l)
    if [ "$count" -ne "$2" ]; then
        echo "deploy/aarch64.sh: the digests differ" >&2
        exit 1
    fi
    say "all the same"
}

[ $# -gt 0 ] || usage
command=$1
shift
case $command in
agent) need aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu ;;
test | digest | golden)
    need aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64-static:qemu-user-static
    out=$(mktemp -d)
    trap 'rm -r "$out"' EXIT
    ;;
*) usage ;;
esac

case $command in
agent)
    [ $# -gt 0 ] || set -- --release
    cargo build --locked -p edge-agent --target "$target" "$@"
    say "built"
    ls -l target/$target/*/edge-agent
    ;;
test)
    for isa in scalar neon dotprod i8mm; do
        say "$isa"
        CXR_ISA=$isa cargo test --locked -p qdq --lib --target "$target" "$@"
    done
    say "neon on a processor without extensions"
    emulate cortex-a53
    CXR_ISA=neon cargo test --locked -p qdq --lib --target "$target" "$@"
    ;;
digest)
    say "here"
    digests '' qdq digest -- "$@"
    say "aarch64"
    digests '' qdq digest --target "$target" -- "$@"
    same 1,4 1
    ;;
golden)
    bundle=${1:-models/chexseg-edge}
    for isa in $(here); do
        say "$isa"
        digests "$isa" edge-agent golden_digest -- "$bundle"
    done
    for isa in scalar neon dotprod i8mm; do
        say "aarch64 $isa"
        digests "$isa" edge-agent golden_digest --target "$target" -- "$bundle"
    done
    same 1- "$(wc -l <"$out/lines")"
    ;;
esac
