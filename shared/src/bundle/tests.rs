use std::fs;

use super::*;
use crate::manifest::tests::manifest;
use crate::mask::Mask;

fn bundle() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    fs::write(dir.path().join("model.onnx"), b"graph").unwrap();
    manifest.graph.sha256 = sha256_hex(b"graph");
    fs::write(dir.path().join(MANIFEST), manifest.to_toml().unwrap()).unwrap();
    fs::create_dir(dir.path().join("golden")).unwrap();
    let rle = Rle::encode(&Mask::empty(2, 2));
    let masks = manifest.classes.iter().map(|c| (c.label.clone(), rle.clone())).collect();
    let cases = [GoldenCase { input: "golden/one.png".into(), masks, logits: BTreeMap::new() }];
    fs::write(dir.path().join(GOLDEN), serde_json::to_vec(&cases).unwrap()).unwrap();
    fs::write(dir.path().join("golden/one.png"), b"png").unwrap();
    write_digests(dir.path()).unwrap();
    dir
}

fn refusal(change: impl FnOnce(&Path)) -> String {
    let dir = bundle();
    change(dir.path());
    Bundle::open(dir.path()).unwrap_err().to_string()
}

#[test]
fn what_was_written_opens() {
    let dir = bundle();
    let opened = Bundle::open(dir.path()).unwrap();
    assert_eq!(opened.model_sha256(), sha256_hex(b"graph"));
    assert_eq!(opened.golden().unwrap().len(), 1);
}

#[test]
fn altered_missing_and_unlisted_files_are_named() {
    let error = refusal(|d| fs::write(d.join("model.onnx"), b"evil").unwrap());
    assert!(error.contains("model.onnx is altered"), "{error}");
    let error = refusal(|d| fs::remove_file(d.join("golden/one.png")).unwrap());
    assert!(error.contains("one.png"), "{error}");
    let error = refusal(|d| fs::write(d.join("golden/two.png"), b"x").unwrap());
    assert!(error.contains("two.png is not listed"), "{error}");
    let error = refusal(|d| fs::remove_file(d.join(DIGESTS)).unwrap());
    assert!(error.contains("DIGESTS"), "{error}");
}

#[test]
fn a_graph_swapped_with_its_digest_is_still_seen() {
    let error = refusal(|d| {
        fs::write(d.join("model.onnx"), b"evil").unwrap();
        write_digests(d).unwrap();
    });
    assert!(error.contains("graph.sha256 differs"), "{error}");
}

