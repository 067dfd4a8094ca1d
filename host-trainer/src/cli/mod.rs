//! The command line: parses arguments, calls the library, prints.
//!
//! Exit status: 0 done; 1 failed, the reason on stderr; 2 wrong usage; 3 stopped by a signal with a
//! checkpoint written, so that the same command with `--resume` goes on.

mod average;
mod bench;
mod bundle;
mod check;
mod compare;
mod compute;
mod device;
mod ensemble;
mod error;
mod evaluate;
mod export;
mod figures;
mod gallery;
mod graph;
mod import;
mod list;
mod output;
mod phantom;
mod recover;
mod report;
mod run;
mod train;
mod weak;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use device::DeviceChoice;
pub use error::CliError;
use output::say;
use tracing_subscriber::EnvFilter;

/// Exit status of a training that a signal stopped.
pub const STOPPED: u8 = 3;

/// Trains CheXseg models and exports them for the edge agent.
#[derive(Debug, Parser)]
#[command(name = "host-trainer", version, about, after_help = EXIT_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_HELP: &str = "Exit status: 0 done; 1 failed (reason on stderr); 2 wrong usage; 3 stopped by a signal \
                         with a checkpoint written (give the same command again, with --resume where there is such an option).\n\nData sets are looked for in the folder \
                         CHEXSEG_DATA, else in shared/data beside the working folder or one of its parents.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration: keys, ranges, data folders, files, splits.
    Check(check::Args),
    /// Check data sets of any format to the last pixel and write them in one normal form.
    Import(import::Args),
    /// Print the network's layers, output shapes, parameters and multiply-accumulates.
    Graph(graph::Args),
    /// Print the image files of a split, one a line.
    List(list::Args),
    /// Write synthetic radiographs with masks as a folder data set.
    Phantom(phantom::Args),
    /// Train on phantoms.
    Pretrain(train::PretrainArgs),
    /// Train a segmenter on expert masks, and on pseudo-masks, images without masks and teachers where given.
    Train(train::TrainArgs),
    /// Do what is missing of an experiment: every stage of every arm, to the report.
    Run(run::Args),
    /// Train the classifier on image-level labels.
    Classifier(weak::ClassifierArgs),
    /// Write where a classifier sees its findings.
    Saliency(weak::SaliencyArgs),
    /// Train IRNet's edges.
    Edges(weak::EdgesArgs),
    /// Make pseudo-masks of saliency, refined by IRNet or not.
    PseudoMasks(weak::PseudoArgs),
    /// Measure masks against expert masks.
    Evaluate(evaluate::Args),
    /// Write a page about one training: curves, validations, configuration.
    Report(report::Args),
    /// Write a bundle for the edge agent.
    Export(export::Args),
    /// Show radiographs to a bundle through the edge agent: figures, and every image to look at.
    Gallery(gallery::Args),
    /// Sign, verify and look into bundles, and make keys for that.
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Take the model back out of a bundle whose checkpoint is lost, to train on or to teach.
    Recover(recover::Args),
    /// Average the weights that a training began with and those that it ended with.
    Average(average::Args),
    /// Put trained networks side by side as one model, for boxes with time to spare.
    Ensemble(ensemble::Args),
    /// Measure how fast training is, part by part, and the memory it takes.
    Bench(bench::Args),
}

/// The program: parses the arguments, runs the command, tells on stderr why it failed.
pub fn main() -> ExitCode {
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

impl Cli {
    /// Runs the command.
    pub fn run(&self) -> Result<ExitCode, CliError> {
        match &self.command {
            Command::Check(args) => check::run(args),
            Command::Import(args) => import::run(args),
            Command::Graph(args) => graph::run(args),
            Command::List(args) => list::run(args),
            Command::Phantom(args) => phantom::run(args),
            Command::Pretrain(args) => train::pretrain(args),
            Command::Train(args) => train::train(args),
            Command::Run(args) => run::run(args),
            Command::Classifier(args) => weak::classifier(args),
            Command::Saliency(args) => weak::saliency(args),
            Command::Edges(args) => weak::edges(args),
            Command::PseudoMasks(args) => weak::pseudo_masks(args),
            Command::Evaluate(args) => evaluate::run(args),
            Command::Report(args) => report::run(args),
            Command::Export(args) => export::run(args),
            Command::Gallery(args) => gallery::run(args),
            Command::Bundle(command) => bundle::run(command),
            Command::Recover(args) => recover::run(args),
            Command::Average(args) => average::run(args),
            Command::Ensemble(args) => ensemble::run(args),
            Command::Bench(args) => bench::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
