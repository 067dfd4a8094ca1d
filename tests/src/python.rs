use std::path::PathBuf;
use std::process::Command;

use crate::workspace;

/// Runs a script with the Python that `tests/run.sh` set up and gives its standard output.
///
/// # Panics
/// If there is none, or the script fails.
pub fn python(script: &str, arguments: &[&str]) -> String {
    let output = python_command(script).args(arguments).output().expect("an interpreter that exists starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed ({}):\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("scripts print UTF-8")
}

/// A script with the Python that `tests/run.sh` set up, to be started.
///
/// # Panics
/// If there is none.
pub fn python_command(script: &str) -> Command {
    let interpreter = std::env::var_os("CHEXSEG_PYTHON")
        .map_or_else(|| workspace().join(".venv/bin/python"), PathBuf::from);
    assert!(
        interpreter.exists(),
        "{} is absent: run `sh tests/run.sh`, which sets it up",
        interpreter.display()
    );
    let mut command = Command::new(interpreter);
    command.arg(workspace().join("tests").join(script));
    command
}
