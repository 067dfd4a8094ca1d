use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::{Clock, shipped_bundle, wait_for};

/// Folders and configuration of a device; its state outlives the agents started on it.
pub struct AgentSetup {
    dir: TempDir,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

/// A running `edge-agent run`; killed when dropped.
pub struct Agent {
    process: Child,
    log: PathBuf,
}

impl AgentSetup {
    /// A device with a watched folder, the shipped bundle and `require_ack`. `binary` is
    /// `env!("CARGO_BIN_EXE_agent-under-test")`, which only tests can name.
    pub fn new(binary: &str, broker_port: u16) -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let setup = Self { dir, binary: binary.into(), environment: Vec::new() };
        std::fs::create_dir(setup.inbox()).expect("temporary folder is writable");
        setup.write_config(&format!(
            "site = 'test-site'\n\
             device = 'cart-1'\n\
             bundle = '{}'\n\
             state_dir = 'state'\n\
             [mqtt]\n\
             host = '127.0.0.1'\n\
             port = {broker_port}\n\
             keep_alive_s = 5\n\
             max_backoff_s = 1\n\
             require_ack = true\n\
             [watch_folder]\n\
             path = 'inbox'\n\
             settle_ms = 100\n",
            shipped_bundle().display()
        ));
        setup
    }

    /// The clock of agents that start from now on.
    pub fn clock(&mut self) -> Clock {
        let clock = Clock::new(self.dir.path());
        self.environment = clock.environment();
        clock
    }

    /// Adds sections to the configuration.
    pub fn add_config(&self, text: &str) {
        let before = std::fs::read_to_string(self.config()).expect("it was written before");
        self.write_config(&format!("{before}{text}"));
    }

    /// Replaces the configuration.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).expect("temporary folder is writable");
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    /// A path in the device's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The watched folder.
    pub fn inbox(&self) -> PathBuf {
        self.dir.path().join("inbox")
    }

    /// A command line of the agent.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).stdin(Stdio::null()).current_dir(self.dir.path());
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts the daemon.
    pub fn start(&self) -> Agent {
        let log = self.dir.path().join("agent.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let process = self
            .command(&["run", "--config"])
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(file.expect("temporary folder is writable"))
            .spawn()
            .expect("the agent starts");
        Agent { process, log }
    }
}

impl Agent {
    /// What it has logged, with earlier agents on the same setup.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a child of ours can be asked").is_none()
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        self.process.kill().expect("a child of ours can be killed");
        self.process.wait().expect("a killed child ends");
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        let status = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(status.expect("kill exists").success(), "the agent had ended before:\n{}", read(&self.log));
        wait_for("the agent to stop", || self.process.try_wait().expect("a child of ours can be asked"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the agent's log:\n{}", read(&self.log));
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
