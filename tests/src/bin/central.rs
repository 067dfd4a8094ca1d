//! `cxr-central` as it is shipped, built for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_agent::central::cli::main()
}
