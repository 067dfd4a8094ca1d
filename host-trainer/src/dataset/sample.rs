use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shared::mask::{Mask, Rle};
use shared::pixel::{ImageLimits, PixelFrame};
use shared::preprocess::{Letterbox, PreprocessSpec, letterbox_frame};

use super::{DatasetError, MaskSource, Record, ensure_room};

/// An image in its own pixels with its masks, class by class.
#[derive(Clone, Debug)]
pub struct Annotated {
    /// [`Record::id`], or the phantom's name.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// Pseudonym of the patient.
    pub patient: String,
    /// The radiograph.
    pub frame: PixelFrame,
    /// One entry a class; `None` where the source does not annotate the class.
    pub masks: Vec<Option<Mask>>,
}

/// An image on the model's grid, as small as it can be kept: the cache that every epoch draws from. A clone shares
/// its pixels, so an image may stand in several pools at the price of one.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name for messages.
    pub id: String,
    /// How the model's grid lies over the image.
    pub letterbox: Letterbox,
    /// `input_size²` grey values, 0..=65535 for 0..1, padding 0.
    pub image: Arc<[u16]>,
    /// One entry a class: coverage of each pixel, 0..=255 for 0..1. `None`: not annotated.
    pub targets: Vec<Option<Arc<[u8]>>>,
}

impl Annotated {
    /// Resizes to the model's grid through the device's own preprocessing.
    pub fn to_sample(&self, spec: &PreprocessSpec) -> Sample {
        let boxed = letterbox_frame(&self.frame, spec);
        let targets = self.masks.iter().map(|mask| {
            let coverage = boxed.letterbox.mask_to_model(mask.as_ref()?);
            Some(coverage.iter().map(|v| (v * 255.0).round() as u8).collect())
        });
        Sample {
            id: self.id.clone(),
            targets: targets.collect(),
            image: boxed.data.iter().map(|v| (v * 65535.0).round() as u16).collect(),
            letterbox: boxed.letterbox,
        }
    }
}

/// Grey values 0..1 as the network reads them, rounded as the device rounds.
pub(super) fn normalize(gray: &[f32], mean: f32, std: f32) -> impl Iterator<Item = f32> {
    let scale = 1.0 / std;
    gray.iter().map(move |v| (v - mean) * scale)
}

impl Sample {
    /// Side of the model's grid, pixels.
    pub fn size(&self) -> usize {
        self.letterbox.input_size
    }

    /// Whether each class is annotated.
    pub fn annotated(&self) -> Vec<bool> {
        self.targets.iter().map(Option::is_some).collect()
    }

    /// Grey values 0..1, padding 0.
    pub fn gray(&self) -> Vec<f32> {
        self.image.iter().map(|&v| f32::from(v) / 65535.0).collect()
    }

    /// Whether each pixel shows the radiograph, not padding.
    pub(crate) fn inside(&self) -> Vec<bool> {
        let Letterbox { input_size, pad_top, pad_left, content_rows, content_cols, .. } = self.letterbox;
        let rows = pad_top..pad_top + content_rows;
        let cols = pad_left..pad_left + content_cols;
        (0..input_size)
            .flat_map(|r| {
                let (in_row, cols) = (rows.contains(&r), cols.clone());
                (0..input_size).map(move |c| in_row && cols.contains(&c))
            })
            .collect()
    }

    /// Grey values as the network reads them: (v − mean) / std.
    pub fn normalized(&self, mean: f32, std: f32) -> Vec<f32> {
        normalize(&self.gray(), mean, std).collect()
    }

    /// The class's mask on the model's grid: pixels covered by half or more. `None`: not annotated.
    pub fn mask(&self, class: usize) -> Option<Mask> {
        let coverage = self.targets[class].as_ref()?;
        let size = self.size();
        Some(Mask::from_data(size, size, coverage.iter().map(|&v| u8::from(v >= 128)).collect()))
    }
}

