use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::mask::Rle;

use super::super::{DatasetError, Index, MaskSource, Record, Template, UniqueMap};
use super::place::existing;
use super::polygon::pillow_mask;
use super::{Imported, Problem, check_outline, check_size, parse_split, pseudonym, unknown_name, unmapped};

/// CheXlocalize's (and CheXseg's) expert masks: a JSON object of image id → pathology → mask. A mask is a
/// COCO run-length code (`gt_segmentations_*.json`) or a list of polygons beside `img_size`
/// (`gt_annotations_*.json`); the file tells which. A pathology that an image does not name is absent there.
///
/// ```toml
/// [data.chexlocalize]
/// format = "chexlocalize"
/// path = "CheXpert-v1.0/valid"
/// masks = "../../CheXlocalize/gt_annotations_val.json"
/// split = "strong_val"
/// [data.chexlocalize.classes]      # our label → pathologies whose union it is
/// cardiomegaly = ["Cardiomegaly"]
/// enlarged_cardiomediastinum = ["Enlarged Cardiomediastinum", "Cardiomegaly"]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheXlocalizeSpec {
    /// Folder of the images, relative to the data root or absolute.
    pub path: PathBuf,
    /// The JSON file, relative to that folder or absolute.
    pub masks: PathBuf,
    /// Path of an image, of `{patient}`, `{study}`, `{view}` and `{id}`: the id
    /// `patient64541_study1_view1_frontal` has the patient `patient64541`, the study `study1` and the view
    /// `view1_frontal`.
    #[serde(default = "default_image")]
    pub image: Template,
    /// The split: a literal, or of the same placeholders.
    pub split: Template,
    /// The source; the data set's name if left out.
    #[serde(default)]
    pub source: Option<String>,
    /// Whose pseudonyms the patients are; the data set's own if left out.
    #[serde(default)]
    pub patients: Option<String>,
    /// Patients to leave out.
    #[serde(default)]
    pub exclude_patients: BTreeSet<String>,
    /// Our label → pathologies whose union it is.
    pub classes: BTreeMap<String, Vec<String>>,
}

/// What the file says of one image: pathology → mask, and perhaps `img_size`.
type Entry = UniqueMap<Value>;

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Code(Rle),
    Size([usize; 2]),
    Polygons(Vec<Vec<[f64; 2]>>),
}

fn default_image() -> Template {
    Template::new("{patient}/{study}/{view}.jpg").expect("a well-formed literal")
}

