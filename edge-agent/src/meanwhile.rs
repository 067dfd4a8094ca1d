use std::panic::resume_unwind;
use std::thread;

/// Two results, the first computed on a thread of its own where the system gives one.
pub(crate) fn meanwhile<A: Send, B>(aside: impl Fn() -> A + Sync, work: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let beside = thread::Builder::new().spawn_scoped(scope, &aside);
        let done = work();
        let found = match beside {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => aside(),
        };
        (found, done)
    })
}
