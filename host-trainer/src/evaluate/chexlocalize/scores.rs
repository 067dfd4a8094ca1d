use std::collections::{BTreeMap, BTreeSet};

use comfy_table::Table;
use serde::Serialize;

use super::estimate::{Estimate, Share, estimate};
use super::{ChexlocalizeError, Entry, Segmentations, json};
use crate::evaluate::{Counts, MEAN_CLASS, Measure, Protocol};

/// Predictions of CheXlocalize's form, scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// How pixels became figures.
    pub protocol: Protocol,
    /// Seed of the bootstrap.
    pub seed: u32,
    /// Images that take part, those without a value included.
    pub images: usize,
    /// A row a pathology, the mean over them last.
    pub rows: Vec<ScoreRow>,
    /// IoU by image and pathology; none where the protocol has none.
    pub iou_per_image: BTreeMap<String, BTreeMap<String, Option<f64>>>,
    /// Images that only the ground truth has: their predictions are empty.
    pub only_in_truth: Vec<String>,
    /// Images that only the predictions have: their ground truth is empty. The protocol `chexlocalize` leaves
    /// them out.
    pub only_in_predictions: Vec<String>,
    /// Pathologies that an image of the ground truth lacks: empty masks, too.
    pub truth_gaps: Vec<Entry>,
    /// Pathologies that an image of the predictions lacks.
    pub prediction_gaps: Vec<Entry>,
}

/// Figures of one pathology, or of their mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreRow {
    /// The pathology, or `mean`.
    pub pathology: String,
    /// Images with a value; of the mean, images that take part.
    pub n: usize,
    /// Intersection over union; none without such an image.
    pub iou: Option<Estimate>,
    /// Dice.
    pub dice: Option<Estimate>,
}

/// Scores `predicted` against `truth`; `eval.py` has seed 0.
pub fn score(
    truth: &Segmentations,
    predicted: &Segmentations,
    protocol: Protocol,
    seed: u32,
) -> Result<Scores, ChexlocalizeError> {
    json::check_against(truth, predicted.path(), predicted.images())?;
    let pathologies = truth.pathologies();
    let only_in = |a: &Segmentations, b: &Segmentations| -> Vec<String> {
        a.images().keys().filter(|image| !b.images().contains_key(*image)).cloned().collect()
    };
    let mut images: BTreeSet<&str> = truth.images().keys().map(String::as_str).collect();
    if protocol != Protocol::Chexlocalize {
        images.extend(predicted.images().keys().map(String::as_str));
    }
    let mut counts = Vec::with_capacity(images.len());
    for &image in &images {
        let one = |&pathology: &&str| truth.compare(predicted, image, pathology);
        counts.push(pathologies.iter().map(one).collect::<Result<Vec<Counts>, _>>()?);
    }
    let figures = |measure| {
        let share = |counts: &Counts| match protocol {
            Protocol::Dataset => summed(measure, *counts),
            _ => Share::mean(value(protocol, measure, *counts)),
        };
        let table: Vec<Vec<Share>> = counts.iter().map(|row| row.iter().map(share).collect()).collect();
        estimate(&table, pathologies.len(), seed)
    };
    let (iou, dice) = (figures(Measure::Iou), figures(Measure::Dice));
    let with_value =
        |k: usize| counts.iter().filter(|row| value(protocol, Measure::Iou, row[k]).is_some()).count();
    let each = pathologies.iter().enumerate().map(|(k, &pathology)| ScoreRow {
        pathology: pathology.to_owned(),
        n: with_value(k),
        iou: iou.each[k],
        dice: dice.each[k],
    });
    let mean = ScoreRow { pathology: MEAN_CLASS.into(), n: images.len(), iou: iou.mean, dice: dice.mean };
    let by_pathology = |row: &Vec<Counts>| {
        let iou = row.iter().map(|&counts| value(protocol, Measure::Iou, counts));
        pathologies.iter().map(|&pathology| pathology.to_owned()).zip(iou).collect()
    };
    Ok(Scores {
        protocol,
        seed,
        images: images.len(),
        rows: each.chain([mean]).collect(),
        iou_per_image: images
            .iter()
            .zip(&counts)
            .map(|(&image, row)| (image.to_owned(), by_pathology(row)))
            .collect(),
        only_in_truth: only_in(truth, predicted),
        only_in_predictions: only_in(predicted, truth),
        truth_gaps: truth.gaps(&pathologies),
        prediction_gaps: predicted.gaps(&pathologies),
    })
}

/// One image's value; none where the protocol leaves it out.
fn value(protocol: Protocol, measure: Measure, counts: Counts) -> Option<f64> {
    if protocol == Protocol::Chexlocalize && (counts.truth == 0 || counts.predicted == 0) {
        return None;
    }
    measure.of(counts)
}

fn summed(measure: Measure, counts: Counts) -> Share {
    match measure {
        Measure::Dice => Share::ratio(2 * counts.intersection, counts.truth + counts.predicted),
        _ => Share::ratio(counts.intersection, counts.union()),
    }
}

impl Scores {
    /// For people: a line a pathology, intervals in brackets.
    pub fn table(&self) -> Table {
        let mut table = crate::report::table(&["pathology", "n", "IoU", "Dice"], 1);
        for row in &self.rows {
            table.add_row([row.pathology.clone(), row.n.to_string(), shown(row.iou), shown(row.dice)]);
        }
        table
    }

