use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use shared::phantom::{PhantomParams, render};
use shared::pixel::PixelFrame;
use tempfile::TempDir;

use crate::Unit;
use crate::dcmtk::{dicom_file, stored};

/// Images that DCMTK's `storescu` sends over one association.
const BATCH: usize = 3;
/// Root of the SOP Instance UIDs.
const ROOT: &str = "1.2.826.0.1.3680043.8.498";

/// A unit that makes exposures without end, and sends each until it is told that it was taken.
pub struct Exposures {
    taken: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exposures {
    /// Sends to a port of this machine. Two of them need different numbers.
    pub fn start(port: u16, number: usize) -> Self {
        let (taken, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (taken, stop) = (Arc::clone(&taken), Arc::clone(&stop));
            move || {
                let folder = tempfile::tempdir().expect("temporary folder");
                let frame = render(&PhantomParams::random(number as u64, 160, 144)).expect("valid").frame;
                let unit = Unit::new(port);
                for batch in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let exposures = (0..BATCH).map(|n| expose(&folder, &frame, number, batch * BATCH + n));
                    let mut left: Vec<(String, PathBuf)> = exposures.collect();
                    while !left.is_empty() {
                        let files: Vec<PathBuf> = left.iter().map(|(_, file)| file.clone()).collect();
                        let count = stored(&unit.store(&["--timeout", "20"], &files));
                        let mut taken = taken.lock().expect("no thread panics while it holds the lock");
                        taken.extend(left.drain(..count.min(left.len())).map(|(uid, _)| uid));
                        drop(taken);
                        if count == 0 {
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                }
            }
        });
        Self { taken, stop, thread: Some(thread) }
    }

    /// How many images were taken so far.
    pub fn count(&self) -> usize {
        self.taken.lock().expect("no thread panics while it holds the lock").len()
    }

    /// Stops once what was exposed is sent, and tells the SOP Instance UIDs of what was taken.
    pub fn finish(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the unit does not panic");
        }
        self.taken.lock().expect("no thread panics while it holds the lock").clone()
    }
}

impl Drop for Exposures {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn expose(folder: &TempDir, frame: &PixelFrame, unit: usize, number: usize) -> (String, PathBuf) {
    let uid = format!("{ROOT}.{unit}.{number}");
    let path = folder.path().join(format!("{}.dcm", number % BATCH));
    let mut frame = frame.clone();
    // Each image is one of its own.
    frame.samples_mut()[..2].copy_from_slice(&[(number / 65_536) as u16, (number % 65_536) as u16]);
    dicom_file(&path, &frame, &uid);
    (uid, path)
}
