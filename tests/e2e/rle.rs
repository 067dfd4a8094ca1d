//! The mask codec against pycocotools itself, not only its recorded output.

use e2e_tests::{python, workspace};
use serde_json::Value;

#[test]
fn recorded_codes_are_still_those_of_pycocotools() {
    let fresh: Value = serde_json::from_str(&python("python/pycocotools_rle.py", &[])).unwrap();
    let recorded = std::fs::read(workspace().join("shared/golden/pycocotools_rle.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&recorded).unwrap();
    assert_eq!(fresh, recorded);
}
