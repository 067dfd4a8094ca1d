//! What the service manager and a monitor hear of the program itself.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "these are tests, helpers too")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use edge_agent::testing::write_bundle;

/// A guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

struct Service {
    process: Child,
    manager: UnixDatagram,
    dir: tempfile::TempDir,
}

impl Service {
    /// Starts the daemon as systemd does, with a journal that is a file. Nobody listens where its broker should be.
    fn start(log_format: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("model")).unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        write_bundle(&dir.path().join("model")).unwrap();
        let config = format!(
            "site='s'\ndevice='d'\nbundle='model'\nallow_unsigned=true\nstate_dir='state'\n[mqtt]\nhost='127.0.0.1'\n\
             port=1\n[watch_folder]\npath='in'\n[log]\nformat='{log_format}'\n"
        );
        fs::write(dir.path().join("agent.toml"), config).unwrap();
        let socket = dir.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let journal = fs::File::create(dir.path().join("journal")).unwrap();
        let stream = journal.metadata().map(|file| format!("{}:{}", file.dev(), file.ino())).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
            .args(["run", "--config", "agent.toml"])
            .current_dir(dir.path())
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "300000")
            .env("JOURNAL_STREAM", stream)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(journal)
            .spawn()
            .unwrap();
        Self { process, manager, dir }
    }

    /// The next message that has this in it; what comes before it.
    fn until(&self, awaited: &str) -> (String, Vec<String>) {
        let (start, mut before) = (Instant::now(), Vec::new());
        while start.elapsed() < PATIENCE {
            let mut buffer = [0; 4096];
            let n =
                self.manager.recv(&mut buffer).unwrap_or_else(|e| panic!("no {awaited}: {e}; {before:?}"));
            let message = String::from_utf8_lossy(&buffer[..n]).trim().to_owned();
            if message.contains(awaited) {
                return (message, before);
            }
            before.push(message);
        }
        panic!("no {awaited}; {before:?}");
    }
}

impl Service {
    fn stop(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.until("STOPPING=1");
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_service_manager_hears_ready_watchdog_status_and_stopping_without_any_broker() {
    let mut service = Service::start("text");
    // Told once: before it is ready or after, and of the broker alone at first where the store is slow to answer.
    let (_, before) = service.until("READY=1");
    let status = before.into_iter().find(|message| message.contains("0 images"));
    let status = status.unwrap_or_else(|| service.until("0 images").0);
    assert!(status.starts_with("STATUS=") && status.contains("no broker"), "{status}");
    // Fed again and again while nothing happens: rest is no fault.
    for _ in 0..5 {
        service.until("WATCHDOG=1");
    }
    service.stop();
}

#[test]
fn the_journal_gets_priorities_and_neither_times_nor_colours() {
    for (format, ready) in [("text", "<6>"), ("json", "<6>{")] {
        let mut service = Service::start(format);
        service.until("READY=1");
        let path = service.dir.path().join("journal");
        let start = Instant::now();
        while !fs::read_to_string(&path).unwrap().contains("results wait") {
            assert!(start.elapsed() < PATIENCE, "no word of the broker that is not there");
            thread::sleep(Duration::from_millis(20));
        }
        service.stop();
        let journal = fs::read_to_string(&path).unwrap();
        assert!(
            journal.lines().any(|line| line.starts_with(ready) && line.contains("starting")),
            "{journal}"
        );
        assert!(journal.lines().any(|line| line.starts_with("<4>")), "no broker is a warning: {journal}");
        for line in journal.lines() {
            let text = line.strip_prefix(['<']).and_then(|rest| rest.split_once('>')).unwrap_or_default();
            assert!(["3", "4", "6", "7"].contains(&text.0), "{line}");
            assert!(
                !line.contains('\x1b') && !line.contains("timestamp") && !text.1.starts_with("20"),
                "{line}"
            );
        }
    }
}
