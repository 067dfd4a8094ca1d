use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::certificates::certificates;

/// A real PostgreSQL on a port of its own, without a password; killed when dropped.
pub struct Postgres {
    dir: TempDir,
    bin: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts a server with Debian's programs; says so and gives none if they are not installed.
    ///
    /// # Panics
    /// If they are, and fail.
    pub fn start() -> Option<Self> {
        Self::launch(false)
    }

    /// The same, which also speaks TLS; its authority is [`Postgres::authority`].
    ///
    /// # Panics
    /// If it fails.
    pub fn start_with_tls() -> Option<Self> {
        Self::launch(true)
    }

    fn launch(tls: bool) -> Option<Self> {
        let Some(bin) = programs() else {
            println!("SKIPPED: no /usr/lib/postgresql/*/bin/initdb (apt-get install postgresql)");
            return None;
        };
        let dir = tempfile::tempdir().expect("temporary folder");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        drop(listener);
        let server = Self { dir, bin, port };
        if tls {
            certificates(server.dir.path());
        }
        if is_root() {
            run(Command::new("chown").args(["-R", "nobody"]).arg(server.dir.path()));
        }
        run(server
            .program("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "central", "-D"])
            .arg(server.data()));
        let mut options =
            format!("-c listen_addresses=127.0.0.1 -c port={port} -k {}", server.dir.path().display());
        if tls {
            let file = |name: &str| server.dir.path().join(name).display().to_string();
            options += &format!(
                " -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
                file("cert.pem"),
                file("key.pem")
            );
        }
        let log = server.dir.path().join("log");
        run(server.program("pg_ctl").arg("-w").arg("-D").arg(server.data()).arg("-l").arg(log).args([
            "-o",
            options.as_str(),
            "start",
        ]));
        Some(server)
    }

    /// A database of its own, empty.
    ///
    /// # Panics
    /// If the server does not make it.
    pub fn database(&self, name: &str) -> String {
        let mut create = self.program("createdb");
        run(create.args(["-h", "127.0.0.1", "-U", "central", "-p"]).arg(self.port.to_string()).arg(name));
        format!("postgresql://central@127.0.0.1:{}/{name}", self.port)
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Ends it at once and starts it again, as after a power cut.
    ///
    /// # Panics
    /// If it does not come back.
    pub fn crash(&self) {
        run(self.program("pg_ctl").args(["-m", "immediate", "-w", "-D"]).arg(self.data()).arg("restart"));
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.program("pg_ctl").args(["-m", "immediate", "-D"]).arg(self.data()).arg("stop").status();
    }
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn run(command: &mut Command) {
    let output = command.stderr(Stdio::inherit()).status();
    let status = output.expect("a program that is installed starts");
    assert!(status.success(), "{} failed: {status}", Path::new(command.get_program()).display());
}
