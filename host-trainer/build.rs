//! Lets plain `cargo run` and `cargo test` find libtorch, and keeps its CUDA half linked. The end-to-end tests
//! use it too.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by torch-sys (a direct dependency) under the feature `torch`.
    let Ok(dir) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    // A CUDA torch finds its nvidia libraries relative to its real place, not to a link.
    let dir = PathBuf::from(&dir).canonicalize().unwrap_or_else(|_| dir.into());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", dir.display());
    // rustc links with --as-needed, which drops libtorch_cuda.so (no symbol is referenced directly)
    // and leaves a CUDA machine without CUDA.
    if dir.join("libtorch_cuda.so").exists() {
        println!("cargo:rustc-link-arg=-Wl,--push-state,--no-as-needed");
        println!("cargo:rustc-link-arg=-L{}", dir.display());
        println!("cargo:rustc-link-arg=-ltorch_cuda");
        println!("cargo:rustc-link-arg=-Wl,--pop-state");
    }
}
