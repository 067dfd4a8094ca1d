//! The mask codec and the polygon fillers against Pillow and pycocotools themselves, not only their recorded
//! output.

use e2e_tests::{python, workspace};
use serde_json::Value;

#[test]
fn recorded_codes_are_still_those_of_pycocotools() {
    for (script, golden) in [
        ("python/pycocotools_rle.py", "shared/golden/pycocotools_rle.json"),
        ("python/polygons.py", "host-trainer/golden/polygons.json"),
        ("python/coco_instances.py", "host-trainer/golden/coco.json"),
    ] {
        let fresh: Value = serde_json::from_str(&python(script, &[])).unwrap();
        let recorded = std::fs::read(workspace().join(golden)).unwrap();
        let recorded: Value = serde_json::from_slice(&recorded).unwrap();
        assert_eq!(fresh, recorded, "{golden}");
    }
}
