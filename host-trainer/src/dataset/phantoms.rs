use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use rand::Rng;
use serde::{Deserialize, Serialize};
use shared::mask::Mask;
use shared::phantom::{Phantom, PhantomParams, Structure, draw_devices, render};
use shared::preprocess::{Letterbox, PreprocessSpec};

use super::sample::in_parallel;
use super::{Annotated, DatasetError, Sample, Stream, ensure_room, stream_rng};

/// Which synthetic radiographs to draw from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhantomSpec {
    /// How many different phantoms are rendered before training begins; every draw augments one of them.
    pub pool: usize,
    /// Longer side in pixels at which a phantom is rendered. Above `input_size`, so that the resize that
    /// real radiographs go through acts on phantoms as well.
    pub size: usize,
    /// Smallest ratio of the shorter to the longer side, 0.1 to 1; the shorter is 64 pixels or more.
    pub min_aspect: f32,
    /// Seed of the pool, apart from the training's.
    pub seed: u64,
    /// Structures whose union is a class. A class that is not named here is the structure of its own label, or
    /// unknown on phantoms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, Vec<Structure>>,
}

impl Default for PhantomSpec {
    fn default() -> Self {
        Self { pool: 400, size: 448, min_aspect: 0.8, seed: 1, classes: BTreeMap::new() }
    }
}

/// The thickness of soft tissue, mm, that a device of [`device_pool`] attenuates as at most; more is cut.
pub const DEVICE_RANGE: f32 = 256.0;

impl PhantomSpec {
    /// The class that phantoms' devices are, if one of `labels` is.
    pub fn devices_class(&self, labels: &[String]) -> Option<usize> {
        self.classes_of(labels, &[Structure::SupportDevices]).next()
    }

    /// The classes that together are the lungs, as far as `labels` have them.
    pub fn lung_classes(&self, labels: &[String]) -> Vec<usize> {
        self.classes_of(labels, &[Structure::LeftLung, Structure::RightLung]).collect()
    }

    fn classes_of(&self, labels: &[String], of: &[Structure]) -> impl Iterator<Item = usize> {
        let is = |label: &String| structures(self, label).iter().any(|structure| of.contains(structure));
        labels.iter().enumerate().filter(move |(_, label)| is(label)).map(|(class, _)| class)
    }
}

/// Parameters of phantom `number` of a pool: anatomy, findings and acquisition from its own seed, and a
/// random portrait or landscape shape.
pub fn pool_params(spec: &PhantomSpec, number: u64) -> PhantomParams {
    let mut rng = stream_rng(spec.seed, Stream::Phantom, number);
    let aspect = rng.random_range(spec.min_aspect.clamp(0.1, 1.0)..=1.0);
    let (long, short) = (spec.size, (spec.size as f32 * aspect).round() as usize);
    let (rows, cols) = if rng.random() { (long, short) } else { (short, long) };
    PhantomParams::random(rng.random(), rows, cols)
}

/// Renders the pool on all cores and resizes it to the model's grid. Classes that the phantom does not know
/// have no target.
pub fn phantom_pool(
    spec: &PhantomSpec,
    labels: &[String],
    preprocess: &PreprocessSpec,
) -> Result<Vec<Sample>, DatasetError> {
    let structures: Vec<_> = labels.iter().map(|label| structures(spec, label)).collect();
    let planes = 2 + structures.iter().filter(|joined| !joined.is_empty()).count();
    let bytes = spec.pool * planes * preprocess.input_size * preprocess.input_size;
    ensure_room(&format!("{} phantoms", spec.pool), bytes as u64)?;
    in_parallel(spec.pool, |i| {
        let phantom = rendered(&pool_params(spec, i as u64))?;
        let masks = structures.iter().map(|joined| united(&phantom, joined)).collect();
        let name = format!("phantom/{i}");
        let annotated = Annotated {
            id: name.clone(),
            source: "phantom".into(),
            patient: name,
            frame: phantom.frame,
            masks,
        };
        Ok(annotated.to_sample(preprocess))
    })
}

/// Devices of as many phantoms as the pool has, on the model's grid: the image says what they attenuate, in shares of
/// [`DEVICE_RANGE`], the targets where they and the lungs are. Phantoms without devices are passed over.
pub fn device_pool(spec: &PhantomSpec, preprocess: &PreprocessSpec) -> Result<Vec<Sample>, DatasetError> {
    let size = preprocess.input_size;
    ensure_room(&format!("devices of {} phantoms", spec.pool), (4 * spec.pool * size * size) as u64)?;
    let drawn = |seed| PhantomParams::random(seed, size, size);
    let mut rng = stream_rng(spec.seed, Stream::Devices, 0);
    let with_devices = std::iter::repeat_with(|| drawn(rng.random()))
        .filter(|params| !params.findings.devices.is_empty())
        .take(spec.pool);
    let params: Vec<PhantomParams> = with_devices.collect();
    in_parallel(params.len(), |i| {
        let params = &params[i];
        let devices =
            draw_devices(params).map_err(|source| DatasetError::Phantom { seed: params.seed, source })?;
        let covered = |mask: Mask| Some(mask.data().iter().map(|&inside| inside * 255).collect());
        let share = |mm: &f32| (mm / DEVICE_RANGE * 65535.0).round() as u16;
        Ok(Sample {
            id: format!("devices/{i}"),
            letterbox: Letterbox::new(size, size, size),
            image: devices.thickness.iter().map(share).collect(),
            targets: [devices.mask, devices.lungs].map(covered).into(),
        })
    })
}

