use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use comfy_table::Table;
use serde::{Deserialize, Serialize};

use super::estimate::{Estimate, Share, estimate};
use super::json::{self, ByImage};
use super::scores::{note, shown};
use super::segmentations::Code;
use super::{ChexlocalizeError, Entry, Segmentations};
use crate::evaluate::MEAN_CLASS;

/// What stands in a file of salient points, for messages.
const FORM: &str = "[[x, y], …] in pixels of the image, or {\"map\": [[row of values], …]}";

/// The most salient points of one file: image id → pathology → `[[x, y], …]` in pixels of the image, as the
/// human benchmark of CheXlocalize, or `{"map": rows}`, a saliency map of any size whose maximum is the point.
#[derive(Clone, Debug)]
pub struct SalientPoints {
    path: PathBuf,
    images: ByImage<Salient>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Salient {
    Points(Vec<[f64; 2]>),
    Map(SaliencyMap),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaliencyMap {
    map: Vec<Vec<f64>>,
}

/// How often the most salient point lies in the ground truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HitRates {
    /// Seed of the bootstrap.
    pub seed: u32,
    /// Images of the ground truth.
    pub images: usize,
    /// A row a pathology, the mean over them last.
    pub rows: Vec<HitRow>,
    /// By image and pathology; none where the ground truth is empty.
    pub hit_per_image: BTreeMap<String, BTreeMap<String, Option<bool>>>,
    /// Masks of the ground truth for which there is no point: they count as misses.
    pub without_point: Vec<Entry>,
    /// Images that only the file of points has: left out.
    pub only_in_points: Vec<String>,
}

/// Hit rate of one pathology, or their mean.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HitRow {
    /// The pathology, or `mean`.
    pub pathology: String,
    /// Images with a mask that is not empty; of the mean, all images.
    pub n: usize,
    /// The hit rate; none without such an image.
    pub hit_rate: Option<Estimate>,
}

impl SalientPoints {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ChexlocalizeError> {
        let images = json::read(path, |image, pathology, value| {
            let refused = |reason: &str| ChexlocalizeError::Form {
                path: path.to_owned(),
                image: image.to_owned(),
                pathology: pathology.to_owned(),
                reason: reason.to_owned(),
                expected: FORM,
            };
            match serde_json::from_value(value) {
                Ok(Salient::Map(map)) if !map.is_rectangle() => {
                    Err(refused("a map without values, or with rows of different length"))
                }
                Ok(salient) => Ok(salient),
                Err(_) => Err(refused("neither points nor a map")),
            }
        })?;
        Ok(Self { path: path.to_owned(), images })
    }
}

impl SaliencyMap {
    fn is_rectangle(&self) -> bool {
        let cols = self.map.first().map_or(0, Vec::len);
        cols > 0 && self.map.iter().all(|row| row.len() == cols)
    }

    /// Column and row of the maximum, the first in reading order, after bilinear resizing (pixel centres, edges
    /// repeated: torch's `interpolate` with `align_corners=False`) to `rows × cols`.
    fn peak(&self, rows: usize, cols: usize) -> [f64; 2] {
        let across = taps(cols, self.map[0].len());
        let stretched: Vec<Vec<f64>> = self
            .map
            .iter()
            .map(|row| across.iter().map(|&(a, b, f)| row[a] * (1.0 - f) + row[b] * f).collect())
            .collect();
        let (mut best, mut at) = (f64::NEG_INFINITY, [0.0, 0.0]);
        for (r, (a, b, f)) in taps(rows, self.map.len()).into_iter().enumerate() {
            for (c, (upper, lower)) in stretched[a].iter().zip(&stretched[b]).enumerate() {
                let value = upper * (1.0 - f) + lower * f;
                if value > best {
                    (best, at) = (value, [c as f64, r as f64]);
                }
            }
        }
        at
    }
}

/// For each of `n` places the two source places and the weight of the second.
fn taps(n: usize, source: usize) -> Vec<(usize, usize, f64)> {
    let tap = |i: usize| {
        let at = ((i as f64 + 0.5) * source as f64 / n as f64 - 0.5).max(0.0);
        let low = (at.floor() as usize).min(source - 1);
        (low, (low + 1).min(source - 1), at - low as f64)
    };
    (0..n).map(tap).collect()
}

/// The pointing game: over images whose ground truth is not empty, the share where the point, or any of several,
/// lies in it. `eval.py` has seed 0.
pub fn hit_rates(
    truth: &Segmentations,
    points: &SalientPoints,
    seed: u32,
) -> Result<HitRates, ChexlocalizeError> {
    json::check_against(truth, &points.path, &points.images)?;
    let pathologies = truth.pathologies();
    let mut without_point = Vec::new();
    let mut hits: Vec<Vec<Option<bool>>> = Vec::with_capacity(truth.images().len());
    for image in truth.images().keys() {
        let mut row = Vec::with_capacity(pathologies.len());
        for &pathology in &pathologies {
            let mask = truth.code(image, pathology).filter(|code| code.area() > 0);
            let found = points.images.get(image).and_then(|entries| entries.get(pathology));
            row.push(match (mask, found) {
                (None, _) => None,
                (Some(mask), Some(salient)) => {
                    Some(points.hits(mask, salient, truth.path(), image, pathology)?)
                }
                (Some(_), None) => {
                    without_point.push(Entry { image: image.clone(), pathology: pathology.to_owned() });
                    Some(false)
                }
            });
        }
        hits.push(row);
    }
    let share = |hit: &Option<bool>| Share::mean(hit.map(|hit| f64::from(u8::from(hit))));
    let table: Vec<Vec<Share>> = hits.iter().map(|row| row.iter().map(share).collect()).collect();
    let figures = estimate(&table, pathologies.len(), seed);
    let each = pathologies.iter().enumerate().map(|(k, &pathology)| HitRow {
        pathology: pathology.to_owned(),
        n: hits.iter().filter(|row| row[k].is_some()).count(),
        hit_rate: figures.each[k],
    });
    let mean = HitRow { pathology: MEAN_CLASS.into(), n: hits.len(), hit_rate: figures.mean };
    let named = |row: &Vec<Option<bool>>| {
        pathologies.iter().map(|&pathology| pathology.to_owned()).zip(row.iter().copied()).collect()
    };
    Ok(HitRates {
        seed,
        images: hits.len(),
        rows: each.chain([mean]).collect(),
        hit_per_image: truth.images().keys().cloned().zip(hits.iter().map(named)).collect(),
        without_point,
        only_in_points: points
            .images
            .keys()
            .filter(|image| !truth.images().contains_key(*image))
            .cloned()
            .collect(),
    })
}

