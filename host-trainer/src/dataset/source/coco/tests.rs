use super::*;

/// An image of 12 × 14 with what pycocotools makes of each kind of segmentation, all the same square
/// (`tests/python/polygons.py`, case "square").
const SQUARE: &str = include_str!("../../../../golden/coco.json");

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
fn an_annotation_that_outlines_nothing_says_nothing() {
    let document = r#"{"images": [{"id": 1, "height": 5, "width": 6, "file_name": "a.png", "person": 7}],
        "categories": [{"id": 1, "name": "rib"}, {"id": 2, "name": "device"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 2, "segmentation": []}]}"#;
    let dir = folder(document);
    let device = |extra: &str| {
        spec(extra).import("coco", dir.path()).unwrap().index.records[0].masks.get("device").cloned()
    };
    assert_eq!(device(""), None);
    assert_eq!(device("exhaustive = true"), Some(MaskSource::Codes(Vec::new())));
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
        (with("").replace("{\"id\": 2", "{\"id\": 1"), "category 1: both \"rib\" and \"device\""),
        (with("").replace(": 7}", ": \"\"}"), "image 1: no patient"),
        (
            with("").replace(": 7}", ": 7}, {\"id\": 1, \"height\": 5, \"width\": 6, \"file_name\": \"b.png\"}"),
            "image 1: 2 images have this id",
        ),
        (
            with(
                r#"{"id": 9, "image_id": 1, "category_id": 1,
                "segmentation": [[-9000, 0, 9000, 1, -9000, 2, 9000, 3, -9000, 4, 9000, 0, -9000, 1, 9000, 2]]}"#,
            )
            .replace("[[", &format!("[[{}", "-9000, 0, 9000, 4, ".repeat(60))),
            "outlines are too long",
        ),
        (with("").replace("\"person\"", "\"who\""), "no field \"person\""),
        (with("").replace("a.png", "../a.png"), "leaves the data folder"),
        (with("").replace("a.png", "z.png"), "does not exist"),
    ] {
        let error =
            spec("").import("c", folder(&document).path()).and_then(Imported::into_index).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
