use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use shared::bundle::SIGNATURE;
use tch::Device;

use super::tests::{config, model};
use super::{QuantizeChoice, Request, export};
use crate::bundle::{Protection, SecretKey, create, keygen};

/// Every file below a folder by its path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("golden")] {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_same_checkpoint_gives_byte_identical_bundles() {
    let (config, dir) = (config(), tempfile::tempdir().unwrap());
    let model = model(&config);
    let made = keygen(dir.path(), Protection::None).unwrap();
    let key = SecretKey::load(&made.secret, || panic!("it has no password")).unwrap();
    let bundle = |name: &str| {
        let out = dir.path().join(name);
        let (quantize, device) = (QuantizeChoice::Int8, Device::Cpu);
        export(&Request {
            config: &config,
            model: &model,
            index: None,
            quantize,
            device,
            agent: None,
            teachers: &[],
            examination: None,
            out: &out,
        })
        .unwrap();
        create(&out, &key).unwrap();
        files(&out)
    };
    let (mut a, mut b) = (bundle("a"), bundle("b"));
    if a["manifest.toml"] != b["manifest.toml"] {
        // Only the day is told, and it may have changed in between.
        (a, b) = (bundle("a"), bundle("b"));
    }
    let differing: Vec<&String> = a.keys().filter(|name| a.get(*name) != b.get(*name)).collect();
    assert!(differing.is_empty() && a.len() == b.len(), "{differing:?} differ");
    assert!(a.contains_key(SIGNATURE));
}

#[test]
fn a_bundle_that_replaces_a_signed_one_does_not_keep_its_signature() {
    let (config, dir) = (config(), tempfile::tempdir().unwrap());
    let (model, out) = (model(&config), dir.path().join("tiny"));
    let export = || {
        let (quantize, device) = (QuantizeChoice::None, Device::Cpu);
        export(&Request {
            config: &config,
            model: &model,
            index: None,
            quantize,
            device,
            agent: None,
            teachers: &[],
            examination: None,
            out: &out,
        })
        .unwrap()
    };
    export();
    fs::write(out.join(SIGNATURE), "of the older one").unwrap();
    export();
    assert!(!out.join(SIGNATURE).exists());
}
