//! `edge-agent`, the device's only program.

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_agent::cli::main()
}
