use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};

use super::DecodeError;

thread_local! {
    /// Whether this thread runs a decoder whose panic is an error about its input.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a third-party decoder so that a panic on hostile data is an error about that data.
pub(super) fn guarded<T>(
    what: &'static str,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let outer = GUARDED.replace(true);
    // What the closure touches is dropped on unwinding; nothing half-made survives.
    let result = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(outer);
    result.unwrap_or(Err(DecodeError::Crashed { what }))
}

/// Keeps panics of decoders off stderr, where the error that they become is told anyway. Call once, early.
pub fn silence_decoder_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            report(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_error_and_the_guard_ends_with_it() {
        let error = guarded::<()>("JPEG", || panic!("index out of bounds")).unwrap_err();
        assert!(error.to_string().contains("JPEG decoder gave up"), "{error}");
        assert!(!GUARDED.get());
    }

    #[test]
    fn an_inner_guard_leaves_the_outer_one_standing() {
        let still = guarded("outer", || {
            guarded("inner", || Ok(()))?;
            Ok(GUARDED.get())
        });
        assert!(still.unwrap());
    }
}
