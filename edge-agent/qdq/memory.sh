#!/bin/sh
# What runs a graph, without tract: a crate of nothing else, for Miri and sanitizers, which take hours for tract.
#   sh memory.sh miri [TESTS]      the portable code; needs the components miri and rust-src of a nightly toolchain
#   sh memory.sh address [TESTS]   all x86 kernels that the processor has, with AddressSanitizer
set -eu
own=$(cd "$(dirname "$0")" && pwd)
crate=${QDQ_MEMORY_DIR:-$own/../../target/qdq-memory}
mkdir -p "$crate/src"
cat > "$crate/Cargo.toml" <<TOML
[package]
name = "qdq-memory"
edition = "2024"
[dependencies]
thiserror = "2"
[dev-dependencies]
proptest = "1"
[workspace]
TOML
{
    echo '#![allow(dead_code, unused_imports, unreachable_pub)]'
    for module in graph/mod isa kernels/mod pool port program/mod; do
        echo "#[path = \"$own/src/$module.rs\"] mod $(echo "$module" | sed 's|/mod||');"
    done
    echo "#[cfg(test)] #[path = \"$own/src/reference/mod.rs\"] mod reference;"
    # Times are of sessions, which are not there.
    echo 'mod profile {'
    sed -n '/^pub struct LayerTime/,/^}/p' "$own/src/profile.rs"
    echo '}'
    echo 'pub use isa::Isa; pub use pool::Pool; pub use port::{Sink, Source};'
} > "$crate/src/lib.rs"
cd "$crate"
what=${1:-miri}
[ $# -eq 0 ] || shift
case $what in
miri) MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}" cargo +nightly miri test -- "$@" ;;
address) RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target x86_64-unknown-linux-gnu -- "$@" ;;
*) echo "usage: memory.sh miri|address [TESTS]" >&2; exit 2 ;;
esac
