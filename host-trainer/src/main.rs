//! The trainer's command line; everything it does is in the library.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep_memory();
    host_trainer::cli::main()
}
