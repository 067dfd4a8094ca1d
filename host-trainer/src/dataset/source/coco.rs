use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::mask::{Mask, Rle};

use super::super::{DatasetError, Index, MaskSource, Record, Template};
use super::place::existing;
use super::polygon::coco_mask;
use super::{Imported, Problem, check_outline, check_size, parse_split, pseudonym, unknown_name, unmapped};

/// COCO instances: one JSON file of images, annotations (polygons, run-length codes) and categories. The
/// instances of a category are united; crowds count as well.
///
/// ```toml
/// [data.ribs]
/// format = "coco"
/// path = "ribs/images"
/// annotations = "../instances.json"
/// split = "strong_train"           # or {column}: any text or number of an image's entry
/// patient = "{patient_id}"
/// exhaustive = true                # an image without annotations of a category has none of it
/// [data.ribs.classes]              # our label → categories whose union it is
/// rib = ["rib", "rib fracture"]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoSpec {
    /// Folder of the images, relative to the data root or absolute.
    pub path: PathBuf,
    /// The JSON file, relative to that folder or absolute.
    pub annotations: PathBuf,
    /// Path of an image, of the fields of its entry.
    #[serde(default = "file_name")]
    pub image: Template,
    /// The split: a literal, or of the fields of an image's entry.
    pub split: Template,
    /// The source; the data set's name if left out.
    #[serde(default)]
    pub source: Option<Template>,
    /// The patient's pseudonym.
    pub patient: Template,
    /// Whose pseudonyms they are; the data set's own if left out.
    #[serde(default)]
    pub patients: Option<String>,
    /// Patients to leave out.
    #[serde(default)]
    pub exclude_patients: BTreeSet<String>,
    /// Our label → categories whose union it is.
    pub classes: BTreeMap<String, Vec<String>>,
    /// Whether an image without annotations of a class is known to have none of it; else the class is
    /// unknown there.
    #[serde(default)]
    pub exhaustive: bool,
}

fn file_name() -> Template {
    Template::new("{file_name}").expect("a well-formed literal")
}

