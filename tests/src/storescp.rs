use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::certificates::certificates;
use crate::mosquitto::free_port;
use crate::wait_for;

/// DCMTK's `storescp` as a PACS with AE title `PACS`; killed when dropped.
pub struct StoreScp {
    port: u16,
    dir: TempDir,
    tls: bool,
    process: Option<Child>,
}

impl StoreScp {
    /// A port where nothing listens yet; [`StoreScp::launch`] will.
    pub fn reserved() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        Self { port: free_port(), dir, tls: false, process: None }
    }

    /// The same, behind TLS with mutual authentication; everybody's authority, certificate and key are `ca.pem`,
    /// `cert.pem` and `key.pem` in [`StoreScp::dir`].
    ///
    /// # Panics
    /// If there is no `openssl`.
    pub fn reserved_with_tls() -> Self {
        let mut scp = Self::reserved();
        scp.tls = true;
        certificates(scp.dir());
        scp
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it puts what comes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it (again) on the same port and folder.
    ///
    /// # Panics
    /// If it is not installed.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "storescp runs already");
        let mut command = Command::new("storescp");
        if self.tls {
            command.args(["--enable-tls", "key.pem", "cert.pem", "--add-cert-file", "ca.pem"]);
            command.arg("--require-peer-cert").current_dir(self.dir());
        }
        let process = command
            .args(["--aetitle", "PACS", "--filename-extension", ".dcm", "--output-directory"])
            .arg(self.dir.path())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("storescp starts; tests/run.sh installs dcmtk");
        self.process = Some(process);
        wait_for("storescp to listen", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child of ours can be killed");
            process.wait().expect("a killed child ends");
        }
    }

    /// The objects that it has.
    pub fn objects(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> =
            entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "dcm")).collect();
        paths.sort();
        paths
    }
}

impl Drop for StoreScp {
    fn drop(&mut self) {
        self.kill();
    }
}
