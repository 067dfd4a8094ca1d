//! The trainer's command line; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    host_trainer::cli::main()
}