impl CheXlocalizeSpec {
    /// Reads the masks and looks whether every image is there. Pictures are not opened yet.
    pub fn import(&self, name: &str, root: &Path) -> Result<Imported, DatasetError> {
        let folder = root.join(&self.path);
        let path = folder.join(&self.masks);
        let text =
            fs::read_to_string(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
        let UniqueMap::<Entry>(entries) = serde_json::from_str(&text)
            .map_err(|source| DatasetError::Json { path: path.clone(), source })?;
        let known: BTreeSet<&str> = entries
            .values()
            .flat_map(|entry| entry.0.keys())
            .map(String::as_str)
            .filter(|k| *k != "img_size")
            .collect();
        if let Some(error) = unknown_name(&path, "pathology", &self.classes, &known) {
            return Err(error);
        }
        let (mut index, mut problems) = (Index::default(), Vec::new());
        problems.extend(unmapped(name, &self.classes, &known));
        let mut excluded = 0;
        for (id, entry) in &entries {
            let place = format!("{} image {id}", path.display());
            match self.record(name, &folder, id, entry, &place) {
                Ok(Some(record)) => index.records.push(record),
                Ok(None) => excluded += 1,
                Err(error) => problems.push(error.into()),
            }
        }
        if excluded > 0 {
            let (dataset, reason) = (name.to_owned(), "exclude_patients names their patients".to_owned());
            problems.push(Problem::LeftAside { dataset, images: excluded, reason });
        }
        Ok(Imported { index, problems })
    }

    /// The entry's image; none if its patient is to be left out.
    fn record(
        &self,
        name: &str,
        folder: &Path,
        id: &str,
        entry: &Entry,
        place: &str,
    ) -> Result<Option<Record>, DatasetError> {
        let parts: Vec<&str> = id.splitn(3, '_').collect();
        let [patient, study, view] = parts[..] else {
            let reason = "expected an id such as patient64541_study1_view1_frontal".to_owned();
            return Err(DatasetError::Entry { place: place.to_owned(), reason });
        };
        if patient.is_empty() {
            let reason =
                "no patient before the first _; expected patient64541_study1_view1_frontal".to_owned();
            return Err(DatasetError::Entry { place: place.to_owned(), reason });
        }
        if self.exclude_patients.contains(patient) {
            return Ok(None);
        }
        let fill = |template: &Template| {
            template.fill(|field| match field {
                "patient" => Some(patient),
                "study" => Some(study),
                "view" => Some(view),
                "id" => Some(id),
                _ => None,
            })
        };
        let relative = fill(&self.image);
        let mut masks = BTreeMap::new();
        for (label, pathologies) in &self.classes {
            let mut codes = Vec::new();
            for pathology in pathologies {
                codes.extend(code(entry, pathology, place)?);
            }
            masks.insert(label.clone(), MaskSource::Codes(codes));
        }
        Ok(Some(Record {
            id: format!("{name}/{relative}"),
            dataset: name.to_owned(),
            source: self.source.clone().unwrap_or_else(|| name.to_owned()),
            patient: pseudonym(self.patients.as_deref(), name, patient),
            split: parse_split(&fill(&self.split), place)?,
            image: existing(folder, &relative, place)?,
            masks,
            findings: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }))
    }
}

/// The mask of a pathology; none where the image has none.
fn code(entry: &Entry, pathology: &str, place: &str) -> Result<Option<Rle>, DatasetError> {
    let bad = |reason: String| DatasetError::Entry { place: format!("{place}, {pathology}"), reason };
    let polygons = match entry.0.get(pathology) {
        None => return Ok(None),
        Some(Value::Polygons(polygons)) if polygons.is_empty() => return Ok(None),
        Some(Value::Code(code)) => {
            let area = code.area().map_err(|error| bad(error.to_string()))?;
            return Ok((area > 0).then(|| code.clone()));
        }
        Some(Value::Size(_)) => return Err(bad("expected polygons or a run-length code".into())),
        Some(Value::Polygons(polygons)) => polygons,
    };
    let Some(Value::Size([rows, cols])) = entry.0.get("img_size") else {
        return Err(bad("polygons need img_size = [rows, columns] beside them".into()));
    };
    check_size(*rows, *cols).map_err(bad)?;
    check_outline(polygons.iter().flatten().flatten()).map_err(bad)?;
    let mask = pillow_mask(*rows, *cols, polygons);
    Ok((!mask.is_empty()).then(|| Rle::encode(&mask)))
}

#[cfg(test)]
mod tests {
    use shared::mask::Mask;

    use super::*;
    use crate::dataset::Split;

    fn folder(masks: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let study = dir.path().join("valid/patient64541/study1");
        fs::create_dir_all(&study).unwrap();
        fs::write(study.join("view1_frontal.jpg"), b"").unwrap();
        fs::write(dir.path().join("valid/masks.json"), masks).unwrap();
        dir
    }

    fn spec() -> CheXlocalizeSpec {
        toml::from_str(
            r#"
            path = "valid"
            masks = "masks.json"
            split = "strong_val"
            [classes]
            cardiomegaly = ["Cardiomegaly"]
            enlarged_cardiomediastinum = ["Enlarged Cardiomediastinum", "Cardiomegaly"]
            "#,
        )
        .unwrap()
    }

    fn codes(record: &Record, label: &str) -> Vec<Mask> {
        let MaskSource::Codes(codes) = &record.masks[label] else { panic!("codes") };
        codes.iter().map(|code| code.decode().unwrap()).collect()
    }

