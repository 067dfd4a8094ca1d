use std::fs;
use std::path::{Path, PathBuf};

use image::imageops::{FilterType, resize};
use image::{GrayImage, Luma};
use rand::{Rng as _, SeedableRng as _};
use shared::mask::Mask;

use super::*;
use crate::dataset::{IndexSpec, MaskSource, Split, load_annotated};

/// A picture like no other of another seed: coarse random greys, smoothed.
fn picture(seed: u64) -> GrayImage {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let coarse = GrayImage::from_fn(9, 9, |_, _| Luma([rng.random()]));
    resize(&coarse, 60, 44, FilterType::Triangle)
}

/// A data set `set` of (file, patient, split) with different pictures; every strong one but the first has a
/// heart of ten rows.
fn data(rows: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    fs::create_dir_all(set.join("png/heart")).unwrap();
    let mut table = "file,patient,split,ill\n".to_owned();
    for (i, (file, patient, split)) in rows.iter().enumerate() {
        picture(i as u64).save(set.join("png").join(file)).unwrap();
        let height = if i == 0 { 0 } else { 10 };
        Mask::from_fn(44, 60, |r, _| r < height).to_gray().save(set.join("png/heart").join(file)).unwrap();
        table += &format!("{file},{patient},{split},{}\n", i % 2);
    }
    fs::write(set.join("labels.csv"), table).unwrap();
    dir
}

fn spec() -> BTreeMap<String, DataSpec> {
    let text = r#"
        [set]
        format = "folder"
        path = "set"
        image = "png/{file}"
        mask = "png/heart/{file}"
        patient = "{patient}"
        classes = { heart = ["heart"] }
        findings = { ill = { column = "ill" } }
    "#;
    toml::from_str(text).unwrap()
}

const ROWS: [(&str, &str, &str); 4] = [
    ("a.png", "1", "strong_train"),
    ("b.png", "2", "strong_train"),
    ("c.png", "2", "strong_train"),
    ("d.png", "3", "weak"),
];

fn run(root: &Path, out: &Path, max_side: Option<usize>, skip_broken: bool) -> ImportReport {
    let terms = BTreeMap::from([("set".to_owned(), "CC0".to_owned())]);
    import(&spec(), root, &ImportOptions { out, max_side, skip_broken, terms: &terms }, &|_| ()).unwrap()
}

fn read(out: &Path) -> Vec<Record> {
    let spec = IndexSpec { path: out.to_owned() };
    spec.import(Path::new("/")).and_then(Imported::into_index).unwrap().records
}

fn texts(report: &ImportReport) -> Vec<String> {
    report.problems.iter().map(ToString::to_string).collect()
}

fn out(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[test]
fn the_normal_form_holds_the_same_pixels_masks_and_findings() {
    let dir = data(&ROWS);
    let report = run(dir.path(), &out(&dir, "one"), None, false);
    assert_eq!((report.written, texts(&report).len()), (Some(4), 0), "{:?}", report.problems);
    let original = import_all(&spec(), dir.path()).unwrap().index.records;
    let labels = ["heart".to_owned()];
    for (a, b) in original.iter().zip(read(&out(&dir, "one"))) {
        let (x, y) = (load_annotated(a, &labels).unwrap(), load_annotated(&b, &labels).unwrap());
        assert_eq!((x.frame, x.masks), (y.frame, y.masks));
        assert_eq!((&a.id, &a.patient, a.split, &a.findings), (&b.id, &b.patient, b.split, &b.findings));
    }
    run(dir.path(), &out(&dir, "two"), None, false);
    let index = |name| fs::read(out(&dir, name).join(INDEX_FILE)).unwrap();
    assert_eq!(index("one"), index("two"));
}

#[test]
fn an_import_can_be_imported_and_gives_the_same_index_again() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let again = BTreeMap::from([("x".to_owned(), DataSpec::Index(IndexSpec { path: out(&dir, "one") }))]);
    let terms = BTreeMap::from([("set".to_owned(), "CC0".to_owned())]);
    let two = out(&dir, "two");
    let options = ImportOptions { out: &two, max_side: None, skip_broken: false, terms: &terms };
    assert_eq!(import(&again, dir.path(), &options, &|_| ()).unwrap().written, Some(4));
    let index = |name| fs::read(out(&dir, name).join(INDEX_FILE)).unwrap();
    assert_eq!(index("one"), index("two"));
}