impl SalientPoints {
    fn hits(
        &self,
        mask: &Code,
        salient: &Salient,
        truth: &Path,
        image: &str,
        pathology: &str,
    ) -> Result<bool, ChexlocalizeError> {
        let [rows, cols] = mask.size();
        let peak;
        let points: &[[f64; 2]] = match salient {
            Salient::Points(points) => points,
            Salient::Map(map) => {
                peak = [map.peak(rows, cols)];
                &peak
            }
        };
        let (image, pathology) = (image.to_owned(), pathology.to_owned());
        let mut hit = false;
        for &[x, y] in points {
            if !((0.0..cols as f64).contains(&x) && (0.0..rows as f64).contains(&y)) {
                let path = self.path.clone();
                return Err(ChexlocalizeError::Outside { path, image, pathology, x, y, rows, cols });
            }
            // Down to the pixel that holds the point, as the script does.
            hit |= mask.contains(y as usize, x as usize).map_err(|source| ChexlocalizeError::Code {
                path: truth.to_owned(),
                image: image.clone(),
                pathology: pathology.clone(),
                source,
            })?;
        }
        Ok(hit)
    }
}

impl HitRates {
    /// For people: a line a pathology, intervals in brackets.
    pub fn table(&self) -> Table {
        let mut table = crate::report::table(&["pathology", "n", "hit rate"], 1);
        for row in &self.rows {
            table.add_row([row.pathology.clone(), row.n.to_string(), shown(row.hit_rate)]);
        }
        table
    }

    /// What was missing and how it was counted, a line each.
    pub fn notes(&self) -> Vec<String> {
        let missing: Vec<String> =
            self.without_point.iter().map(|entry| format!("{} {}", entry.image, entry.pathology)).collect();
        let notes = [
            note("without a point, counted as misses", &missing),
            note("only in the file of points, left out", &self.only_in_points),
        ];
        notes.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn truth() -> Segmentations {
        Segmentations::read(&fixture("chexlocalize_truth.json")).unwrap()
    }

    #[test]
    fn points_and_maps_give_the_numbers_of_the_script() {
        let expected: Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/chexlocalize_expected.json")).unwrap();
        for kind in ["points", "maps"] {
            let points = SalientPoints::read(&fixture(&format!("chexlocalize_{kind}.json"))).unwrap();
            let found = hit_rates(&truth(), &points, 0).unwrap();
            let expected = &expected[kind];
            for (image, row) in &found.hit_per_image {
                for (pathology, hit) in row {
                    let number = hit.map(|hit| f64::from(u8::from(hit)));
                    let what = format!("{kind} {image} {pathology}");
                    assert_eq!(number, expected["per_image"][image][pathology].as_f64(), "{what}");
                }
            }
            for row in &found.rows {
                let of = match row.pathology.as_str() {
                    MEAN_CLASS => &expected["hit"]["mean"],
                    pathology => &expected["hit"]["rows"][pathology],
                };
                let near = |found: Option<f64>, name: &str| match (found, of[name].as_f64()) {
                    (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9, "{kind} {} {name}", row.pathology),
                    (a, b) => assert_eq!(a, b, "{kind} {} {name}", row.pathology),
                };
                near(row.hit_rate.map(|rate| rate.value), "value");
                near(row.hit_rate.and_then(|rate| rate.bootstrap_mean), "bootstrap_mean");
                near(row.hit_rate.and_then(|rate| rate.low), "low");
                near(row.hit_rate.and_then(|rate| rate.high), "high");
            }
            assert!(!found.without_point.is_empty() && found.notes()[0].contains("misses"));
            assert!(found.table().to_string().contains("Cardiomegaly"));
        }
    }

    #[test]
    fn what_is_no_point_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("points.json");
        let image = truth().images().keys().next().unwrap().clone();
        let present = |pathology: &&str| truth().area(&image, pathology).unwrap() > 0;
        let pathology = truth().pathologies().into_iter().find(present).unwrap().to_owned();
        let refusal = |value: &str| {
            std::fs::write(&path, format!("{{\"{image}\": {{\"{pathology}\": {value}}}}}")).unwrap();
            let outcome =
                SalientPoints::read(&path).and_then(|points| hit_rates(&truth(), &points, 0).map(drop));
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("points.json") && error.contains(&image), "{error}");
            assert!(error.contains(&pathology), "{error}");
            error
        };
        assert!(refusal("[[500, 2]]").contains("(500, 2) lies outside"));
        assert!(refusal("[[-1, 2]]").contains("outside"));
        assert!(refusal("[3, 4]").contains("neither points nor a map"));
        assert!(refusal("{\"map\": []}").contains("a map without values"));
        assert!(refusal("{\"map\": [[1, 2], [3]]}").contains("different length"));
    }
}
