use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use prost::Message as _;
use shared::bundle::{Bundle, DIGESTS, MANIFEST, PublicKey, SIGNATURE, Trust};

use super::{SecretKey, SignError};
use crate::onnx::proto::ModelProto;

/// Makes a signed bundle of a folder: checks what is in it, lists the digests of every file anew and signs the list.
///
/// The same files and key give the same bytes. Whenever it is stopped, an older signature is gone or fits no more.
pub fn create(dir: &Path, key: &SecretKey) -> Result<Bundle, SignError> {
    let bundle = Bundle::measure(dir)?;
    check(&bundle)?;
    let manifest = bundle.manifest();
    let comment = format!("chexseg bundle {} {}", manifest.name, manifest.version);
    if comment.contains(char::is_control) {
        return Err(SignError::Name { path: dir.join(MANIFEST) });
    }
    let list = bundle.digest_list();
    let signature = key.sign(list.as_bytes(), &comment);
    let stale = dir.join(SIGNATURE);
    match fs::remove_file(&stale) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(SignError::Io { path: stale, source });
        }
        _ => {}
    }
    write(&dir.join(DIGESTS), &list)?;
    write(&stale, &signature)?;
    // By the agent's own code, which shares nothing with the signing.
    verify(dir, vec![key.public().clone()])
}

/// Opens a bundle as an agent does that trusts these keys, and looks further: at graph and golden images.
pub fn verify(dir: &Path, keys: Vec<PublicKey>) -> Result<Bundle, SignError> {
    let bundle = Bundle::open_trusted(dir, &Trust { keys, allow_unsigned: false })?;
    check(&bundle)?;
    Ok(bundle)
}

/// What the digests do not say: that the files are what they should be.
fn check(bundle: &Bundle) -> Result<(), SignError> {
    for case in bundle.golden()? {
        if !bundle.files().any(|(name, _)| Path::new(name) == case.input) {
            return Err(SignError::GoldenImage { path: bundle.dir().join(case.input) });
        }
    }
    let spec = &bundle.manifest().graph;
    let fail = |reason| SignError::Graph { path: bundle.model_path(), reason };
    let model = ModelProto::decode(bundle.read(&spec.file)?.as_slice()).map_err(|e| fail(e.to_string()))?;
    let graph = model.graph.ok_or_else(|| fail("it holds no graph".into()))?;
    for (ports, what, name) in [(&graph.input, "input", &spec.input), (&graph.output, "output", &spec.output)]
    {
        if !ports.iter().any(|port| port.name == *name) {
            return Err(fail(format!("it has no {what} '{name}', which {MANIFEST} names")));
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), SignError> {
    fs::write(path, text).map_err(|source| SignError::Io { path: path.to_owned(), source })
}
