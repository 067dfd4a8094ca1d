use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait_for;

/// A real mosquitto on a port of its own; killed when dropped.
pub struct Mosquitto {
    port: u16,
    /// Whether it remembers sessions and messages when it is killed.
    persistent: bool,
    dir: TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker on a free port of the loopback interface.
    pub fn start() -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut broker = Self { port, persistent: false, dir, process: None };
        broker.launch();
        broker
    }

    /// Like [`Mosquitto::start`], but it writes its sessions and messages to disk, as often as it can.
    pub fn persistent() -> Self {
        let mut broker = Self::reserved();
        broker.persistent = true;
        broker.launch();
        broker
    }

    /// A port where nothing listens yet; [`Mosquitto::launch`] will.
    pub fn reserved() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        Self { port: free_port(), persistent: false, dir, process: None }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it (again) on the same port; unless it is persistent, with no memory of what was before.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "mosquitto runs already");
        let memory = match self.persistent {
            true => format!(
                "persistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\n",
                self.dir.path().display()
            ),
            false => "persistence false\n".to_owned(),
        };
        let text = format!("listener {} 127.0.0.1\nallow_anonymous true\nuser root\n{memory}", self.port);
        self.process = Some(start(self.dir.path(), &text, self.port));
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child of ours can be killed");
            process.wait().expect("a killed child ends");
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts mosquitto with a configuration, writes that and its log into a folder, and waits until it listens.
pub(crate) fn start(folder: &Path, configuration: &str, port: u16) -> Child {
    let config = folder.join("mosquitto.conf");
    std::fs::write(&config, configuration).expect("temporary folder is writable");
    let log = std::fs::File::create(folder.join("mosquitto.log")).expect("temporary folder is writable");
    let process = Command::new(binary())
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mosquitto starts; tests/run.sh installs it");
    wait_for("mosquitto to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
    process
}

/// Debian keeps it out of users' search path.
fn binary() -> PathBuf {
    let system = Path::new("/usr/sbin/mosquitto");
    if system.exists() { system.to_owned() } else { "mosquitto".into() }
}

/// A port of the loopback interface on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback interface has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
