use std::fs;

use super::*;
use crate::dataset::{DataSpec, Finding, Split, import_all};

/// A folder with one picture a line of `table`, and masks of one class.
fn folder(table: &str, masks: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    fs::create_dir_all(set.join("png")).unwrap();
    fs::create_dir_all(set.join("mask/heart")).unwrap();
    fs::write(set.join("labels.csv"), table).unwrap();
    for name in ["a.png", "b.png"] {
        fs::write(set.join("png").join(name), b"").unwrap();
    }
    for name in masks {
        fs::write(set.join("mask/heart").join(name), b"").unwrap();
    }
    dir
}

fn spec() -> FolderSpec {
    toml::from_str(
        r#"
        path = "set"
        image = "png/{filename}"
        mask = "mask/{class}/{filename}"
        patient = "{patient}"
        [classes]
        heart = ["heart"]
        "#,
    )
    .unwrap()
}

/// Through [`import_all`], as a configuration would.
fn import(spec: FolderSpec, root: &Path) -> Result<Index, DatasetError> {
    import_all([(&"set".to_owned(), &DataSpec::Folder(spec))], root)?.into_index()
}

#[test]
fn only_lines_with_the_wanted_values_are_read() {
    let dir = folder("filename,patient,split\na.png,1,weak\nb.png,2,strong_test\n", &[]);
    let text = |extra: &str| {
        format!("path = \"set\"\nimage = \"png/{{filename}}\"\npatient = \"{{patient}}\"\n{extra}")
    };
    let spec = |extra: &str| toml::from_str::<FolderSpec>(&text(extra)).unwrap();
    let read = |extra: &str| spec(extra).import("d", dir.path()).map(|imported| imported.index.records.len());
    assert_eq!(read("").unwrap(), 2);
    assert_eq!(read("only = { split = [\"weak\"] }").unwrap(), 1);
    assert!(read("only = { hospital = [\"x\"] }").unwrap_err().to_string().contains("hospital"));
}

#[test]
fn strong_records_have_masks_and_weak_ones_none() {
    let dir = folder("filename,patient,split\na.png,1,weak\nb.png,2,strong_train\n", &["b.png"]);
    let index = import(spec(), dir.path()).unwrap();
    assert_eq!(index.records.len(), 2);
    assert!(index.records[0].masks.is_empty());
    let file = dir.path().join("set/mask/heart/b.png");
    assert_eq!(index.records[1].masks["heart"], MaskSource::Files(vec![file]));
    assert_eq!(index.of(Split::StrongTrain)[0].patient, "set/2");
    assert_eq!(index.counts()[&("set".to_owned(), "set".to_owned(), Split::Weak)], 1);
}

#[test]
fn missing_mask_is_an_error_or_absence_as_configured() {
    let dir = folder("filename,patient,split\na.png,1,strong_val\nb.png,2,strong_val\n", &["b.png"]);
    let error = import(spec(), dir.path()).unwrap_err();
    assert!(error.to_string().contains("mask/heart/a.png"), "{error}");
    let lenient = FolderSpec { missing_mask: MissingMask::Absent, ..spec() };
    let index = import(lenient, dir.path()).unwrap();
    assert_eq!(index.records[0].masks["heart"], MaskSource::Files(Vec::new()));
}

#[test]
fn a_class_without_a_single_mask_file_is_a_mistake_and_not_absent() {
    let dir = folder("filename,patient,split\na.png,1,strong_val\nb.png,2,strong_val\n", &["b.png"]);
    let mut spec = FolderSpec { missing_mask: MissingMask::Absent, ..spec() };
    spec.classes.insert("lung".into(), vec!["lnug".into()]);
    let imported = spec.import("set", dir.path()).unwrap();
    assert!(imported.index.records.iter().all(|record| record.masks.keys().eq(["heart"])));
    let text = imported.into_index().unwrap_err().to_string();
    assert!(text.contains("class \"lung\"") && text.contains("mask/{class}/{filename} with lnug"), "{text}");
    // Weak images have no masks to miss.
    let dir = folder("filename,patient,split\na.png,1,weak\n", &[]);
    assert!(import(spec, dir.path()).is_ok());
}

