//! Graphs that `suite/make_graphs.py` writes, with onnxruntime's values.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

/// What every run of the tests looks at; `CHEXSEG_QDQ_SUITE=all` makes it the whole suite.
const SOME: [&str; 8] = [
    "random-",
    "mobilenetv2-ort-s8",
    "mobilenetv3-small-torch",
    "resnet18-ort-per-tensor",
    "unet-ort",
    "unet-torch",
    "resnet18-deeplabv3plus-ours",
    "shipped-",
];

/// A tensor as onnxruntime computed it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub dims: Vec<usize>,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I8(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Graph {
    pub name: String,
    pub model: ModelProto,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub tensors: BTreeMap<String, Recorded>,
    pub optimized: BTreeMap<String, Recorded>,
}

/// The folders of the graphs; none, with a line that says so, if there is no Python to make them.
///
/// `CHEXSEG_PYTHON` is the interpreter. `CHEXSEG_QDQ_SUITE` may be `all`, or a folder that holds graphs already.
pub(crate) fn folders() -> Option<Vec<PathBuf>> {
    let wish = std::env::var("CHEXSEG_QDQ_SUITE").unwrap_or_default();
    let folder = if wish.is_empty() || wish == "all" {
        let Some(python) = std::env::var_os("CHEXSEG_PYTHON") else {
            println!(
                "SKIPPED: set CHEXSEG_PYTHON to a Python with onnx and onnxruntime, as tests/run.sh does"
            );
            return None;
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qdq-suite");
        let _ = fs::remove_dir_all(&folder);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/make_graphs.py");
        let mut command = Command::new(python);
        command.arg(script).arg(&folder);
        if wish != "all" {
            command.args(["--random", "30", "--only"]).args(SOME);
        }
        let output = command.output().expect("the interpreter starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "make_graphs.py failed ({}):\n{stderr}", output.status);
        folder
    } else {
        PathBuf::from(wish)
    };
    let mut folders: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the suite's folder").map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    Some(folders)
}

impl Graph {
    pub(crate) fn read(folder: &Path) -> Self {
        let model = fs::read(folder.join("model.onnx")).unwrap();
        let values = fs::read(folder.join("values.bin")).unwrap();
        let listing: Value = serde_json::from_slice(&fs::read(folder.join("values.json")).unwrap()).unwrap();
        let names = |key: &str| -> Vec<String> { serde_json::from_value(listing[key].clone()).unwrap() };
        let tensors = |key: &str| -> BTreeMap<String, Recorded> {
            let entries = listing[key].as_object().unwrap();
            entries.iter().map(|(name, entry)| (name.clone(), recorded(entry, &values))).collect()
        };
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            model: tract_onnx::onnx().proto_model_for_read(&mut model.as_slice()).unwrap(),
            inputs: names("inputs"),
            outputs: names("outputs"),
            tensors: tensors("tensors"),
            optimized: tensors("outputs_optimized"),
        }
    }
}

fn recorded(entry: &Value, values: &[u8]) -> Recorded {
    let dims: Vec<usize> = serde_json::from_value(entry["dims"].clone()).unwrap();
    let count: usize = dims.iter().product();
    let bytes = &values[usize::try_from(entry["offset"].as_u64().unwrap()).unwrap()..];
    let data = match entry["dtype"].as_str().unwrap() {
        "f32" => {
            let words = bytes.as_chunks::<4>().0.iter().take(count);
            Data::F32(words.map(|word| f32::from_le_bytes(*word)).collect())
        }
        "u8" => Data::U8(bytes[..count].to_vec()),
        "i8" => Data::I8(bytes[..count].to_vec()),
        other => panic!("values of type {other}"),
    };
    Recorded { dims, data }
}