#[test]
fn terms_are_carried_along_and_the_configuration_goes_before() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let again = BTreeMap::from([("x".to_owned(), DataSpec::Index(IndexSpec { path: out(&dir, "one") }))]);
    let known = import_all(&again, dir.path()).unwrap().index.terms;
    assert_eq!(known, BTreeMap::from([("set".to_owned(), "CC0".to_owned())]));
    for (name, terms, expected) in [("two", None, "CC0"), ("three", Some("CC BY"), "CC BY")] {
        let terms = terms.map(|terms: &str| ("set".to_owned(), terms.to_owned())).into_iter().collect();
        let out = out(&dir, name);
        let options = ImportOptions { out: &out, max_side: None, skip_broken: false, terms: &terms };
        import(&again, dir.path(), &options, &|_| ()).unwrap();
        let spec = IndexSpec { path: out };
        assert_eq!(spec.import(Path::new("/")).unwrap().index.terms["set"], expected);
    }
}

#[test]
fn an_image_that_is_not_the_imported_one_is_named() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let image = out(&dir, "one").join("images/set/png/b.png");
    // Another file, not another content of the linked one.
    fs::remove_file(&image).unwrap();
    picture(77).save(&image).unwrap();
    let index = out(&dir, "one").join(INDEX_FILE);
    let text = fs::read_to_string(&index).unwrap();
    let (head, last) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&index, format!("{head}\n{}\n", last.replace("\"rows\":44", "\"rows\":43"))).unwrap();
    let again = BTreeMap::from([("x".to_owned(), DataSpec::Index(IndexSpec { path: out(&dir, "one") }))]);
    let (two, terms) = (out(&dir, "two"), BTreeMap::new());
    let options = ImportOptions { out: &two, max_side: None, skip_broken: false, terms: &terms };
    let report = import(&again, dir.path(), &options, &|_| ()).unwrap();
    assert_eq!(report.written, None);
    let text = texts(&report).join("\n");
    assert!(text.contains("image set/png/b.png") && text.contains("(SHA-256 "), "{text}");
    assert!(text.contains("image set/png/d.png") && text.contains("43 × 60 pixels in the index"), "{text}");
    let read = import_all(&again, dir.path()).unwrap().index;
    let errors: Vec<bool> = read.records.iter().map(|r| read.load_checked(r, &[]).is_err()).collect();
    assert_eq!(errors, [false, true, false, true]);
}

#[test]
fn the_summary_counts_masks_and_findings() {
    let dir = data(&ROWS);
    let report = run(dir.path(), &out(&dir, "one"), None, false);
    let row = &report.summary.rows[&("set".to_owned(), "set".to_owned(), Split::StrongTrain)];
    assert_eq!((row.images, row.patients.len()), (3, 2));
    assert_eq!((row.classes["heart"], row.findings["ill"]), ([3, 2], [1, 2, 0]));
    let table = report.summary.table();
    assert!(table.contains("with mask") && table.contains("uncertain") && table.contains("weak"), "{table}");
}

#[test]
fn images_shrink_with_their_masks() {
    let dir = data(&ROWS);
    assert_eq!(run(dir.path(), &out(&dir, "small"), Some(30), false).written, Some(4));
    let records = read(&out(&dir, "small"));
    assert!(records[1].image.ends_with("images/set/png/b.png@30.png"), "{}", records[1].image.display());
    let small = load_annotated(&records[1], &["heart".to_owned()]).unwrap();
    assert_eq!((small.frame.rows(), small.frame.cols()), (22, 30));
    assert_eq!(small.masks[0], Some(Mask::from_fn(22, 30, |r, _| r < 5)));
    assert_eq!(image::open(&records[1].image).unwrap().color(), image::ColorType::L8);
}