/// Reads a record's image and the masks of `labels`, in their order.
pub fn load_annotated(record: &Record, labels: &[String]) -> Result<Annotated, DatasetError> {
    let frame = read_frame(&record.image)?;
    let masks = labels.iter().map(|label| {
        let Some(source) = record.masks.get(label) else { return Ok(None) };
        match source {
            MaskSource::Files(files) => union_of(files, &frame),
            MaskSource::Cut { of, without } => {
                let mut mask = union_of(of, &frame)?;
                mask.subtract(&union_of(without, &frame)?);
                Ok(mask)
            }
            MaskSource::Codes(codes) => {
                let mut mask = Mask::empty(frame.rows(), frame.cols());
                for code in codes {
                    mask.merge(&decode(code, record, label, &frame)?);
                }
                Ok(mask)
            }
        }
        .map(Some)
    });
    let masks = masks.collect::<Result<_, DatasetError>>()?;
    Ok(Annotated {
        id: record.id.clone(),
        source: record.source.clone(),
        patient: record.patient.clone(),
        frame,
        masks,
    })
}

/// Reads and resizes many records, in their order, on all cores.
pub fn load_samples(
    records: &[Record],
    labels: &[String],
    spec: &PreprocessSpec,
) -> Result<Vec<Sample>, DatasetError> {
    load_samples_on(cores(), records, labels, spec)
}

/// As [`load_samples`], on `workers` threads.
pub fn load_samples_on(
    workers: usize,
    records: &[Record],
    labels: &[String],
    spec: &PreprocessSpec,
) -> Result<Vec<Sample>, DatasetError> {
    let planes = |record: &Record| labels.iter().filter(|label| record.masks.contains_key(*label)).count();
    let bytes = |record: &Record| (2 + planes(record)) * spec.input_size * spec.input_size;
    let bytes: u64 = records.iter().map(|record| bytes(record) as u64).sum();
    ensure_room(&format!("{} decoded images", records.len()), bytes)?;
    in_parallel_on(workers, records.len(), |i| Ok(load_annotated(&records[i], labels)?.to_sample(spec)))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `f(0..n)` on all cores; results in order, the first error by number.
pub(crate) fn in_parallel<T: Send>(
    n: usize,
    f: impl Fn(usize) -> Result<T, DatasetError> + Sync,
) -> Result<Vec<T>, DatasetError> {
    in_parallel_on(cores(), n, f)
}

fn in_parallel_on<T: Send>(
    workers: usize,
    n: usize,
    f: impl Fn(usize) -> Result<T, DatasetError> + Sync,
) -> Result<Vec<T>, DatasetError> {
    let workers = workers.clamp(1, n.max(1));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return done;
            }
            done.push((i, f(i)));
        }
    };
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().map_err(|_| DatasetError::Worker))
            .collect::<Result<Vec<_>, _>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

fn read_frame(path: &Path) -> Result<PixelFrame, DatasetError> {
    let picture = |source| DatasetError::Picture { path: path.to_owned(), source };
    let file = File::open(path).map_err(|error| picture(error.into()))?;
    PixelFrame::decode(BufReader::new(file), ImageLimits::default()).map_err(picture)
}

/// Decodes a run-length code of the frame's size.
fn decode(code: &Rle, record: &Record, label: &str, frame: &PixelFrame) -> Result<Mask, DatasetError> {
    let (rows, cols) = (frame.rows(), frame.cols());
    if code.size != [rows, cols] {
        let [mask_rows, mask_cols] = code.size;
        let path = format!("the {label} mask of {}", record.id).into();
        return Err(DatasetError::MaskSize {
            path,
            rows: mask_rows,
            cols: mask_cols,
            image_rows: rows,
            image_cols: cols,
        });
    }
    code.decode().map_err(|source| DatasetError::Code {
        id: record.id.clone(),
        label: label.to_owned(),
        source,
    })
}

/// Reads a mask picture of the frame's size; foreground is the upper half of the grey range.
fn union_of(files: &[PathBuf], frame: &PixelFrame) -> Result<Mask, DatasetError> {
    let mut mask = Mask::empty(frame.rows(), frame.cols());
    for path in files {
        mask.merge(&read_mask(path, frame)?);
    }
    Ok(mask)
}

