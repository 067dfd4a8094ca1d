//! `cxr-central`, the server that takes what the devices publish.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_agent::central::cli::main()
}
