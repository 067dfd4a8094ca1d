use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use shared::bundle::sha256_hex;
use shared::manifest::{DataSource, TrainingRecord};

use super::ExportError;
use crate::config::{Config, Stage};
use crate::dataset::{Index, Split};
use crate::train::ModelFile;

/// The day, or the one of `SOURCE_DATE_EPOCH` (seconds), which makes an export repeatable byte for byte.
pub(super) fn today() -> jiff::civil::Date {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let stamp = given.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    jiff::tz::TimeZone::UTC.to_datetime(stamp.unwrap_or_else(jiff::Timestamp::now)).date()
}

/// Where the weights come from: method, steps, and every set of images with a digest over its files.
pub(super) fn training_record(
    config: &Config,
    model: &ModelFile,
    index: Option<&Index>,
) -> Result<TrainingRecord, ExportError> {
    let info = &model.info;
    let mut sources = Vec::new();
    let phantoms = |usage: &str| DataSource {
        name: "phantom".into(),
        usage: usage.into(),
        images: config.phantom.pool as u64,
        license: "synthetic, drawn by this project".into(),
        sha256: None,
    };
    if info.stage == Stage::Pretrain || info.total_steps > info.step {
        sources.push(phantoms("pretraining"));
    }
    if info.stage == Stage::Train && config.train.phantom_share > 0.0 {
        sources.push(phantoms("training, beside radiographs"));
    }
    let mut files: BTreeMap<(String, &str), Vec<PathBuf>> = BTreeMap::new();
    for record in index.map_or(&[][..], |index| &index.records) {
        let usage = match record.split {
            Split::StrongTrain if info.stage == Stage::Train => "training",
            Split::StrongVal => "thresholds, model selection, calibration",
            Split::StrongTest => "final figures only",
            _ => continue,
        };
        let name = if record.source == record.dataset {
            record.dataset.clone()
        } else {
            format!("{}/{}", record.dataset, record.source)
        };
        files.entry((name, usage)).or_default().push(record.image.clone());
    }
    for ((name, usage), images) in files {
        let dataset = name.split('/').next().unwrap_or_default();
        sources.push(DataSource {
            usage: usage.into(),
            images: images.len() as u64,
            license: config
                .export
                .licenses
                .get(dataset)
                .or_else(|| index?.terms.get(dataset))
                .cloned()
                .unwrap_or_else(|| "see the data set".into()),
            sha256: Some(digest(&images)?),
            name,
        });
    }
    Ok(TrainingRecord {
        method: method(config, model),
        network: info.graph.name.clone(),
        seed: info.seed,
        steps: info.total_steps,
        sources,
    })
}

fn method(config: &Config, model: &ModelFile) -> String {
    let info = &model.info;
    let spec = config.stage(info.stage);
    let earlier = info.total_steps - info.step;
    let mut text = String::new();
    if earlier > 0 {
        text += &format!("Pretrained on phantoms for {earlier} steps, then ");
    }
    let images = match (info.stage, spec.phantom_share) {
        (Stage::Pretrain, _) => "phantoms".to_owned(),
        (Stage::Classifier | Stage::Edges, _) => "image-level labels".to_owned(),
        (Stage::Train, 0.0) => "expert masks".to_owned(),
        (Stage::Train, share) => format!("expert masks with {:.0}% phantoms", share * 100.0),
    };
    text += &format!(
        "trained on {images} for {} steps of {} images (AdamW, learning rate {:e} with warm-up and cosine, BCE × {} + \
         Dice × {}, augmentation); the moving average of the weights with the best validation IoU.",
        info.step, spec.batch, spec.learning_rate, spec.bce_weight, spec.dice_weight
    );
    if let Some(first) = text.get(..1) {
        text = first.to_uppercase() + &text[1..];
    }
    text
}

/// SHA-256 over the sorted list of the files' digests.
fn digest(files: &[PathBuf]) -> Result<String, ExportError> {
    let mut digests = files
        .iter()
        .map(|path| {
            let bytes = fs::read(path).map_err(|source| ExportError::Io { path: path.clone(), source })?;
            Ok(sha256_hex(&bytes))
        })
        .collect::<Result<Vec<_>, ExportError>>()?;
    digests.sort();
    Ok(sha256_hex(digests.join("\n").as_bytes()))
}
