//! The trainer's command line; everything it does is in the library.

mod allocator;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use host_trainer::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    allocator::keep_memory();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    Cli::parse().run().unwrap_or_else(|error| {
        tracing::error!("{}", error.describe());
        ExitCode::FAILURE
    })
}
