use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::certificates::certificates;
use crate::mosquitto::free_port;
use crate::wait_for;

const DICOM_WEB: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

/// Orthanc as a PACS that speaks DICOMweb only, for user `central` with password `secret`, behind a TLS terminator (socat) that
/// asks for certificates; Debian's Orthanc itself crashes at the first TLS connection. Everybody's authority, certificate and
/// key are `ca.pem`, `cert.pem` and `key.pem` in [`Orthanc::dir`]. Killed when dropped.
pub struct Orthanc {
    port: u16,
    /// Of Orthanc itself.
    inner: u16,
    dir: TempDir,
    processes: Vec<Child>,
}

impl Orthanc {
    /// A port where nothing listens yet; [`Orthanc::launch`] will.
    ///
    /// # Panics
    /// If there is no `openssl`.
    pub fn reserved() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        certificates(dir.path());
        let file = |name: &str| dir.path().join(name);
        let read = |name: &str| std::fs::read_to_string(file(name)).expect("openssl wrote it");
        std::fs::write(file("both.pem"), read("cert.pem") + &read("key.pem")).expect("a folder of ours");
        std::fs::create_dir(file("objects")).expect("a folder of ours");
        let inner = free_port();
        let config = json!({
            "Name": "PACS",
            "StorageDirectory": file("storage"),
            "HttpPort": inner,
            "DicomServerEnabled": false,
            "AuthenticationEnabled": true,
            "RegisteredUsers": { "central": "secret" },
            "Plugins": [DICOM_WEB],
        });
        std::fs::write(file("orthanc.json"), config.to_string()).expect("a folder of ours");
        Self { port: free_port(), inner, dir, processes: Vec::new() }
    }

    /// Where its web services are.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }

    /// Where certificates are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it or socat is not installed.
    pub fn launch(&mut self) {
        let Self { port, inner, .. } = *self;
        let terminator = format!(
            "openssl-listen:{port},bind=127.0.0.1,reuseaddr,fork,cert=both.pem,cafile=ca.pem,verify=1"
        );
        for (program, arguments, port) in [
            ("/usr/sbin/Orthanc", vec!["orthanc.json".to_owned()], inner),
            ("socat", vec![terminator, format!("tcp:127.0.0.1:{inner}")], port),
        ] {
            let log = File::create(self.dir.path().join("log")).expect("a folder of ours");
            let process = Command::new(program)
                .args(arguments)
                .current_dir(self.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|e| panic!("{program}: {e}; tests/run.sh installs it"));
            self.processes.push(process);
            wait_for(program, || TcpStream::connect(("127.0.0.1", port)).ok());
        }
    }

    /// Copies of the objects that it has, with the ending `.dcm`, in a folder of their own.
    ///
    /// # Panics
    /// If the file system refuses.
    pub fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir.path().join("storage")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path).is_ok_and(|bytes| bytes.get(128..132) == Some(b"DICM")) {
                    let name = path.file_name().expect("a file in a folder").to_string_lossy().into_owned();
                    let copy = self.dir.path().join("objects").join(format!("{name}.dcm"));
                    std::fs::copy(&path, &copy).expect("a folder of ours");
                    found.push(copy);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().expect("a child of ours can be killed");
            process.wait().expect("a killed child ends");
        }
    }
}