/// Writes `count` phantoms as a folder data set (16-bit PNG, masks for every structure, `labels.csv` with
/// the split `strong_train`), readable by [`super::FolderSpec`] with `image = "png/{filename}"` and
/// `mask = "mask/{class}/{filename}"`.
pub fn write_phantom_folder(spec: &PhantomSpec, count: usize, out: &Path) -> Result<(), DatasetError> {
    let create = |path: &Path| fs::create_dir_all(path).map_err(|error| unwritten(path, error));
    create(&out.join("png"))?;
    for s in Structure::ALL {
        create(&out.join("mask").join(s.label()))?;
    }
    let lines = in_parallel(count, |i| {
        let params = pool_params(spec, i as u64);
        let phantom = rendered(&params)?;
        let name = format!("{i:05}.png");
        let path = out.join("png").join(&name);
        phantom.frame.to_image16().save(&path).map_err(|error| unwritten(&path, error))?;
        let mut line = format!("{name},phantom-{i:05},strong_train,{}", params.seed);
        for (s, present) in Structure::ALL.map(|s| (s, !phantom.mask(s).is_empty())) {
            let path = out.join("mask").join(s.label()).join(&name);
            phantom.mask(s).to_gray().save(&path).map_err(|error| unwritten(&path, error))?;
            line.push_str(if present { ",1" } else { ",0" });
        }
        Ok(line)
    })?;
    let path = out.join("labels.csv");
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
        write!(file, "filename,patient,split,seed")?;
        for s in Structure::ALL {
            write!(file, ",has_{}", s.label())?;
        }
        writeln!(file)?;
        for line in &lines {
            writeln!(file, "{line}")?;
        }
        file.flush()
    };
    write().map_err(|error| unwritten(&path, error))
}

fn structures(spec: &PhantomSpec, label: &str) -> Vec<Structure> {
    let own = || Structure::ALL.into_iter().filter(|s| s.label() == label).collect();
    spec.classes.get(label).cloned().unwrap_or_else(own)
}

/// The union of some structures; none of none.
fn united(phantom: &Phantom, structures: &[Structure]) -> Option<Mask> {
    let (first, others) = structures.split_first()?;
    let mut mask = phantom.mask(*first).clone();
    for other in others {
        mask.merge(phantom.mask(*other));
    }
    Some(mask)
}

fn rendered(params: &PhantomParams) -> Result<Phantom, DatasetError> {
    render(params).map_err(|source| DatasetError::Phantom { seed: params.seed, source })
}

fn unwritten(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DatasetError {
    DatasetError::Write { path: path.to_owned(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use shared::preprocess::PreprocessSpec;

    use super::*;
    use crate::dataset::{FolderSpec, Imported, load_annotated};

    fn preprocess() -> PreprocessSpec {
        PreprocessSpec { input_size: 64, ..PreprocessSpec::default() }
    }

    #[test]
    fn a_class_may_join_structures() {
        let mut spec = PhantomSpec { pool: 1, size: 128, ..PhantomSpec::default() };
        let labels = ["left_lung", "right_lung", "lungs"].map(str::to_owned);
        assert!(phantom_pool(&spec, &labels, &preprocess()).unwrap()[0].targets[2].is_none());
        spec.classes.insert("lungs".into(), vec![Structure::LeftLung, Structure::RightLung]);
        let samples = phantom_pool(&spec, &labels, &preprocess()).unwrap();
        let [left, right, both] = [0, 1, 2].map(|class| samples[0].mask(class).unwrap());
        assert!(both.area() > left.area().max(right.area()));
        assert!(left.intersection(&both) + 4 >= left.area() && right.intersection(&both) + 4 >= right.area());
    }

    #[test]
    fn pool_repeats_and_knows_only_its_structures() {
        let spec = PhantomSpec { pool: 2, size: 128, ..PhantomSpec::default() };
        let labels = ["left_lung".to_owned(), "no_such_structure".to_owned()];
        let (a, b) =
            (phantom_pool(&spec, &labels, &preprocess()), phantom_pool(&spec, &labels, &preprocess()));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a[1].image, b[1].image);
        assert_ne!(a[0].image, a[1].image);
        assert!(a[0].mask(0).is_some_and(|mask| mask.area() > 50));
        assert!(a[0].targets[1].is_none());
    }

    #[test]
    fn written_folder_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PhantomSpec { size: 128, ..PhantomSpec::default() };
        write_phantom_folder(&spec, 1, dir.path()).unwrap();
        let folder: FolderSpec = toml::from_str(
            r#"
            path = "."
            image = "png/{filename}"
            mask = "mask/{class}/{filename}"
            patient = "{patient}"
            [classes]
            heart = ["heart"]
            "#,
        )
        .unwrap();
        let index = folder.import("phantoms", dir.path()).and_then(Imported::into_index).unwrap();
        let annotated = load_annotated(&index.records[0], &["heart".to_owned()]).unwrap();
        let phantom = render(&pool_params(&spec, 0)).unwrap();
        assert_eq!(annotated.frame, phantom.frame);
        assert_eq!(annotated.masks[0].as_ref(), Some(phantom.mask(Structure::Heart)));
    }
}
