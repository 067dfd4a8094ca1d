use std::path::Path;

use super::*;
use crate::specimen;
use crate::testing::{disc, write_bundle};

fn options(dir: &Path, paths: Vec<PathBuf>) -> DemoOptions {
    let bundle = dir.join("model");
    fs::create_dir(&bundle).unwrap();
    write_bundle(&bundle).unwrap();
    let trust = Trust { keys: vec![], allow_unsigned: true };
    DemoOptions { out: dir.join("out"), paths, bundle, trust }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_get_results_and_what_is_no_image_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("files");
    fs::create_dir(&files).unwrap();
    disc().to_image16().save(files.join("a<b>.png")).unwrap();
    fs::copy(files.join("a<b>.png"), files.join("copy.png")).unwrap();
    fs::write(files.join("disc.dcm"), specimen::dicom_file(&disc(), &"1.2.3".parse().unwrap())).unwrap();
    fs::write(files.join("letter.dcm"), "Dear colleague,").unwrap();
    fs::write(files.join("empty.png"), "").unwrap();
    let options = options(dir.path(), vec![files]);
    assert_eq!(run(options.clone()).await.unwrap(), Exit::Ok);

    let page = fs::read_to_string(options.out.join("index.html")).unwrap();
    assert!(page.contains("3 of 5 with a result"), "{page}");
    assert!(page.contains("a&lt;b&gt;.png") && !page.contains("a<b>"), "names are escaped");
    assert_eq!(page.matches("Set aside: ").count(), 2);
    assert!(!page.contains("http"), "no external resources");
    // Files go out in order of their names: 1 a<b>.png, 2 copy.png, 3 disc.dcm.
    for number in 1..=3 {
        let overlay = image::open(options.out.join(format!("{number:04}.overlay.png"))).unwrap().to_rgb8();
        assert_eq!(overlay.dimensions(), (128, 96));
        let [r, _, b] = overlay.get_pixel(70, 40).0;
        assert!(r > b, "the disc is orange");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_send_is_said_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let options = options(dir.path(), vec![empty]);
    assert!(matches!(run(options.clone()).await, Err(DemoError::NothingToSend)));
    assert!(!options.out.exists());
}
