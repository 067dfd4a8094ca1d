use shared::message::{Message, ResultEnvelope};
use shared::pixel::PixelFrame;
use tempfile::TempDir;
use uuid::Uuid;

use super::super::worker::Worker;
use super::*;
use crate::decode::fixtures::PHANTOM;
use crate::decode::{DecodeLimits, decode_bytes};
use crate::specimen::dicom_file;
use crate::store::{ImageId, Origin};
use crate::testing::write_bundle;

const UID: &str = "1.2.840.99.7";

/// A worker and what it works on.
struct Bench {
    _dir: TempDir,
    store: Store,
    worker: Worker,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("model")).unwrap();
        let bundle = write_bundle(&dir.path().join("model")).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        Self { _dir: dir, worker: Worker::alone(store.clone(), bundle), store }
    }

    /// Takes an image through the worker; gives the id of its result.
    fn take(&mut self, file: &[u8]) -> Uuid {
        let id = self.store.stage(file, 1 << 30).unwrap().commit(Origin::Unknown).unwrap().id();
        assert!(self.worker.step().unwrap());
        assert_eq!(id, ImageId::of(file));
        self.store.image(id).unwrap().unwrap().result_id.unwrap()
    }

    fn revision(&self, result: Uuid) -> Option<String> {
        let envelope = self.store.envelope(result).unwrap().unwrap();
        ResultEnvelope::parse(&envelope).unwrap().image.revision
    }
}

/// All pixels of the image that is sent.
fn phantom() -> PixelFrame {
    decode_bytes(&PHANTOM.file(UID), &DecodeLimits::default()).unwrap().frame
}

fn uncompressed(frame: &PixelFrame) -> Vec<u8> {
    dicom_file(frame, &UID.parse().unwrap())
}

/// The same image in another file.
fn again(mut file: Vec<u8>) -> Vec<u8> {
    file[0] ^= 1;
    file
}

fn other(mut frame: PixelFrame) -> PixelFrame {
    frame.samples_mut()[100_000] ^= 0x4000;
    frame
}

fn hex(frame: &PixelFrame) -> String {
    frame.sha256().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn jpeg_2000_and_then_the_same_without_compression_is_one_image() {
    let mut bench = Bench::new();
    let first = bench.take(&PHANTOM.file(UID));
    assert_eq!(bench.revision(first), None);
    let plain = uncompressed(&phantom());
    assert_eq!(bench.take(&plain), first);
    // Both are known by now, without their files.
    assert!(bench.store.finish(first).unwrap());
    assert_eq!(bench.take(&again(plain)), first);
    assert_eq!(bench.take(&again(PHANTOM.file(UID))), first);
}

#[test]
fn without_compression_and_then_as_jpeg_2000_is_one_image_even_once_it_is_delivered() {
    let mut bench = Bench::new();
    let first = bench.take(&uncompressed(&phantom()));
    assert!(bench.store.finish(first).unwrap());
    assert_eq!(bench.take(&PHANTOM.file(UID)), first);
}

#[test]
fn other_pixels_are_a_revision_named_after_all_of_them_however_they_come() {
    let mut bench = Bench::new();
    let changed = other(phantom());
    let first = bench.take(&uncompressed(&changed));
    let revised = bench.take(&PHANTOM.file(UID));
    assert_ne!(revised, first);
    assert_eq!(bench.revision(revised), Some(hex(&phantom())));
    assert_eq!(bench.take(&uncompressed(&phantom())), revised);
    assert_eq!(bench.take(&again(uncompressed(&changed))), first);
    assert_eq!(bench.take(&again(PHANTOM.file(UID))), revised);

    let mut bench = Bench::new();
    let first = bench.take(&PHANTOM.file(UID));
    let revised = bench.take(&uncompressed(&changed));
    assert_ne!(revised, first);
    assert_eq!(bench.revision(revised), Some(hex(&changed)));
    assert_eq!(bench.take(&again(PHANTOM.file(UID))), first);
}

/// As the module says: nothing is left of the first one that could be compared.
#[test]
fn jpeg_2000_that_was_delivered_is_the_same_as_jpeg_2000_and_a_revision_without_compression() {
    let mut bench = Bench::new();
    let first = bench.take(&PHANTOM.file(UID));
    assert!(bench.store.finish(first).unwrap());
    let revised = bench.take(&uncompressed(&phantom()));
    assert_ne!(revised, first);
    assert_eq!(bench.revision(revised), Some(hex(&phantom())));
    assert_eq!(bench.take(&again(PHANTOM.file(UID))), first);
}

#[test]
fn a_first_image_whose_file_is_damaged_is_not_compared() {
    let mut bench = Bench::new();
    let file = PHANTOM.file(UID);
    let first = bench.take(&file);
    let path = bench.store.dir().join("images").join(ImageId::of(&file).to_hex());
    std::fs::write(path, uncompressed(&phantom())).unwrap();
    assert_ne!(bench.take(&uncompressed(&phantom())), first);
}