#[derive(Deserialize)]
struct Document {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    height: usize,
    width: usize,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    category_id: u64,
    segmentation: Segmentation,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Segmentation {
    Polygons(Vec<Vec<f64>>),
    Code { size: [usize; 2], counts: Counts },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Counts {
    Compressed(String),
    Runs(Vec<usize>),
}

impl CocoSpec {
    /// Reads the annotations and looks whether every image is there. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Imported, DatasetError> {
        let folder = root.join(&self.path);
        let path = folder.join(&self.annotations);
        let text =
            fs::read_to_string(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
        let document: Document = serde_json::from_str(&text)
            .map_err(|source| DatasetError::Json { path: path.clone(), source })?;
        let known: BTreeSet<&str> = document.categories.iter().map(|c| c.name.as_str()).collect();
        if let Some(error) = unknown_name(&path, "category", &self.classes, &known) {
            return Err(error);
        }
        let (mut index, mut problems) = (Index::default(), Vec::new());
        problems.extend(unmapped(name, &self.classes, &known));
        let drawn = self.drawn(&document, &path, &mut problems);
        let mut excluded = 0;
        for image in &document.images {
            let fields = image.fields();
            let place = format!("{} image {}", path.display(), image.id);
            let patient = self.patient.fill(|field| fields.get(field).map(String::as_str));
            if self.exclude_patients.contains(&patient) {
                excluded += 1;
                continue;
            }
            let annotations = drawn.get(&image.id).map_or(&[][..], Vec::as_slice);
            match self.record(name, &folder, image, &fields, annotations, &place) {
                Ok(record) => index.records.push(record),
                Err(error) => problems.push(error.into()),
            }
        }
        if excluded > 0 {
            let (dataset, reason) = (name.to_owned(), "exclude_patients names their patients".to_owned());
            problems.push(Problem::LeftAside { dataset, images: excluded, reason });
        }
        Ok(Imported { index, problems })
    }

    /// The annotations of our classes by image. Those of images or categories that are not there are told.
    fn drawn<'a>(
        &self,
        document: &'a Document,
        path: &Path,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<u64, Vec<(&'a str, &'a Annotation)>> {
        let names: BTreeMap<u64, &str> =
            document.categories.iter().map(|category| (category.id, category.name.as_str())).collect();
        let images: BTreeSet<u64> = document.images.iter().map(|image| image.id).collect();
        let mut drawn: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for annotation in &document.annotations {
            let Annotation { image_id, category_id, .. } = annotation;
            let place = || format!("{} annotation {}", path.display(), annotation.id);
            let bad = |reason: String| Problem::from(DatasetError::Entry { place: place(), reason });
            match names.get(category_id) {
                None => problems.push(bad(format!("there is no category {category_id}"))),
                Some(_) if !images.contains(image_id) => {
                    problems.push(bad(format!("there is no image {image_id}")));
                }
                Some(category) => drawn.entry(*image_id).or_default().push((*category, annotation)),
            }
        }
        drawn
    }

    fn record(
        &self,
        name: &str,
        folder: &Path,
        image: &Image,
        fields: &BTreeMap<String, String>,
        annotations: &[(&str, &Annotation)],
        place: &str,
    ) -> Result<Record, DatasetError> {
        let fill = |template: &Template| {
            if let Some(field) = template.fields().find(|&field| !fields.contains_key(field)) {
                let reason = format!("no field \"{field}\" for the template \"{template}\"");
                return Err(DatasetError::Entry { place: place.to_owned(), reason });
            }
            Ok(template.fill(|field| fields.get(field).map(String::as_str)))
        };
        let relative = fill(&self.image)?;
        let split = parse_split(&fill(&self.split)?, place)?;
        let mut masks = BTreeMap::new();
        for (label, categories) in self.classes.iter().filter(|_| split.is_strong()) {
            let of_class =
                annotations.iter().filter(|(category, _)| categories.iter().any(|c| c == category));
            let of_class: Vec<_> = of_class.collect();
            if of_class.is_empty() && !self.exhaustive {
                continue;
            }
            let mut union = Mask::empty(0, 0);
            for (_, annotation) in of_class {
                let mask = annotation.segmentation.mask(image).map_err(|reason| {
                    let place = format!("{place}, annotation {}", annotation.id);
                    DatasetError::Entry { place, reason }
                })?;
                if union.data().is_empty() {
                    union = mask;
                } else {
                    union.merge(&mask);
                }
            }
            let codes = if union.is_empty() { Vec::new() } else { vec![Rle::encode(&union)] };
            masks.insert(label.clone(), MaskSource::Codes(codes));
        }
        Ok(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.as_ref().map_or_else(|| Ok(name.to_owned()), fill)?,
            patient: pseudonym(self.patients.as_deref(), name, &fill(&self.patient)?),
            split,
            image: existing(folder, &relative, place)?,
            masks,
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        })
    }
}

impl Image {
    /// What templates may name: every text and number of the entry.
    fn fields(&self) -> BTreeMap<String, String> {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let others = self.others.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
        others.chain([("id".to_owned(), self.id.to_string())]).collect()
    }
}

impl Segmentation {
    fn mask(&self, image: &Image) -> Result<Mask, String> {
        let (rows, cols) = (image.height, image.width);
        check_size(rows, cols)?;
        match self {
            Self::Polygons(polygons) => {
                let mut union = Mask::empty(rows, cols);
                for polygon in polygons {
                    if polygon.len() < 6 || polygon.len() % 2 == 1 {
                        return Err(format!(
                            "a polygon of {} numbers; expected x, y of three or more",
                            polygon.len()
                        ));
                    }
                    check_outline(polygon)?;
                    union.merge(&coco_mask(rows, cols, polygon));
                }
                Ok(union)
            }
            Self::Code { size, .. } if *size != [rows, cols] => {
                Err(format!("a mask of {} × {} pixels on an image of {rows} × {cols}", size[0], size[1]))
            }
            Self::Code { size, counts: Counts::Compressed(counts) } => {
                Rle { size: *size, counts: counts.clone() }.decode().map_err(|error| error.to_string())
            }
            Self::Code { size, counts: Counts::Runs(runs) } => {
                Rle::from_runs(*size, runs).decode().map_err(|error| error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of 12 × 14 with what pycocotools makes of each kind of segmentation, all the same square
    /// (`tests/python/polygons.py`, case "square").
    const SQUARE: &str = include_str!("../../../golden/coco.json");

    fn folder(document: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("set")).unwrap();
        for name in ["a.png", "b.png", "c.png"] {
            fs::write(dir.path().join("set").join(name), b"").unwrap();
        }
        fs::write(dir.path().join("set/instances.json"), document).unwrap();
        dir
    }

    fn spec(extra: &str) -> CocoSpec {
        let text = format!(
            "path = \"set\"\nannotations = \"instances.json\"\nsplit = \"strong_train\"\npatient = \"{{person}}\"\n\
             {extra}\n[classes]\nboth = [\"rib\", \"device\"]\ndevice = [\"device\"]\n"
        );
        toml::from_str(&text).unwrap()
    }

    fn decoded(record: &Record, label: &str) -> Option<Mask> {
        let MaskSource::Codes(codes) = record.masks.get(label)? else { panic!("codes") };
        codes.first().map(|code| code.decode().unwrap())
    }

    #[test]
    fn every_kind_of_segmentation_gives_the_mask_that_pycocotools_gives() {
        let dir = folder(SQUARE);
        let records = spec("").import("coco", dir.path()).unwrap().index.records;
        let document: serde_json::Value = serde_json::from_str(SQUARE).unwrap();
        assert_eq!(records.len(), 3);
        for (record, image) in records.iter().zip(document["images"].as_array().unwrap()) {
            let expected: Rle = serde_json::from_value(image["expected_both"].clone()).unwrap();
            assert_eq!(decoded(record, "both"), Some(expected.decode().unwrap()), "{}", record.id);
        }
        assert_eq!(records[1].patient, "coco/p2");
    }

    #[test]
    fn a_class_without_annotations_is_unknown_or_absent_as_declared() {
        let dir = folder(SQUARE);
        let absent = |extra: &str| {
            spec(extra).import("coco", dir.path()).unwrap().index.records[0].masks.get("device").cloned()
        };
        assert_eq!(absent(""), None);
        assert_eq!(absent("exhaustive = true"), Some(MaskSource::Codes(Vec::new())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |annotation: &str| {
            format!(
                r#"{{"images": [{{"id": 1, "height": 5, "width": 6, "file_name": "a.png", "person": 7}}],
                "categories": [{{"id": 1, "name": "rib"}}, {{"id": 2, "name": "device"}}],
                "annotations": [{annotation}]}}"#
            )
        };
        for (document, part) in [
            (with(r#"{"id": 9, "image_id": 1, "category_id": 5, "segmentation": []}"#), "no category 5"),
            (with(r#"{"id": 9, "image_id": 3, "category_id": 1, "segmentation": []}"#), "no image 3"),
            (with(r#"{"id": 9, "image_id": 1, "category_id": 1, "segmentation": [[1, 2]]}"#), "2 numbers"),
            (
                with(
                    r#"{"id": 9, "image_id": 1, "category_id": 1, "segmentation": {"size": [6, 5], "counts": [30]}}"#,
                ),
                "6 × 5 pixels",
            ),
            (
                with(
                    r#"{"id": 9, "image_id": 1, "category_id": 1, "segmentation": {"size": [5, 6], "counts": [29]}}"#,
                ),
                "cover 29",
            ),
            (with("").replace("\"device\"", "\"line\""), "no category \"device\""),
            (with("").replace("\"person\"", "\"who\""), "no field \"person\""),
            (with("").replace("a.png", "../a.png"), "leaves the data folder"),
            (with("").replace("a.png", "z.png"), "does not exist"),
        ] {
            let error =
                spec("").import("c", folder(&document).path()).and_then(Imported::into_index).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