#[test]
fn all_that_is_broken_is_listed_and_skipped_only_on_request() {
    let dir = data(&[ROWS[0], ROWS[1], ("c.png", "4", "strong_val"), ROWS[3], ("e.png", "1", "weak")]);
    let png = dir.path().join("set/png");
    fs::write(png.join("d.png"), b"no picture").unwrap();
    Mask::empty(44, 59).to_gray().save(png.join("heart/c.png")).unwrap();
    let table = fs::read_to_string(dir.path().join("set/labels.csv")).unwrap();
    fs::write(dir.path().join("set/labels.csv"), table + "z.png,9,weak,\n").unwrap();
    let report = run(dir.path(), &out(&dir, "one"), None, false);
    let text = texts(&report).join("\n");
    for part in [
        "z.png does not exist",
        "patient set/1 stands in strong_train",
        "d.png: failed to decode",
        "c.png has 44 × 59 pixels, its image 44 × 60",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(report.written, None);
    assert!(!out(&dir, "one").exists());
    assert_eq!(run(dir.path(), &out(&dir, "one"), None, true).written, Some(2));
    assert_eq!(read(&out(&dir, "one")).len(), 2);
}

#[test]
fn a_picture_in_two_splits_is_a_leak_and_the_lesser_split_loses_it() {
    let dir = data(&[ROWS[0], ROWS[1], ("c.jpg", "7", "weak"), ("t.png", "8", "strong_test")]);
    let png = dir.path().join("set/png");
    // A recompressed copy of another patient's test image.
    image::open(png.join("t.png")).unwrap().to_luma8().save(png.join("c.jpg")).unwrap();
    let report = run(dir.path(), &out(&dir, "one"), None, false);
    assert_eq!(report.written, None);
    let text = texts(&report).join("\n");
    assert!(text.contains("leak: set/png/t.png (strong_test) and set/png/c.jpg (weak)"), "{text}");
    assert_eq!(run(dir.path(), &out(&dir, "one"), None, true).written, Some(3));
    assert!(read(&out(&dir, "one")).iter().all(|record| record.patient != "set/7"));
}

#[test]
fn a_patient_in_two_splits_keeps_the_one_that_promises_most() {
    let dir = data(&[
        ("a.png", "1", "weak"),
        ("b.png", "1", "strong_test"),
        ("c.png", "1", "strong_train"),
        ("d.png", "2", "strong_train"),
        ("e.png", "2", "strong_val"),
    ]);
    let report = run(dir.path(), &out(&dir, "one"), None, true);
    let text = texts(&report).join("\n");
    assert!(text.contains("stands in strong_test (set/png/b.png) and in weak (set/png/a.png)"), "{text}");
    let kept: Vec<String> = read(&out(&dir, "one")).into_iter().map(|record| record.id).collect();
    assert_eq!(kept, ["set/png/b.png", "set/png/e.png"]);
}

#[test]
fn an_id_that_leads_out_of_the_folder_is_not_imported() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let index = out(&dir, "one").join(INDEX_FILE);
    let text = fs::read_to_string(&index).unwrap();
    let evil = text.replace("\"id\":\"set/png/b.png\"", "\"id\":\"../../escaped.png\"");
    assert_ne!(text, evil);
    fs::write(&index, evil).unwrap();
    let again = BTreeMap::from([("x".to_owned(), DataSpec::Index(IndexSpec { path: out(&dir, "one") }))]);
    let (two, terms) = (out(&dir, "two"), BTreeMap::new());
    let options = ImportOptions { out: &two, max_side: None, skip_broken: true, terms: &terms };
    assert_eq!(import(&again, dir.path(), &options, &|_| ()).unwrap().written, Some(3));
    assert!(!dir.path().join("escaped.png").exists());
}

#[test]
fn a_picture_twice_in_a_split_is_listed() {
    let dir = data(&ROWS);
    let png = dir.path().join("set/png");
    fs::copy(png.join("a.png"), png.join("b.png")).unwrap();
    let report = run(dir.path(), &out(&dir, "one"), None, false);
    let text = texts(&report).join("\n");
    assert!(text.contains("set/png/a.png and set/png/b.png are the same picture"), "{text}");
    assert_eq!(report.written, Some(4));
}

#[test]
fn an_empty_class_and_a_data_set_of_one_patient_are_listed() {
    let dir = data(&[("a.png", "1", "strong_train")]);
    let text = texts(&run(dir.path(), &out(&dir, "one"), None, false)).join("\n");
    assert!(text.contains("none of the 1 images annotated for heart shows it"), "{text}");
    assert!(text.contains("all 1 images are of one patient"), "{text}");
}

#[test]
fn an_index_is_not_overwritten() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let (one, terms) = (out(&dir, "one"), BTreeMap::new());
    let options = ImportOptions { out: &one, max_side: None, skip_broken: false, terms: &terms };
    let error = import(&spec(), dir.path(), &options, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
}

#[test]
fn records_keep_their_masks_as_codes() {
    let dir = data(&ROWS);
    run(dir.path(), &out(&dir, "one"), None, false);
    let records = read(&out(&dir, "one"));
    assert_eq!(records[0].masks["heart"], MaskSource::Codes(Vec::new()));
    assert!(matches!(&records[1].masks["heart"], MaskSource::Codes(codes) if codes.len() == 1));
    assert!(records[3].masks.is_empty());
}
