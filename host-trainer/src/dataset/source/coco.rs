use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::mask::{Mask, Rle};

use super::super::{DatasetError, Index, MaskSource, Record, Template};
use super::place::existing;
use super::polygon::{Budget, fill_coco};
use super::{Imported, Problem, check_outline, check_size, parse_split, pseudonym, unknown_name, unmapped};

/// COCO instances: one JSON file of images, annotations (polygons, run-length codes) and categories. The
/// instances of a category are united; crowds count as well. An annotation without an outline says nothing.
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
        document.check_categories(&path)?;
        let (mut index, mut problems) = (Index::default(), Vec::new());
        problems.extend(unmapped(name, &self.classes, &known));
        let drawn = self.drawn(&document, &path, &mut problems);
        let ambiguous = document.ambiguous_images();
        for (id, images) in &ambiguous {
            let place = format!("{} image {id}", path.display());
            let reason = format!("{images} images have this id; give each its own");
            problems.push(DatasetError::Entry { place, reason }.into());
        }
        let mut excluded = 0;
        // Whose annotations those of a shared id are, nobody can tell.
        for image in document.images.iter().filter(|image| !ambiguous.contains_key(&image.id)) {
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
                Some(_) if annotation.segmentation.says_nothing() => {}
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
        let patient = fill(&self.patient)?;
        if patient.is_empty() {
            let reason = format!("no patient: the template \"{}\" is empty here", self.patient);
            return Err(DatasetError::Entry { place: place.to_owned(), reason });
        }
        let mut masks = BTreeMap::new();
        for (label, categories) in self.classes.iter().filter(|_| split.is_strong()) {
            let of_class =
                annotations.iter().filter(|(category, _)| categories.iter().any(|c| c == category));
            let of_class: Vec<_> = of_class.collect();
            if of_class.is_empty() && !self.exhaustive {
                continue;
            }
            let codes = image.united(&of_class, place)?.map(|union| Rle::encode(&union));
            masks.insert(label.clone(), MaskSource::Codes(codes.into_iter().collect()));
        }
        Ok(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.as_ref().map_or_else(|| Ok(name.to_owned()), fill)?,
            patient: pseudonym(self.patients.as_deref(), name, &patient),
            split,
            image: existing(folder, &relative, place)?,
            masks,
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        })
    }
}

impl Document {
    /// Annotations name categories by id: two of one id would give a class the masks of the other.
    fn check_categories(&self, path: &Path) -> Result<(), DatasetError> {
        let mut names: BTreeMap<u64, &str> = BTreeMap::new();
        for Category { id, name } in &self.categories {
            if let Some(other) = names.insert(*id, name) {
                let place = format!("{} category {id}", path.display());
                let reason = format!("both \"{other}\" and \"{name}\" have this id; give each its own");
                return Err(DatasetError::Entry { place, reason });
            }
        }
        Ok(())
    }

    /// Ids that more than one image has, with how many.
    fn ambiguous_images(&self) -> BTreeMap<u64, usize> {
        let mut images = BTreeMap::new();
        for image in &self.images {
            *images.entry(image.id).or_insert(0) += 1;
        }
        images.retain(|_, count| *count > 1);
        images
    }
}

impl Image {
    /// The union of annotations; none if it is empty.
    fn united(
        &self,
        annotations: &[&(&str, &Annotation)],
        place: &str,
    ) -> Result<Option<Mask>, DatasetError> {
        if annotations.is_empty() {
            return Ok(None);
        }
        let bad = |place: String, reason: String| DatasetError::Entry { place, reason };
        check_size(self.height, self.width).map_err(|reason| bad(place.to_owned(), reason))?;
        let mut union = Mask::empty(self.height, self.width);
        let mut budget = Budget::of(self.height, self.width);
        for (_, annotation) in annotations {
            let drawn = annotation.segmentation.draw(&mut union, &mut budget);
            drawn.map_err(|reason| bad(format!("{place}, annotation {}", annotation.id), reason))?;
        }
        Ok((!union.is_empty()).then_some(union))
    }

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
    /// Tools write an empty list for a box without an outline.
    fn says_nothing(&self) -> bool {
        matches!(self, Self::Polygons(polygons) if polygons.is_empty())
    }

    /// Adds itself to a mask of the image's size.
    fn draw(&self, mask: &mut Mask, budget: &mut Budget) -> Result<(), String> {
        let (rows, cols) = (mask.rows(), mask.cols());
        let code = match self {
            Self::Polygons(polygons) => {
                for polygon in polygons {
                    if polygon.len() < 6 || polygon.len() % 2 == 1 {
                        return Err(format!(
                            "a polygon of {} numbers; expected x, y of three or more",
                            polygon.len()
                        ));
                    }
                    check_outline(polygon)?;
                    fill_coco(mask, polygon, budget)?;
                }
                return Ok(());
            }
            Self::Code { size, .. } if *size != [rows, cols] => {
                return Err(format!(
                    "a mask of {} × {} pixels on an image of {rows} × {cols}",
                    size[0], size[1]
                ));
            }
            Self::Code { size, counts: Counts::Compressed(counts) } => {
                Rle { size: *size, counts: counts.clone() }
            }
            Self::Code { size, counts: Counts::Runs(runs) } => Rle::from_runs(*size, runs),
        };
        mask.merge(&code.decode().map_err(|error| error.to_string())?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
