//! Threads that share the bands of an operator's rows.

/// Threads that the caller owns. An operator is parted into bands; the calling thread and the pool's own take one after the
/// other.
#[derive(Debug)]
pub struct Pool {
    threads: usize,
}

impl Pool {
    /// A pool of so many threads, the calling one included; 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1) }
    }

    /// Threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.threads
    }
}
