use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::wait_for;

/// Folder and configuration of a central server; its database outlives the servers started on it.
pub struct CentralSetup {
    dir: TempDir,
    binary: PathBuf,
}

/// A running `cxr-central run`; killed when dropped.
pub struct Central {
    process: Child,
    log: PathBuf,
}

impl CentralSetup {
    /// A server with a SQLite file. `binary` is `env!("CARGO_BIN_EXE_central-under-test")`, which only tests can name;
    /// `more` is added to the configuration.
    pub fn new(binary: &str, instance: &str, broker_port: u16, more: &str) -> Self {
        Self::with_database(binary, instance, broker_port, "sqlite:central.db", more)
    }

    /// A server with any database.
    pub fn with_database(binary: &str, instance: &str, broker_port: u16, url: &str, more: &str) -> Self {
        let setup = Self { dir: tempfile::tempdir().expect("temporary folder"), binary: binary.into() };
        setup.write_config(&format!(
            "instance = '{instance}'\n\
             [mqtt]\n\
             host = '127.0.0.1'\n\
             port = {broker_port}\n\
             keep_alive_s = 5\n\
             max_backoff_s = 1\n\
             [database]\n\
             url = '{url}'\n\
             {more}"
        ));
        setup
    }

    /// Replaces the configuration.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).expect("temporary folder is writable");
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("central.toml")
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A command line with `--config`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null());
        command.current_dir(self.dir.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs a command that prints JSON, one value a line.
    ///
    /// # Panics
    /// If it fails.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {stderr}");
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("one JSON value a line")).collect()
    }

    /// The ids of every result that is kept, each as often as there is a row of it.
    pub fn result_ids(&self) -> Vec<String> {
        let rows = self.json(&["results", "list", "--json", "--limit", "1000000"]);
        rows.iter().map(|row| row["result_id"].as_str().expect("an id").to_owned()).collect()
    }

    /// Starts the daemon.
    pub fn start(&self) -> Central {
        let log = self.dir.path().join("central.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let process = self
            .command(&["run"])
            .stdout(Stdio::null())
            .stderr(file.expect("temporary folder is writable"))
            .spawn()
            .expect("central starts");
        Central { process, log }
    }

    /// Starts the daemon and waits until it serves: only then does the broker keep what comes for it.
    pub fn start_and_connect(&self) -> Central {
        let before = std::fs::read_to_string(self.dir.path().join("central.log")).unwrap_or_default();
        let count = |log: &str| log.matches("subscribed").count();
        let central = self.start();
        wait_for("central to subscribe", || (count(&central.log()) > count(&before)).then_some(()));
        central
    }
}

impl Central {
    /// What it has logged, with earlier servers on the same setup.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        self.process.kill().expect("a child of ours can be killed");
        self.process.wait().expect("a killed child ends");
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        let status = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(status.expect("kill exists").success(), "central had ended before:\n{}", self.log());
        wait_for("central to stop", || self.process.try_wait().expect("a child of ours can be asked"))
    }
}

impl Drop for Central {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- central's log:\n{}", self.log());
        }
    }
}
