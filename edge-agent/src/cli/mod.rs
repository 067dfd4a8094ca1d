//! The command line.

mod bench;
mod bundle;
pub(crate) mod check;
mod demo;
mod error;
mod infer;
mod output;
mod queue;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::error::CommandError;
use crate::decode;
use crate::exit_code::{self, Exit, ExitStatus};

/// Segments chest radiographs beside the X-ray unit and publishes the masks over MQTT.
///
/// For research; not a medical device.
#[derive(Debug, Parser)]
#[command(name = "edge-agent", version, after_help = exit_code::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Segment files and print the findings.
    Infer(infer::InferArgs),
    /// Run the daemon.
    Run(run::RunArgs),
    /// Verify configuration, bundle, folders and broker.
    Check(check::CheckArgs),
    /// Look at what waits, and deal with what was set aside.
    Queue(queue::QueueArgs),
    /// Measure speed and memory, and tell which nodes of the graph run in 8-bit kernels.
    Bench(bench::BenchArgs),
    /// Show everything at work: broker, agent, X-ray unit and subscriber in one process.
    Demo(demo::DemoArgs),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    decode::silence_decoder_panics();
    let outcome = match Cli::parse().command {
        Command::Infer(args) => infer::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Queue(args) => queue::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Demo(args) => demo::main(args),
    };
    outcome.unwrap_or_else(|error| report(&error)).into()
}

fn report(error: &CommandError) -> Exit {
    // Whoever read our output left: no failure of ours.
    if error.is_broken_pipe() {
        return Exit::Ok;
    }
    eprintln!("error: {error}");
    error.exit()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_ends_with_the_exit_codes() {
        assert!(Cli::command().render_help().to_string().trim_end().ends_with("70  internal error"));
    }

    #[test]
    fn a_wrong_command_line_exits_as_documented() {
        for args in [&["edge-agent", "infer"][..], &["edge-agent", "run"], &["edge-agent", "fly"]] {
            let error = Cli::try_parse_from(args).unwrap_err();
            assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{args:?}");
        }
    }
}
