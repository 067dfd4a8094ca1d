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
    if let Some(record) = &info.record {
        return Ok(record.clone());
    }
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
    let training = info.stage == Stage::Train;
    let unmasked = training && (config.consistency.is_some() || config.train.negatives || info.pseudo_masks);
    let mut files: BTreeMap<(String, &str), Vec<PathBuf>> = BTreeMap::new();
    for record in index.map_or(&[][..], |index| &index.records) {
        let usage = match record.split {
            Split::StrongTrain if training => "training",
            Split::Weak if unmasked => "training, without expert masks",
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

/// What was done, in words, from what the configuration and the model file say of it.
fn method(config: &Config, model: &ModelFile) -> String {
    let info = &model.info;
    let spec = config.stage(info.stage);
    let earlier = info.total_steps - info.step;
    let begin = if earlier > 0 {
        format!("After {earlier} steps of earlier stages, trained")
    } else {
        "Trained".into()
    };
    let images = match (info.stage, spec.phantom_share) {
        (Stage::Pretrain, _) => "phantoms".to_owned(),
        (Stage::Classifier | Stage::Edges, _) => "image-level labels".to_owned(),
        (Stage::Train, 0.0) => "expert masks".to_owned(),
        (Stage::Train, share) => format!("expert masks with {:.0}% phantoms", share * 100.0),
    };
    let mut with = Vec::new();
    if info.stage == Stage::Train {
        if info.pseudo_masks {
            with.push("pseudo-masks from saliency".to_owned());
        }
        if spec.drawn_devices > 0.0 {
            with.push(format!(
                "devices of phantoms drawn onto {:.0}% of the radiographs",
                spec.drawn_devices * 100.0
            ));
        }
        if spec.negatives {
            with.push("image labels that say what is absent".to_owned());
        }
        let advised = info.teachers > 0 && config.distillation.unlabeled && config.consistency.is_some();
        if let Some(consistency) = config.consistency.as_ref().filter(|_| !advised) {
            let classes = consistency.classes.join(", ");
            let of = if classes.is_empty() { String::new() } else { format!(" in {classes}") };
            with.push(format!("consistency on images without masks{of}"));
        }
        if info.teachers > 0 {
            let too = if advised { ", on images without masks too" } else { "" };
            with.push(format!("the answers of {} teachers{too}", info.teachers));
        }
    }
    let with = if with.is_empty() { String::new() } else { format!(", {}", with.join(", ")) };
    // Only what a validation chose carries its scores.
    let chosen =
        if info.validation.is_empty() { "after the last step" } else { "with the best validation IoU" };
    let share = match info.share {
        Some(share) => {
            let (new, old) = (share * 100.0, (1.0 - share) * 100.0);
            format!("; {new:.0}% of these weights and {old:.0}% of those that this stage began with")
        }
        None => String::new(),
    };
    format!(
        "{begin} on {images}{with}, for {} steps of {} images (AdamW, learning rate {:e} with warm-up and cosine, BCE × {} \
         + Dice × {}, augmentation); the moving average of the weights {chosen}{share}.",
        info.step, spec.batch, spec.learning_rate, spec.bce_weight, spec.dice_weight
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::train::ModelInfo;

    #[test]
    fn the_method_tells_all_that_taught() {
        let config = tiny(
            "
            [[findings]]
            label = \"enlarged_heart\"
            class = \"heart\"
            [train]
            steps = 9
            phantom_share = 0.25
            negatives = true
            [consistency]
            weight = 1.0
            classes = [\"heart\"]
            ",
        );
        let info = ModelInfo {
            graph: config.graph(),
            labels: config.labels(),
            preprocess: config.preprocess.clone(),
            stage: Stage::Train,
            step: 9,
            total_steps: 12,
            seed: 1,
            teachers: 2,
            pseudo_masks: true,
            share: None,
            record: None,
            validation: Vec::new(),
        };
        let text = |info: ModelInfo| {
            let params = crate::net::he_init(&info.graph, 1);
            method(&config, &ModelFile { info, params })
        };
        let last = text(info.clone());
        let told = [
            "After 3 steps of earlier stages, trained on expert masks with 25% phantoms",
            "pseudo-masks",
            "what is absent",
            "consistency on images without masks in heart",
            "2 teachers",
            "9 steps",
            "after the last step",
        ];
        assert!(told.iter().all(|part| last.contains(part)), "{last}");
        let mut advising = config.clone();
        advising.distillation.unlabeled = true;
        let params = crate::net::he_init(&info.graph, 1);
        let advised = method(&advising, &ModelFile { info: info.clone(), params });
        assert!(advised.contains("2 teachers, on images without masks too"), "{advised}");
        assert!(!advised.contains("consistency"), "{advised}");
        let best =
            text(ModelInfo { validation: vec![Some(0.5)], total_steps: 9, teachers: 0, ..info.clone() });
        assert!(best.starts_with("Trained on") && !best.contains("teachers"), "{best}");
        assert!(best.ends_with("best validation IoU."), "{best}");
        let recovered = TrainingRecord {
            method: "As it was told.".into(),
            network: "it".into(),
            seed: 3,
            steps: 5,
            sources: Vec::new(),
        };
        let back = ModelInfo { record: Some(recovered.clone()), ..info.clone() };
        let params = crate::net::he_init(&back.graph, 1);
        let told = training_record(&config, &ModelFile { info: back, params }, None).unwrap();
        assert_eq!(told, recovered, "what a bundle told of its weights is told on");
        let mixed = text(ModelInfo { share: Some(0.4), ..info });
        assert!(mixed.contains("; 40% of these weights and 60% of those"), "{mixed}");
    }
}