#[test]
fn paths_out_of_the_bundle_are_refused() {
    let error = refusal(|d| fs::write(d.join(DIGESTS), format!("{}  ../secret\n", "0".repeat(64))).unwrap());
    assert!(error.contains("line 1"), "{error}");
    let error =
        refusal(|d| fs::write(d.join(DIGESTS), format!("{}  /etc/passwd\n", "0".repeat(64))).unwrap());
    assert!(error.contains("line 1"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_are_refused_though_their_content_fits() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    let error = refusal(|d| {
        fs::rename(d.join("model.onnx"), elsewhere.path().join("model.onnx")).unwrap();
        symlink(elsewhere.path().join("model.onnx"), d.join("model.onnx")).unwrap();
    });
    assert!(error.contains("model.onnx") && error.contains("not a regular file"), "{error}");
    let error = refusal(|d| {
        fs::rename(d.join("golden"), elsewhere.path().join("golden")).unwrap();
        symlink(elsewhere.path().join("golden"), d.join("golden")).unwrap();
    });
    assert!(error.contains("golden is not listed"), "{error}");
}

#[test]
fn golden_masks_must_be_those_of_the_classes() {
    let dir = bundle();
    let cases =
        [GoldenCase { input: "golden/one.png".into(), masks: BTreeMap::new(), logits: BTreeMap::new() }];
    fs::write(dir.path().join(GOLDEN), serde_json::to_vec(&cases).unwrap()).unwrap();
    write_digests(dir.path()).unwrap();
    let error = Bundle::open(dir.path()).unwrap().golden().unwrap_err().to_string();
    assert!(error.contains("one.png"), "{error}");
}

#[test]
fn what_is_read_later_is_what_was_checked() {
    let dir = bundle();
    let opened = Bundle::open(dir.path()).unwrap();
    assert_eq!(opened.read("model.onnx").unwrap(), b"graph");
    fs::write(dir.path().join("model.onnx"), b"evil").unwrap();
    let error = opened.read("model.onnx").unwrap_err().to_string();
    assert!(error.contains("model.onnx is altered"), "{error}");
    fs::write(dir.path().join("golden/two.png"), b"png").unwrap();
    let error = opened.read("golden/two.png").unwrap_err().to_string();
    assert!(error.contains("does not list golden/two.png"), "{error}");
}

#[test]
fn a_manifest_of_a_newer_major_is_told_before_what_else_differs() {
    let error = refusal(|d| {
        let text = fs::read_to_string(d.join(MANIFEST)).unwrap();
        let newer = text.replace("schema = \"1.", "schema = \"2.") + "[brand_new]\n";
        fs::write(d.join(MANIFEST), newer).unwrap();
        write_digests(d).unwrap();
        fs::write(d.join("model.onnx"), b"another").unwrap();
    });
    assert!(
        error.contains("manifest.toml") && error.contains("schema 2.") && error.contains("update"),
        "{error}"
    );
}

#[test]
fn a_folder_is_measured_whatever_its_list_says() {
    let dir = bundle();
    let list = fs::read_to_string(dir.path().join(DIGESTS)).unwrap();
    fs::write(dir.path().join(DIGESTS), b"nonsense").unwrap();
    fs::write(dir.path().join(SIGNATURE), b"nonsense").unwrap();
    let measured = Bundle::measure(dir.path()).unwrap();
    assert_eq!(measured.digest_list(), list);
    assert_eq!(measured.files().count(), 4);
}

mod signed {
    use minisign::KeyPair;

    use super::*;

    /// What minisign 0.11 (C) made of the text "chexseg\n", with default options and with `-l`.
    const PUB: &str = "untrusted comment: minisign public key F7094DC11D1A12E8\n\
        RWToEhodwU0J941Ih5nMSkA5c3Tptug6VHII7sW2Xco/XDyHNyciYMKG\n";
    const SIG: &str = "untrusted comment: signature from minisign secret key\n\
        RUToEhodwU0J946DlpzsxHWxXDyt3UIsF+210eaq9sP6KwgnQFOh4/mDJr6JNZcdY+7gHd6ZEfULAAL60m5u8f7SqyJLtCP+zgU=\n\
        trusted comment: timestamp:1795473282\tfile:text\thashed\n\
        mN5n9cxS7wVaH1btUeV/isIG8tXvWWcPurclRRiJY9phu55IKTQXz1NMkA6ua9TAMD4Nf9BZ4VdsbaMxOWWCDA==\n";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
        RWToEhodwU0J9xPGXAE8zI8Qa9/3Ua90SbG4BGv6KgN2rP0uDuNrAi0dofcHV3ojltbwqUOcf6PIbR1yId0fNwy7SV2sv2+icwA=\n\
        trusted comment: timestamp:1795473282\tfile:text\n\
        lSEnC+No2kQ/Bs4mpKS4ILOF9War9UsQwsIoqAaB8oTWze6m18IAYWplEilibBlz8UgiyGa+tp89h/+LQaykDQ==\n";

    fn public(pair: &KeyPair) -> PublicKey {
        pair.pk.to_box().unwrap().into_string().parse().unwrap()
    }

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }

    fn sign(dir: &Path, pair: &KeyPair) {
        let list = fs::read(dir.join(DIGESTS)).unwrap();
        let signature = minisign::sign(None, &pair.sk, list.as_slice(), Some("ours"), None).unwrap();
        fs::write(dir.join(SIGNATURE), signature.into_string()).unwrap();
    }

    fn only(key: PublicKey) -> Trust {
        Trust { keys: vec![key], allow_unsigned: false }
    }

    fn lax(trust: &Trust) -> Trust {
        Trust { allow_unsigned: true, ..trust.clone() }
    }

    /// The error of a signed bundle after a change.
    fn refusal(trust: Option<Trust>, change: impl FnOnce(&Path)) -> String {
        let (dir, pair) = (bundle(), pair());
        sign(dir.path(), &pair);
        change(dir.path());
        let trust = trust.unwrap_or_else(|| only(public(&pair)));
        Bundle::open_trusted(dir.path(), &trust).unwrap_err().to_string()
    }

    #[test]
    fn a_trusted_signature_is_verified_and_tells_its_key() {
        let (dir, ours, other) = (bundle(), pair(), pair());
        sign(dir.path(), &ours);
        let trust = Trust { keys: vec![public(&other), public(&ours)], allow_unsigned: false };
        let opened = Bundle::open_trusted(dir.path(), &trust).unwrap();
        let expected = Signature::Verified { key_id: public(&ours).id(), comment: "ours".into() };
        assert_eq!(opened.signature(), Some(&expected));
        assert_eq!(Bundle::open(dir.path()).unwrap().signature(), None, "nobody asked");
    }

    #[test]
    fn an_altered_file_list_or_signature_is_refused_even_if_unsigned_ones_are_allowed() {
        let (dir, ours) = (bundle(), pair());
        sign(dir.path(), &ours);
        let trust = lax(&only(public(&ours)));
        let error = || Bundle::open_trusted(dir.path(), &trust).unwrap_err().to_string();
        let signature = fs::read_to_string(dir.path().join(SIGNATURE)).unwrap();
        let restore = || fs::write(dir.path().join(SIGNATURE), &signature).unwrap();

        fs::write(dir.path().join("golden/one.png"), b"evil").unwrap();
        assert!(error().contains("one.png is altered"), "{}", error());
        write_digests(dir.path()).unwrap();
        assert!(error().contains("is no signature of key"), "{}", error());
        fs::write(dir.path().join("golden/one.png"), b"png").unwrap();
        write_digests(dir.path()).unwrap();
        assert!(Bundle::open_trusted(dir.path(), &trust).is_ok());

        // The comment is signed too.
        fs::write(dir.path().join(SIGNATURE), signature.replace("comment: ours", "comment: mine")).unwrap();
        assert!(error().contains("is no signature of key"), "{}", error());
        // Every way of cutting it off.
        for end in 0..signature.len() - 1 {
            fs::write(dir.path().join(SIGNATURE), &signature[..end]).unwrap();
            let error = error();
            assert!(error.contains("DIGESTS.minisig is no"), "{end}: {error}");
        }
        fs::write(dir.path().join(SIGNATURE), format!("{signature}{signature}")).unwrap();
        assert!(error().contains("four lines"), "{}", error());
        fs::write(dir.path().join(SIGNATURE), vec![b'x'; 40_000]).unwrap();
        assert!(error().contains("exceeds the limit"), "{}", error());
        fs::write(dir.path().join(SIGNATURE), [0xff, 0xfe]).unwrap();
        assert!(error().contains("four lines"), "{}", error());
        restore();
        assert!(Bundle::open_trusted(dir.path(), &trust).is_ok());
    }

    #[test]
    fn a_missing_signature_is_refused_with_the_remedy_unless_allowed() {
        let error = refusal(None, |d| fs::remove_file(d.join(SIGNATURE)).unwrap());
        for part in ["is not signed", "DIGESTS.minisig", "bundle create", "allow_unsigned"] {
            assert!(error.contains(part), "{error}");
        }
        let dir = bundle();
        let opened = Bundle::open_trusted(dir.path(), &lax(&Trust::project())).unwrap();
        assert_eq!(opened.signature(), Some(&Signature::Unsigned));
    }

    #[test]
    fn a_signature_by_another_key_is_refused_unless_allowed_and_never_counts_as_verified() {
        let project = PublicKey::project().id().to_string();
        let error = refusal(Some(Trust::project()), |_| ());
        assert!(error.contains("not trusted") && error.contains(&project), "{error}");
        assert!(error.contains("trusted_keys"), "{error}");

        let (dir, other) = (bundle(), pair());
        sign(dir.path(), &other);
        let opened = Bundle::open_trusted(dir.path(), &lax(&Trust::project())).unwrap();
        assert_eq!(opened.signature(), Some(&Signature::Untrusted { key_id: public(&other).id() }));
    }

    #[test]
    fn a_key_that_only_claims_the_id_of_a_trusted_one_is_refused() {
        let (ours, mut forged) = (pair(), pair());
        let mut bytes = forged.sk.to_bytes();
        bytes[54..62].copy_from_slice(ours.sk.keynum());
        forged.sk = minisign::SecretKey::from_bytes(&bytes).unwrap();
        let dir = bundle();
        sign(dir.path(), &forged);
        let error = Bundle::open_trusted(dir.path(), &lax(&only(public(&ours)))).unwrap_err().to_string();
        assert!(error.contains("is no signature of key"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_signature_is_refused() {
        let error = refusal(None, |d| {
            fs::remove_file(d.join(SIGNATURE)).unwrap();
            std::os::unix::fs::symlink("/nowhere", d.join(SIGNATURE)).unwrap();
        });
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn minisigns_own_signatures_verify_and_its_old_form_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let trust = only(PUB.parse().unwrap());
        fs::write(dir.path().join(SIGNATURE), SIG).unwrap();
        let signature = Signature::verify(dir.path(), b"chexseg\n", &trust).unwrap();
        assert!(signature.is_verified() && signature.to_string().contains("file:text"), "{signature}");
        fs::write(dir.path().join(SIGNATURE), LEGACY).unwrap();
        let error = Signature::verify(dir.path(), b"chexseg\n", &trust).unwrap_err().to_string();
        assert!(error.contains("old form"), "{error}");
    }
}