fn read_mask(path: &Path, frame: &PixelFrame) -> Result<Mask, DatasetError> {
    let mask = read_frame(path)?;
    if (mask.rows(), mask.cols()) != (frame.rows(), frame.cols()) {
        return Err(DatasetError::MaskSize {
            path: path.to_owned(),
            rows: mask.rows(),
            cols: mask.cols(),
            image_rows: frame.rows(),
            image_cols: frame.cols(),
        });
    }
    let data = mask.samples().iter().map(|&v| u8::from(v > 127 * 257)).collect();
    Ok(Mask::from_data(mask.rows(), mask.cols(), data))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dataset::Split;

    fn record(dir: &Path, masks: &[(&str, &[&str])]) -> Record {
        let files = |names: &[&str]| MaskSource::Files(names.iter().map(|name| dir.join(name)).collect());
        Record {
            id: "a".into(),
            dataset: "d".into(),
            source: "s".into(),
            patient: "p".into(),
            split: Split::StrongTrain,
            image: dir.join("a.png"),
            masks: masks.iter().map(|(label, names)| ((*label).to_owned(), files(names))).collect(),
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }
    }

    fn write(path: &Path, rows: u32, cols: u32, gray: impl Fn(u32, u32) -> u8) {
        image::GrayImage::from_fn(cols, rows, |c, r| image::Luma([gray(r, c)])).save(path).unwrap();
    }

    #[test]
    fn masks_are_united_thresholded_and_missing_classes_unknown() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a.png"), 4, 6, |_, c| (c * 40) as u8);
        write(&dir.path().join("m1.png"), 4, 6, |r, _| if r == 0 { 128 } else { 127 });
        write(&dir.path().join("m2.png"), 4, 6, |r, _| if r == 3 { 255 } else { 0 });
        let record = record(dir.path(), &[("both", &["m1.png", "m2.png"]), ("absent", &[])]);
        let labels = ["both", "absent", "unknown"].map(str::to_owned);
        let annotated = load_annotated(&record, &labels).unwrap();
        assert_eq!(annotated.masks[0], Some(Mask::from_fn(4, 6, |r, _| r == 0 || r == 3)));
        assert_eq!(annotated.masks[1], Some(Mask::empty(4, 6)));
        assert_eq!(annotated.masks[2], None);

        let spec = PreprocessSpec { input_size: 16, ..PreprocessSpec::default() };
        let sample = annotated.to_sample(&spec);
        assert_eq!((sample.image.len(), sample.size()), (256, 16));
        assert!(sample.mask(0).is_some_and(|mask| mask.area() > 0));
        assert_eq!((sample.mask(1), sample.mask(2)), (Some(Mask::empty(16, 16)), None));
    }

    #[test]
    fn a_mask_of_another_size_and_a_broken_picture_are_named() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a.png"), 4, 6, |_, _| 9);
        write(&dir.path().join("m.png"), 4, 5, |_, _| 255);
        let labels = ["heart".to_owned()];
        let error = load_annotated(&record(dir.path(), &[("heart", &["m.png"])]), &labels).unwrap_err();
        assert!(matches!(error, DatasetError::MaskSize { cols: 5, image_cols: 6, .. }), "{error}");
        std::fs::write(dir.path().join("m.png"), b"no picture").unwrap();
        let error =
            load_annotated(&record(dir.path(), &[("heart", &["m.png"])]), &labels).unwrap_err().to_string();
        assert!(error.contains("m.png"), "{error}");
    }

    #[test]
    fn parallel_work_keeps_its_order_and_its_first_error() {
        let squares = in_parallel(100, |i| Ok(i * i)).unwrap();
        assert!(squares.iter().enumerate().all(|(i, square)| *square == i * i));
        let error = in_parallel(100, |i| match i {
            3 => Err(DatasetError::NothingToDraw("three")),
            70 => Err(DatasetError::NothingToDraw("seventy")),
            _ => Ok(()),
        });
        assert!(matches!(error, Err(DatasetError::NothingToDraw("three"))));
    }
}
