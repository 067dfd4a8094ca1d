use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ChexlocalizeError, Segmentations};
use crate::dataset::UniqueMap;

/// Image id → pathology → something.
pub(super) type ByImage<T> = BTreeMap<String, BTreeMap<String, T>>;

/// Reads a file of [`ByImage`] form; `parse` gets image, pathology and what stands there.
pub(super) fn read<T>(
    path: &Path,
    mut parse: impl FnMut(&str, &str, Value) -> Result<T, ChexlocalizeError>,
) -> Result<ByImage<T>, ChexlocalizeError> {
    let bytes = fs::read(path).map_err(|source| ChexlocalizeError::Read { path: path.to_owned(), source })?;
    let UniqueMap::<UniqueMap<Value>>(raw) = serde_json::from_slice(&bytes)
        .map_err(|source| ChexlocalizeError::Json { path: path.to_owned(), source })?;
    if raw.is_empty() {
        return Err(ChexlocalizeError::Empty { path: path.to_owned() });
    }
    let mut images = BTreeMap::new();
    for (image, UniqueMap(entries)) in raw {
        if entries.contains_key("img_size") {
            return Err(ChexlocalizeError::Polygons { path: path.to_owned(), image });
        }
        let mut parsed = BTreeMap::new();
        for (pathology, value) in entries {
            let value = parse(&image, &pathology, value)?;
            parsed.insert(pathology, value);
        }
        images.insert(image, parsed);
    }
    Ok(images)
}

/// Checks that `images`, read from `path`, speaks of the pathologies and of some image of the ground truth.
pub(super) fn check_against<T>(
    truth: &Segmentations,
    path: &Path,
    images: &ByImage<T>,
) -> Result<(), ChexlocalizeError> {
    let known: BTreeSet<&str> = truth.pathologies();
    for (image, entries) in images {
        if let Some(pathology) = entries.keys().find(|pathology| !known.contains(pathology.as_str())) {
            return Err(ChexlocalizeError::UnknownPathology {
                path: path.to_owned(),
                image: image.clone(),
                pathology: pathology.clone(),
                known: known.into_iter().collect::<Vec<_>>().join(", "),
            });
        }
    }
    if images.keys().any(|image| truth.images().contains_key(image)) {
        return Ok(());
    }
    let first = |ids: &mut dyn Iterator<Item = &String>| ids.next().cloned().unwrap_or_default();
    Err(ChexlocalizeError::NoCommonImage {
        truth: truth.path().to_owned(),
        found: path.to_owned(),
        truth_id: first(&mut truth.images().keys()),
        found_id: first(&mut images.keys()),
    })
}
