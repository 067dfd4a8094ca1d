//! A bench that another program drives, line by line.

use std::fs;
use std::io::{BufRead, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::{Bench, BenchError, Memory};

/// Answers each line of `commands` with a line of JSON, after a first line that describes the training:
/// `step N`, `load N`, `end-to-end N` and `first-pass` with `{"seconds": s}`, each for one step, batch or image;
/// `memory` with `{"resident": bytes, "peak": bytes}`; `check FILE` with `{}` once the file is written
/// ([`Bench::check`], safetensors); what it does not know with `{"error": text}`. Ends at `quit` or the end of input.
///
/// # Errors
/// If something cannot be measured or the pipe is closed.
pub fn serve(bench: &mut Bench, commands: impl BufRead, mut answers: impl Write) -> Result<(), BenchError> {
    let mut answer =
        |value: &Value| writeln!(answers, "{value}").and_then(|()| answers.flush()).map_err(BenchError::Pipe);
    answer(&bench.description())?;
    for line in commands.lines() {
        let line = line.map_err(BenchError::Pipe)?;
        match Command::parse(&line) {
            Some(Command::Quit) => return Ok(()),
            Some(command) => answer(&command.run(bench)?)?,
            None => answer(&json!({ "error": format!("unknown command: {line}") }))?,
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Step(u32),
    Load(u32),
    EndToEnd(u32),
    FirstPass,
    Memory,
    Check(&'a Path),
    Quit,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let count = || rest.parse().ok().filter(|count| *count > 0);
        match (name, rest) {
            ("step", _) => count().map(Self::Step),
            ("load", _) => count().map(Self::Load),
            ("end-to-end", _) => count().map(Self::EndToEnd),
            ("first-pass", "") => Some(Self::FirstPass),
            ("memory", "") => Some(Self::Memory),
            ("quit", "") => Some(Self::Quit),
            ("check", path) if !path.is_empty() => Some(Self::Check(Path::new(path))),
            _ => None,
        }
    }

    fn run(self, bench: &mut Bench) -> Result<Value, BenchError> {
        let seconds = |seconds: f64| json!({ "seconds": seconds });
        Ok(match self {
            Self::Step(count) => seconds(bench.step(count)?),
            Self::Load(count) => seconds(bench.load(count)?),
            Self::EndToEnd(count) => seconds(bench.end_to_end(count)?),
            Self::FirstPass => seconds(bench.first_pass()?),
            Self::Memory => json!(Memory::now()?),
            Self::Check(path) => {
                let bytes = bench.check()?.to_bytes();
                fs::write(path, bytes)
                    .map_err(|source| BenchError::Write { path: path.to_owned(), source })?;
                json!({})
            }
            Self::Quit => json!({}),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_and_others_refused() {
        assert_eq!(Command::parse("step 3"), Some(Command::Step(3)));
        assert_eq!(Command::parse("end-to-end 2 "), Some(Command::EndToEnd(2)));
        assert_eq!(Command::parse("check /tmp/a b"), Some(Command::Check(Path::new("/tmp/a b"))));
        for wrong in ["", "step", "step 0", "step -1", "load x", "memory now", "jump"] {
            assert_eq!(Command::parse(wrong), None, "{wrong}");
        }
    }
}