#[test]
fn a_column_of_unknown_values_is_a_mistake_and_blanks_are_not() {
    let table = "filename,patient,split,ill,blank\na.png,1,weak,yes,\nb.png,2,weak,no,\n";
    let dir = folder(table, &[]);
    let with = |findings: &str| {
        let text = "path = \"set\"\nimage = \"png/{filename}\"\npatient = \"{patient}\"\n";
        let spec = toml::from_str(&format!("{text}{findings}")).unwrap();
        import(spec, dir.path()).map_err(|error| error.to_string())
    };
    let error = with("findings.ill = { column = \"ill\" }").unwrap_err();
    assert!(error.contains("\"ill\" knows no value of the column \"ill\" (such as yes, no)"), "{error}");
    assert!(with("findings.ill = { column = \"ill\", present = [], absent = [\"no\"] }").is_ok());
    assert!(with("findings.ill = { column = \"blank\" }").is_ok());
}

#[test]
fn missing_image_is_named_and_the_others_are_kept() {
    let dir = folder("filename,patient,split\nc.png,1,weak\na.png,2,weak\n", &[]);
    let imported = spec().import("set", dir.path()).unwrap();
    assert_eq!(imported.index.records.len(), 1);
    let text = imported.problems[0].to_string();
    assert!(text.contains("png/c.png does not exist") && text.contains("labels.csv line 2"), "{text}");
    assert!(imported.into_index().is_err());
}

#[test]
fn patient_in_two_splits_is_refused_and_may_be_left_out() {
    let dir = folder("filename,patient,split\na.png,1,weak\nb.png,1,strong_test\n", &["b.png"]);
    let error = import(spec(), dir.path()).unwrap_err();
    assert!(matches!(error, DatasetError::PatientInTwoSplits { .. }), "{error}");
    assert!(error.to_string().contains("patient set/1"), "{error}");
    let without = FolderSpec { exclude_patients: BTreeSet::from(["1".to_owned()]), ..spec() };
    assert!(import(without, dir.path()).unwrap().records.is_empty());
}

#[test]
fn data_sets_of_one_collection_share_its_patients() {
    let dir = folder("filename,patient,split\na.png,1,weak\n", &[]);
    let strong =
        |spec| FolderSpec { split: Template::new("strong_val").unwrap(), classes: BTreeMap::new(), ..spec };
    let both = |spec: FolderSpec| {
        let sets = BTreeMap::from([
            ("a".to_owned(), DataSpec::Folder(spec.clone())),
            ("b".to_owned(), DataSpec::Folder(strong(spec))),
        ]);
        import_all(&sets, dir.path()).and_then(Imported::into_index)
    };
    assert_eq!(both(spec()).unwrap().records.len(), 2);
    let error = both(FolderSpec { patients: Some("clinic".into()), ..spec() }).unwrap_err();
    assert!(error.to_string().contains("patient clinic/1 stands in strong_val (b/"), "{error}");
}