    /// What was missing and how it was counted, a line each; nothing if both files are whole.
    pub fn notes(&self) -> Vec<String> {
        let left_out = self.protocol == Protocol::Chexlocalize;
        let extra = if left_out { "left out" } else { "counted as if experts had found nothing" };
        let entries = |gaps: &[Entry]| -> Vec<String> {
            gaps.iter().map(|gap| format!("{} {}", gap.image, gap.pathology)).collect()
        };
        let notes = [
            note("only in the ground truth, counted as empty predictions", &self.only_in_truth),
            note(&format!("only in the predictions, {extra}"), &self.only_in_predictions),
            note("not in the ground truth, counted as empty", &entries(&self.truth_gaps)),
            note("not in the predictions, counted as empty", &entries(&self.prediction_gaps)),
        ];
        notes.into_iter().flatten().collect()
    }
}

/// A figure with its interval.
pub(super) fn shown(estimate: Option<Estimate>) -> String {
    let Some(Estimate { value, low, high, .. }) = estimate else { return "–".into() };
    let end = |end: Option<f64>| end.map_or_else(|| "–".to_owned(), |end| format!("{end:.3}"));
    format!("{value:.4} [{}, {}]", end(low), end(high))
}

/// A line that names the first few.
pub(super) fn note(what: &str, names: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => None,
        n if n > SHOWN => Some(format!("{what}: {first} and {} more", n - SHOWN)),
        _ => Some(format!("{what}: {first}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::{Value, json};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn expected() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/chexlocalize_expected.json")).unwrap()
    }

    fn files() -> (Segmentations, Segmentations) {
        let read = |name| Segmentations::read(&fixture(name)).unwrap();
        (read("chexlocalize_truth.json"), read("chexlocalize_predictions.json"))
    }

    fn near(found: Option<f64>, expected: &Value, what: &str) {
        match (found, expected.as_f64()) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9, "{what}: {a}, numpy {b}"),
            (a, b) => assert_eq!(a, b, "{what}"),
        }
    }

    fn same(found: Option<Estimate>, expected: &Value, what: &str) {
        near(found.map(|estimate| estimate.value), &expected["value"], what);
        near(found.and_then(|estimate| estimate.bootstrap_mean), &expected["bootstrap_mean"], what);
        near(found.and_then(|estimate| estimate.low), &expected["low"], what);
        near(found.and_then(|estimate| estimate.high), &expected["high"], what);
    }

    #[test]
    fn codes_of_pycocotools_have_their_areas() {
        let (truth, predicted) = files();
        for (name, file) in [("truth", truth), ("predictions", predicted)] {
            for (image, areas) in expected()["areas"][name].as_object().unwrap() {
                for (pathology, area) in areas.as_object().unwrap() {
                    assert_eq!(file.area(image, pathology), area.as_u64(), "{image} {pathology}");
                }
            }
        }
    }

    #[test]
    fn every_protocol_gives_the_numbers_of_the_script() {
        let (truth, predicted) = files();
        for protocol in Protocol::ALL {
            let expected = &expected()[protocol.name()];
            let scores = score(&truth, &predicted, protocol, 0).unwrap();
            assert_eq!(json!(scores.iou_per_image.keys().collect::<Vec<_>>()), expected["images"]);
            for (image, row) in &scores.iou_per_image {
                for (pathology, iou) in row {
                    near(*iou, &expected["per_image"][image][pathology], pathology);
                }
            }
            assert_eq!(scores.rows.len(), 11);
            for row in &scores.rows {
                let of = |measure: &str| match row.pathology.as_str() {
                    MEAN_CLASS => expected[measure]["mean"].clone(),
                    pathology => expected[measure]["rows"][pathology].clone(),
                };
                let what = format!("{protocol} {}", row.pathology);
                same(row.iou, &of("iou"), &what);
                same(row.dice, &of("dice"), &what);
            }
            assert_eq!((scores.only_in_truth.len(), scores.only_in_predictions.len()), (1, 1));
            let notes = scores.notes().join("\n");
            assert!(notes.contains(&scores.only_in_truth[0]), "{notes}");
            assert_eq!(notes.contains("left out"), protocol == Protocol::Chexlocalize, "{notes}");
            let table = scores.table().to_string();
            assert!(table.contains("Pneumothorax") && table.contains("mean"), "{table}");
        }
    }

    fn segmentations(value: &Value) -> Segmentations {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.json");
        std::fs::write(&path, value.to_string()).unwrap();
        Segmentations::read(&path).unwrap()
    }

    #[test]
    fn gaps_are_listed_and_mistakes_refused() {
        let full = json!({ "size": [2, 2], "counts": "04" });
        let truth =
            segmentations(&json!({ "p1": { "Edema": full, "Atelectasis": full }, "p2": { "Edema": full } }));
        let half = segmentations(&json!({ "p1": { "Edema": full } }));
        let scores = score(&truth, &half, Protocol::ChexlocalizeFull, 0).unwrap();
        assert_eq!(scores.rows[0].iou.unwrap().value, 0.0);
        assert_eq!(scores.rows[1].iou.unwrap().value, 0.5);
        let notes = scores.notes();
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[1].contains("p2 Atelectasis") && notes[2].contains("p1 Atelectasis"), "{notes:?}");

        let refusal =
            |value| score(&truth, &segmentations(&value), Protocol::Dataset, 0).unwrap_err().to_string();
        let error = refusal(json!({ "p1": { "Oedema": full } }));
        assert!(
            error.contains("image p1: unknown pathology \"Oedema\"") && error.contains("Edema"),
            "{error}"
        );
        let error = refusal(json!({ "p9": { "Edema": full } }));
        assert!(error.contains("p9") && error.contains("p1"), "{error}");
        let error = refusal(json!({ "p1": { "Edema": { "size": [4, 1], "counts": "04" } } }));
        assert!(error.contains("image p1, Edema") && error.contains("[4, 1]"), "{error}");
    }
}