    #[test]
    fn polygons_are_filled_and_cardiomegaly_counts_for_the_mediastinum() {
        let dir = folder(
            r#"{"patient64541_study1_view1_frontal": {"img_size": [20, 30],
                "Cardiomegaly": [[[4.9, 5.2], [14.1, 5.9], [14.0, 12.0], [4.0, 12.9]]],
                "Enlarged Cardiomediastinum": [[[20, 2], [25, 2], [25, 9], [20, 9]]], "Edema": []}}"#,
        );
        let imported = spec().import("loc", dir.path()).unwrap();
        let record = &imported.index.records[0];
        assert_eq!((record.patient.as_str(), record.split), ("loc/patient64541", Split::StrongVal));
        let heart = Mask::from_fn(20, 30, |r, c| (5..=12).contains(&r) && (4..=14).contains(&c));
        assert_eq!(codes(record, "cardiomegaly"), std::slice::from_ref(&heart));
        let middle = Mask::from_fn(20, 30, |r, c| (2..=9).contains(&r) && (20..=25).contains(&c));
        assert_eq!(codes(record, "enlarged_cardiomediastinum"), [middle, heart]);
        let text = imported.problems[0].to_string();
        assert!(text.contains("not used: Edema"), "{text}");
    }

    #[test]
    fn codes_are_taken_over_and_empty_ones_mean_absent() {
        let mask = Rle::encode(&Mask::from_fn(6, 8, |r, _| r == 3));
        let masks = serde_json::json!({"patient64541_study1_view1_frontal": {
            "Cardiomegaly": Rle::encode(&Mask::empty(6, 8)), "Enlarged Cardiomediastinum": mask}});
        let dir = folder(&masks.to_string());
        let record = spec().import("loc", dir.path()).unwrap().index.records.remove(0);
        assert_eq!(record.masks["cardiomegaly"], MaskSource::Codes(Vec::new()));
        assert_eq!(record.masks["enlarged_cardiomediastinum"], MaskSource::Codes(vec![mask]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let id = "patient64541_study1_view1_frontal";
        let others = r#""Enlarged Cardiomediastinum": []"#;
        for (masks, part) in [
            (format!(r#"{{"{id}": {{"Cardiomegaly": [], "Edema": []}}}}"#), "no pathology \"Enlarged"),
            (format!(r#"{{"{id}": {{"Cardiomegaly": [[[1, 2]]], {others}}}}}"#), "need img_size"),
            (format!(r#"{{"x": {{"Cardiomegaly": [], {others}}}}}"#), "expected an id such as"),
            (
                format!(r#"{{"{id}": {{"img_size": [99999, 9], "Cardiomegaly": [[[1, 2]]], {others}}}}}"#),
                "exceeds the limit",
            ),
            (
                format!(r#"{{"{id}": {{"img_size": [9, 9], "Cardiomegaly": [[[1, 2e9]]], {others}}}}}"#),
                "2000000000",
            ),
            (
                format!(r#"{{"{id}": {{"Cardiomegaly": {{"size": [2, 2], "counts": "3"}}, {others}}}}}"#),
                "runs cover 3",
            ),
            (format!(r#"{{"patient1_study1_view1": {{"Cardiomegaly": [], {others}}}}}"#), "does not exist"),
            (format!(r#"{{"_study1_view1": {{"Cardiomegaly": [], {others}}}}}"#), "no patient before"),
            (
                format!(r#"{{"{id}": {{"Cardiomegaly": [], "Cardiomegaly": [], {others}}}}}"#),
                "\"Cardiomegaly\" stands here twice",
            ),
            (format!(r#"{{"{id}": {{{others}}}, "{id}": {{{others}}}}}"#), "frontal\" stands here twice"),
            ("[]".to_owned(), "masks.json"),
        ] {
            let error =
                spec().import("loc", folder(&masks).path()).and_then(Imported::into_index).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
