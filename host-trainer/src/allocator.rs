//! How glibc's allocator is told to keep the memory it has.
//!
//! A training step allocates and frees hundreds of megabytes in large blocks. By default glibc takes each from the
//! system and gives it back, and the system zeroes every page anew: a fifth of a step. Only the environment of a
//! starting program can tell it otherwise without foreign code, so the program starts itself once more.

/// Large blocks come from the heap, the heap does not shrink, and huge pages hold it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:\
                        glibc.malloc.top_pad=67108864:glibc.malloc.hugetlb=1";

/// The commands that train.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRAINING: [&str; 6] = ["pretrain", "train", "classifier", "edges", "run", "bench"];

/// Starts the program again, in the same process, with [`TUNABLES`]. Does nothing where the environment has tunables
/// already (an empty `GLIBC_TUNABLES` keeps glibc's own) and on systems without glibc.
pub(crate) fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;

        if std::env::var_os("GLIBC_TUNABLES").is_some() {
            return;
        }
        let mut arguments = std::env::args_os();
        let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
        let arguments: Vec<_> = arguments.collect();
        // Whatever does not train is over before it would gain anything.
        if !arguments.first().is_some_and(|command| TRAINING.iter().any(|name| command == name)) {
            return;
        }
        let mut again = std::process::Command::new(program);
        // Comes back only if it fails; then the training is slower, and that is all.
        let _ = again.arg0(name).args(arguments).env("GLIBC_TUNABLES", TUNABLES).exec();
    }
}
