//! `host-trainer` as it is shipped, built for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    host_trainer::cli::main()
}