#[test]
fn unknown_split_duplicate_and_escape_are_refused() {
    for (table, part) in [
        ("filename,patient,split\na.png,1,train\n", "unknown split"),
        ("filename,patient,split\na.png,1,weak\na.png,1,weak\n", "listed before"),
        ("filename,patient,split\n../../etc/x.png,1,weak\n", "leaves the data folder"),
        ("filename,patient,split\na.png,,weak\n", "no patient"),
        ("filename,split\na.png,weak\n", "no column \"patient\""),
        ("filename,patient,split\na.png,1\n", "labels.csv"),
    ] {
        let dir = folder(table, &[]);
        let error = import(spec(), dir.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn findings_and_attributes_come_from_columns_and_quoted_fields_are_read() {
    let dir = folder(
        "\u{feff}filename,patient,why,tube,age\na.png,1,\"Flu, ARDS\",Y,40\nb.png,2,No Finding,,\n",
        &[],
    );
    let spec: FolderSpec = toml::from_str(
        r#"
        path = "set"
        image = "png/{filename}"
        split = "weak"
        patient = "{patient}"
        findings.lung_opacity = { column = "why", present = ["*"], absent = ["No Finding"] }
        findings.support_devices = { column = "tube", present = ["Y"], absent = ["N"] }
        attributes.age = "age"
        "#,
    )
    .unwrap();
    let records = import(spec.clone(), dir.path()).unwrap().records;
    assert_eq!(records[0].findings["lung_opacity"], Finding::Present);
    assert_eq!(records[0].findings["support_devices"], Finding::Present);
    assert_eq!(records[0].attributes["age"], "40");
    assert_eq!(records[1].findings, BTreeMap::from([("lung_opacity".to_owned(), Finding::Absent)]));
    assert!(records[1].attributes.is_empty());
    let mut wrong = spec;
    wrong.attributes.insert("sex".into(), "sex".into());
    let error = import(wrong, dir.path()).unwrap_err().to_string();
    assert!(error.contains("no column \"sex\" for the attribute \"sex\""), "{error}");
}

#[test]
fn unknown_keys_are_refused() {
    assert!(toml::from_str::<FolderSpec>("path = \"a\"\nimages = \"b\"\n").is_err());
}

#[test]
fn what_experts_mean_beyond_a_class_is_cut_out_of_it() {
    let dir = folder("filename,patient,split\na.png,1,strong_val\n", &["a.png"]);
    let set = dir.path().join("set");
    let picture = |values: [u8; 4]| image::GrayImage::from_raw(2, 2, values.to_vec()).unwrap();
    fs::create_dir_all(set.join("mask/lung")).unwrap();
    picture([9; 4]).save(set.join("png/a.png")).unwrap();
    picture([255, 255, 255, 0]).save(set.join("mask/lung/a.png")).unwrap();
    picture([255, 0, 0, 255]).save(set.join("mask/heart/a.png")).unwrap();
    let mut spec = FolderSpec {
        classes: [("lung".to_owned(), vec!["lung".to_owned()])].into(),
        without: [("lung".to_owned(), vec!["heart".to_owned()])].into(),
        ..spec()
    };
    let index = import(spec.clone(), dir.path()).unwrap();
    let annotated = crate::dataset::load_annotated(&index.records[0], &["lung".to_owned()]).unwrap();
    assert_eq!(annotated.masks[0].as_ref().unwrap().data(), [0, 1, 1, 0]);
    // What is missing cuts nothing, where a missing mask means that readers drew nothing.
    spec.missing_mask = MissingMask::Absent;
    fs::remove_file(set.join("mask/heart/a.png")).unwrap();
    let index = import(spec.clone(), dir.path()).unwrap();
    assert!(matches!(&index.records[0].masks["lung"], MaskSource::Files(files) if files.len() == 1));
    spec.classes.clear();
    assert_eq!(spec.fault().unwrap().0, "without.lung");
}

#[test]
fn what_is_in_no_image_counts_as_annotated_and_empty_where_the_others_are() {
    let table = "filename,patient,split\na.png,1,strong_val\nb.png,2,weak\n";
    let dir = folder(table, &["a.png"]);
    let mut spec = FolderSpec { absent: ["wires".to_owned()].into(), ..spec() };
    let index = import(spec.clone(), dir.path()).unwrap();
    let wires = |i: usize| index.records[i].masks.get("wires");
    assert!(matches!(wires(0), Some(MaskSource::Files(files)) if files.is_empty()));
    assert!(wires(1).is_none());
    spec.absent = ["heart".to_owned()].into();
    assert!(spec.fault().unwrap().1.contains("\"heart\""));
    spec.classes.clear();
    assert_eq!(spec.fault().unwrap().0, "absent");
}
