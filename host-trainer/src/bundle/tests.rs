use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use shared::bundle::{Bundle, DIGESTS, GOLDEN, MANIFEST, PublicKey, SIGNATURE, Signature, sha256_hex};

use super::*;

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/chexseg-edge")
}

/// A copy of the shipped bundle and a key, side by side.
struct Desk {
    dir: tempfile::TempDir,
    key: SecretKey,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&shipped(), &dir.path().join("bundle"));
        let files = keygen(&dir.path().join("a.key"), Protection::None).unwrap();
        let key = SecretKey::load(&files.secret, || panic!("it has no password")).unwrap();
        Self { dir, key }
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bundle().join(name)
    }

    fn refusal(&self) -> String {
        let before = fs::read(self.file(SIGNATURE)).unwrap();
        let error = create(&self.bundle(), &self.key).unwrap_err().to_string();
        assert_eq!(fs::read(self.file(SIGNATURE)).unwrap(), before, "nothing was written");
        error
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

#[test]
fn the_shipped_bundle_is_signed_by_the_projects_key() {
    let bundle = verify(&shipped(), vec![PublicKey::project()]).unwrap();
    assert!(bundle.signature().unwrap().is_verified());
}

#[test]
fn signing_twice_gives_the_same_bytes_and_tells_the_model() {
    let desk = Desk::new();
    let list = fs::read(desk.file(DIGESTS)).unwrap();
    let bundle = create(&desk.bundle(), &desk.key).unwrap();
    let comment = format!("chexseg bundle chexseg-edge {}", bundle.manifest().version);
    let expected = Signature::Verified { key_id: desk.key.public().id(), comment };
    assert_eq!(bundle.signature(), Some(&expected));
    assert_eq!(fs::read(desk.file(DIGESTS)).unwrap(), list, "the files are the same");
    let first = fs::read(desk.file(SIGNATURE)).unwrap();
    create(&desk.bundle(), &desk.key).unwrap();
    assert_eq!(fs::read(desk.file(SIGNATURE)).unwrap(), first);
}

#[test]
fn minisign_itself_verifies_our_signatures_and_we_its() {
    let desk = Desk::new();
    let bundle = create(&desk.bundle(), &desk.key).unwrap();
    let comment = format!("chexseg bundle chexseg-edge {}", bundle.manifest().version);
    let signed = minisign::SignatureBox::from_file(desk.file(SIGNATURE)).unwrap();
    let public = minisign::PublicKey::from_file(desk.dir.path().join("a.pub")).unwrap();
    let list = std::io::Cursor::new(fs::read(desk.file(DIGESTS)).unwrap());
    minisign::verify(&public, &signed, list, true, false, false).unwrap();

    let minisign =
        |arguments: &[&str]| Command::new("minisign").args(arguments).current_dir(desk.dir.path()).output();
    let Ok(output) = minisign(&["-Vm", "bundle/DIGESTS", "-p", "a.pub"]) else {
        println!("SKIPPED: no minisign program");
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains(&comment), "{told}");
    // With our key file, by its own hand.
    let output = minisign(&["-Sm", "bundle/DIGESTS", "-s", "a.key", "-t", "theirs"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bundle = verify(&desk.bundle(), vec![desk.key.public().clone()]).unwrap();
    assert!(bundle.signature().unwrap().to_string().contains("theirs"));
}

#[test]
fn a_folder_without_list_or_with_a_stale_one_becomes_a_bundle() {
    let desk = Desk::new();
    fs::write(desk.file("MODEL_CARD.md"), "# Another card\n").unwrap();
    create(&desk.bundle(), &desk.key).unwrap();
    fs::remove_file(desk.file(DIGESTS)).unwrap();
    fs::remove_file(desk.file(SIGNATURE)).unwrap();
    create(&desk.bundle(), &desk.key).unwrap();
}

#[test]
fn what_is_no_whole_bundle_is_not_signed() {
    let desk = Desk::new();
    let manifest = fs::read_to_string(desk.file(MANIFEST)).unwrap();
    let graph = fs::read(desk.file("model.onnx")).unwrap();
    let with_graph = |bytes: &[u8]| {
        fs::write(desk.file("model.onnx"), bytes).unwrap();
        let sha256 = (sha256_hex(&graph), sha256_hex(bytes));
        fs::write(desk.file(MANIFEST), manifest.replace(&sha256.0, &sha256.1)).unwrap();
    };
    with_graph(&graph[..graph.len() / 2]);
    let error = desk.refusal();
    assert!(error.contains("model.onnx is no ONNX graph") && error.contains("export"), "{error}");
    with_graph(b"");
    assert!(desk.refusal().contains("no graph"));
    with_graph(&graph);
    fs::write(desk.file("model.onnx"), b"another").unwrap();
    let error = desk.refusal();
    assert!(error.contains("graph.sha256 differs"), "{error}");
    with_graph(&graph);

    let with_manifest = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from}");
        fs::write(desk.file(MANIFEST), manifest.replacen(from, to, 1)).unwrap();
    };
    with_manifest("schema = \"1.", "schema = \"2.");
    assert!(desk.refusal().contains("schema 2."));
    with_manifest("output = \"logits\"", "output = \"masks\"");
    let error = desk.refusal();
    assert!(error.contains("no output 'masks'"), "{error}");
    with_manifest("\nversion = \"", "\nversion = \"\\n");
    let error = desk.refusal();
    assert!(error.contains("manifest.toml") && error.contains("line break"), "{error}");
    with_manifest("", "");

    fs::rename(desk.file("golden/phantom-0.png"), desk.file("golden/other.png")).unwrap();
    let error = desk.refusal();
    assert!(error.contains("phantom-0.png is a golden image"), "{error}");
    fs::remove_file(desk.file(GOLDEN)).unwrap();
    assert!(desk.refusal().contains("does not list golden/cases.json"));
    fs::remove_file(desk.file(MANIFEST)).unwrap();
    assert!(desk.refusal().contains("does not list manifest.toml"));
}

#[test]
fn verifying_needs_a_trusted_key_and_inspecting_does_not() {
    let desk = Desk::new();
    create(&desk.bundle(), &desk.key).unwrap();
    let error = verify(&desk.bundle(), vec![PublicKey::project()]).unwrap_err().to_string();
    assert!(error.contains("not trusted"), "{error}");
    let key_id = desk.key.public().id();
    let seen = inspect(&desk.bundle(), vec![PublicKey::project()]).unwrap();
    assert_eq!(seen.signature, Some(Signature::Untrusted { key_id }));
    assert_eq!(
        seen.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>()[..2],
        ["MODEL_CARD.md", "golden/cases.json"]
    );
    assert!(seen.key_metrics().count() > 0);
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(json["signature"]["state"], "untrusted");
    assert_eq!(json["manifest"]["preprocess"]["input_size"], 320);
    fs::remove_file(desk.file(SIGNATURE)).unwrap();
    assert_eq!(inspect(&desk.bundle(), vec![]).unwrap().signature, Some(Signature::Unsigned));
    assert!(Bundle::open(&desk.bundle()).is_ok());
    fs::write(desk.file("MODEL_CARD.md"), "altered").unwrap();
    let error = inspect(&desk.bundle(), vec![]).unwrap_err().to_string();
    assert!(error.contains("MODEL_CARD.md is altered"), "{error}");
}

mod keys {
    use super::*;

    #[test]
    fn a_key_is_for_its_owner_alone_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let made = keygen(dir.path(), Protection::None).unwrap();
        assert_eq!(made.secret, dir.path().join("chexseg.key"));
        let public: PublicKey = fs::read_to_string(&made.public).unwrap().parse().unwrap();
        assert_eq!(made.line.parse::<PublicKey>().unwrap(), public);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&made.secret).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let secret = fs::read(&made.secret).unwrap();
        for out in ["", "chexseg.key", "chexseg.pub", "chexseg"] {
            let error = keygen(&dir.path().join(out), Protection::None).unwrap_err().to_string();
            assert!(error.contains("never overwritten"), "{out}: {error}");
        }
        assert_eq!(fs::read(&made.secret).unwrap(), secret);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_password_opens_an_encrypted_key_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = keygen(dir.path(), Protection::Password(Some("correct horse".into()))).unwrap();
        let load = |password: &str| SecretKey::load(&made.secret, || Ok(Some(password.to_owned())));
        let line: PublicKey = made.line.parse().unwrap();
        assert_eq!(*load("correct horse").unwrap().public(), line);
        let error = load("battery staple").err().unwrap().to_string();
        assert!(error.contains("chexseg.key") && error.contains("Wrong password"), "{error}");
    }

    #[test]
    fn truncated_and_garbled_keys_are_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let made = keygen(dir.path(), Protection::None).unwrap();
        let text = fs::read_to_string(&made.secret).unwrap();
        let broken = dir.path().join("broken.key");
        let error = |content: &str| {
            fs::write(&broken, content).unwrap();
            let error = SecretKey::load(&broken, || panic!("no password")).err().unwrap().to_string();
            assert!(error.contains("broken.key") && error.contains("keygen"), "{error}");
            let secret = text.lines().nth(1).unwrap();
            assert!(!error.contains(&secret[120..140]), "{error}");
            error
        };
        for end in (0..text.trim_end().len()).step_by(7) {
            error(&text[..end]);
        }
        assert!(error(&fs::read_to_string(&made.public).unwrap()).contains("42 bytes, not 158"));
        let (comment, line) = text.trim_end().split_once('\n').unwrap();
        // In the key, behind the scrypt fields.
        let mut garbled = line.as_bytes().to_vec();
        garbled[120] = if garbled[120] == b'A' { b'B' } else { b'A' };
        let garbled = String::from_utf8(garbled).unwrap();
        assert!(error(&format!("{comment}\n{garbled}\n")).contains("Corrupted"));
        assert!(error(&format!("{comment}\nRWxx{}\n", &line[4..])).contains("unknown way"));
        let absent = SecretKey::load(&dir.path().join("absent.key"), || panic!("no password"));
        assert!(absent.err().unwrap().to_string().contains("absent.key"));
    }
}
