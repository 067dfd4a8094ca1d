/// Prints a line to stdout. Unlike `println!` it does not panic when the reader has gone (`… | head`).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        // Nobody is left to tell.
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

pub(super) use say;
