use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shared::pixel::PixelFrame;

/// DCMTK's `echoscu` and `storescu`, the units of these tests.
pub struct Unit {
    port: u16,
}

impl Unit {
    /// A unit that sends to a port of this machine.
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// C-ECHO, true if it was answered.
    pub fn echo(&self) -> bool {
        self.run("echoscu", &[], &[]).status.success()
    }

    /// Sends files over one association, and goes on when one is refused.
    pub fn store(&self, options: &[&str], files: &[PathBuf]) -> Output {
        let mut all = vec!["--no-halt", "-aet", "ROOM-1"];
        all.extend(options);
        self.run("storescu", &all, files)
    }

    fn run(&self, tool: &str, options: &[&str], files: &[PathBuf]) -> Output {
        Command::new(tool)
            .args(options)
            .args(["-v", "-aec", "CHEXSEG", "127.0.0.1"])
            .arg(self.port.to_string())
            .args(files)
            .output()
            .expect("DCMTK is there; tests/run.sh installs it")
    }
}

/// Writes a radiograph as DICOM: MONOCHROME2, 16 bit, Explicit VR Little Endian.
pub fn dicom_file(path: &Path, frame: &PixelFrame, sop_instance_uid: &str) {
    let uid = sop_instance_uid.parse().expect("a UID");
    std::fs::write(path, edge_agent::specimen::dicom_file(frame, &uid)).expect("the folder is writable");
}

/// Converts a DICOM file with one of DCMTK's tools, such as `dcmcjpeg`.
///
/// # Panics
/// If the tool fails.
pub fn convert(tool: &str, options: &[&str], from: &Path, to: &Path) {
    let status = Command::new(tool).args(options).arg(from).arg(to).status();
    assert!(status.expect("DCMTK is there; tests/run.sh installs it").success(), "{tool} {options:?}");
}

/// How many files a `storescu` was told were stored. With several files it stops at the first association that breaks,
/// so that these are the first ones.
pub fn stored(output: &Output) -> usize {
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    text.matches("Received Store Response (Success)").count()
}
