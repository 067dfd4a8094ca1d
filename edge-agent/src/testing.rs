//! A bundle small enough to be made in a test: its network finds what is bright.
//!
//! Not part of the agent's interface.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prost::Message;
use shared::PIPELINE_VERSION;
use shared::bundle::{Bundle, BundleError, GOLDEN, GoldenCase, MANIFEST, sha256_hex, write_digests};
use shared::manifest::{
    ClassSpec, Code, GoldenSpec, GraphSpec, Manifest, PostprocessSpec, Quantization, SCHEMA, TrainingRecord,
    no_temperature,
};
use shared::mask::{Mask, Rgb, Rle};
use shared::pixel::PixelFrame;
use shared::preprocess::{PreprocessSpec, preprocess};
use tract_onnx::pb;

/// Side of the network's grid.
pub const INPUT_SIZE: usize = 64;

/// Label, weight, bias, colour.
type Class = (&'static str, f32, f32, [u8; 3]);

/// Class labels and, for each, weight and bias of the logit of a normalized pixel (stretched value − ½) ÷ ¼:
/// `bright` is what exceeds 0.625, `dark` what stays below 0.375.
const CLASSES: [Class; 2] = [("bright", 8.0, -4.0, [255, 128, 0]), ("dark", -8.0, -4.0, [0, 128, 255])];

/// Writes a valid bundle with one golden case into `dir`.
///
/// # Errors
/// If a file cannot be written.
pub fn write_bundle(dir: &Path) -> Result<Bundle, BundleError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| BundleError::Io { path, source }
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(io(&path))
    };
    let golden = dir.join("golden");
    fs::create_dir_all(&golden).map_err(io(&golden))?;
    let graph = onnx(CLASSES.len(), INPUT_SIZE).encode_to_vec();
    let manifest = manifest(&sha256_hex(&graph));
    let text = manifest
        .to_toml()
        .map_err(|source| BundleError::Manifest { path: dir.join(MANIFEST), source: Box::new(source) })?;
    write("model.onnx", &graph)?;
    write(MANIFEST, text.as_bytes())?;
    write("MODEL_CARD.md", b"# intensity\n\nFor tests.\n")?;

    let frame = disc();
    let path = golden.join("disc.png");
    frame.to_image16().save(&path).map_err(|e| io(&path)(std::io::Error::other(e)))?;
    let case = GoldenCase {
        input: "golden/disc.png".into(),
        masks: expected(&frame, &manifest),
        logits: BTreeMap::new(),
    };
    write(GOLDEN, serde_json::to_string(&[case]).expect("strings and numbers").as_bytes())?;
    write_digests(dir)?;
    Bundle::open(dir)
}

/// A bright disc on a dark ground, 96 × 128.
pub fn disc() -> PixelFrame {
    let sample = |i: usize| {
        let (y, x) = ((i / 128) as f64 - 40.5, (i % 128) as f64 - 70.5);
        if y * y + x * x < 900.0 { 52_000 } else { 4000 }
    };
    PixelFrame::new(96, 128, (0..96 * 128).map(sample).collect()).expect("96 × 128 samples")
}

/// Masks by the definition of the network, without running it; sampled at the nearest grid pixel, so they
/// differ from interpolated ones along edges.
fn expected(frame: &PixelFrame, manifest: &Manifest) -> BTreeMap<String, Rle> {
    let (values, letterbox) = preprocess(frame, &manifest.preprocess);
    let mask = |weight: f32, bias: f32| {
        Mask::from_fn(frame.rows(), frame.cols(), |row, col| {
            let (x, y) = letterbox.to_model(col as f64 + 0.5, row as f64 + 0.5);
            values[y as usize * INPUT_SIZE + x as usize] * weight + bias >= 0.0
        })
    };
    CLASSES.iter().map(|&(label, w, b, _)| (label.to_owned(), Rle::encode(&mask(w, b)))).collect()
}

fn manifest(sha256: &str) -> Manifest {
    let class = |&(label, _, _, color): &Class| ClassSpec {
        label: label.into(),
        name: format!("What is {label}"),
        code: Code { scheme: "99CHEXSEG".into(), value: label.into(), meaning: format!("What is {label}") },
        temperature: no_temperature(),
        threshold: 0.5,
        min_area_fraction: 0.0,
        min_part_fraction: 0.0,
        within: Vec::new(),
        color: Rgb(color),
    };
    Manifest {
        schema: SCHEMA,
        name: "intensity".into(),
        version: "1.0.0".into(),
        description: "Finds what is bright and what is dark; for tests.".into(),
        created: jiff::civil::date(2026, 11, 23),
        pipeline_version: PIPELINE_VERSION,
        graph: GraphSpec {
            file: "model.onnx".into(),
            sha256: sha256.into(),
            input: "image".into(),
            output: "logits".into(),
            quantization: Quantization::F32,
        },
        preprocess: PreprocessSpec { input_size: INPUT_SIZE, ..PreprocessSpec::default() },
        postprocess: PostprocessSpec { mask_max_side: 512 },
        golden: GoldenSpec { min_agreement: 0.97, max_logit_error: Some(0.25) },
        anatomy: Default::default(),
        measurements: Default::default(),
        quality: Default::default(),
        classes: CLASSES.iter().map(class).collect(),
        training: TrainingRecord {
            method: "none".into(),
            network: "one 1 × 1 convolution".into(),
            seed: 0,
            steps: 0,
            sources: Vec::new(),
        },
        metrics: Vec::new(),
    }
}

/// One 1 × 1 convolution from `[N, 1, size, size]` to `[N, classes, size, size]`, N open.
pub fn onnx(classes: usize, size: usize) -> pb::ModelProto {
    let known = |n: usize| pb::tensor_shape_proto::dimension::Value::DimValue(n as i64);
    let open = || pb::tensor_shape_proto::dimension::Value::DimParam("N".into());
    let port = |name: &str, planes: usize| pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            denotation: String::new(),
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: pb::tensor_proto::DataType::Float as i32,
                shape: Some(pb::TensorShapeProto {
                    dim: [open(), known(planes), known(size), known(size)]
                        .map(|value| pb::tensor_shape_proto::Dimension {
                            denotation: String::new(),
                            value: Some(value),
                        })
                        .into(),
                }),
            })),
        }),
        doc_string: String::new(),
    };
    let tensor = |name: &str, dims: &[i64], data: Vec<f32>| pb::TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        float_data: data,
        ..pb::TensorProto::default()
    };
    let pick = |f: fn(&Class) -> f32| CLASSES.iter().cycle().take(classes).map(f).collect();
    let conv = pb::NodeProto {
        input: vec!["image".into(), "weight".into(), "bias".into()],
        output: vec!["logits".into()],
        name: "head".into(),
        op_type: "Conv".into(),
        ..pb::NodeProto::default()
    };
    let graph = pb::GraphProto {
        node: vec![conv],
        name: "intensity".into(),
        initializer: vec![
            tensor("weight", &[classes as i64, 1, 1, 1], pick(|c| c.1)),
            tensor("bias", &[classes as i64], pick(|c| c.2)),
        ],
        input: vec![port("image", 1)],
        output: vec![port("logits", classes)],
        ..pb::GraphProto::default()
    };
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 17 }],
        producer_name: "edge-agent tests".into(),
        graph: Some(graph),
        ..pb::ModelProto::default()
    }
}

/// Reads a command set as the Storage SCP does; whether it is one.
pub fn read_command(bytes: &[u8]) -> bool {
    crate::intake::store_scp::is_command(bytes)
}
