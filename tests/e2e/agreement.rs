//! The exported graph, run by onnxruntime and by the agent's engine on the same real preprocessing, agrees.

use std::path::Path;

use e2e_tests::{python, real_data, shipped_bundle};
use edge_agent::decode::{DecodeLimits, decode_file};
use edge_agent::engine::{Engine, EngineOutput, TractEngine};
use host_trainer::net::{
    DeepLabConfig, ParamTensor, ParameterRole, Width, deeplab_v3_plus, fold_batch_norm, he_init,
};
use host_trainer::onnx::{ModelInfo, write_f32};
use serde_json::Value;
use shared::bundle::{Bundle, GOLDEN, MANIFEST, sha256_hex, write_digests};
use shared::manifest::Quantization;
use shared::phantom::{PhantomParams, render};
use shared::pixel::PixelFrame;
use shared::postprocess::{Logits, segment};
use shared::preprocess::{Letterbox, preprocess};

/// Radiographs to compare on: phantoms of several shapes, and real ones where the research data is present.
fn frames() -> Vec<PixelFrame> {
    let sizes = [(512, 512), (700, 560), (480, 640)];
    let phantoms = (20..).zip(sizes).map(|(seed, (rows, cols))| {
        render(&PhantomParams::random(seed, rows, cols)).expect("random parameters are valid").frame
    });
    let mut frames: Vec<PixelFrame> = phantoms.collect();
    if let Some(folder) = real_data("field") {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.retain(|f| f.extension().is_some_and(|e| e == "png" || e == "jpg"));
        frames.extend(files.iter().take(5).map(|f| decode_file(f, &DecodeLimits::default()).unwrap().frame));
    }
    frames
}

/// Outputs of onnxruntime for these inputs, with the facts that the script found.
fn onnxruntime(model: &Path, inputs: &[Vec<f32>]) -> (Value, Vec<Vec<f32>>) {
    let (facts, outputs) = outputs_of("python/onnxruntime_run.py", model, inputs);
    (serde_json::from_str(&facts).unwrap(), outputs)
}

/// What a script prints, and the outputs that it writes.
fn outputs_of(script: &str, model: &Path, inputs: &[Vec<f32>]) -> (String, Vec<Vec<f32>>) {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("in.f32"), dir.path().join("out.f32"));
    let bytes: Vec<u8> = inputs.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&source, bytes).unwrap();
    let text = [model, &source, &target].map(|p| p.to_str().unwrap().to_owned());
    let printed = python(script, &[&text[0], &text[1], &text[2]]);
    let bytes = std::fs::read(&target).unwrap();
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let outputs = values.chunks_exact(values.len() / inputs.len()).map(<[f32]>::to_vec).collect();
    (printed, outputs)
}

#[test]
fn shipped_int8_graph_gives_the_same_masks_in_onnxruntime_openvino_and_our_engine() {
    let bundle = Bundle::open(&shipped_bundle()).unwrap();
    let manifest = bundle.manifest();
    let prepared: Vec<(Vec<f32>, Letterbox, PixelFrame)> = frames()
        .into_iter()
        .map(|frame| {
            let (input, letterbox) = preprocess(&frame, &manifest.preprocess);
            (input, letterbox, frame)
        })
        .collect();
    let inputs: Vec<Vec<f32>> = prepared.iter().map(|(input, ..)| input.clone()).collect();
    let (facts, of_onnxruntime) = onnxruntime(&bundle.model_path(), &inputs);
    let (_, of_openvino) = outputs_of("python/openvino_run.py", &bundle.model_path(), &inputs);
    assert_eq!(facts["opset"], 17);
    assert_eq!(facts["input"], manifest.graph.input.as_str());
    assert_eq!(facts["output"], manifest.graph.output.as_str());
    let operators: Vec<&str> =
        facts["operators"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        operators.contains(&"QuantizeLinear") && operators.contains(&"DequantizeLinear"),
        "{operators:?}"
    );

    let mut engine = TractEngine::load(&bundle, 1).unwrap();
    for (i, (input, letterbox, frame)) in prepared.iter().enumerate() {
        let EngineOutput { classes, rows, cols, data } = engine.run(input).unwrap();
        let masks = |values: &[f32]| {
            let logits = Logits::new(classes, rows, cols, values).unwrap();
            segment(&logits, letterbox, &manifest.classes, (frame.rows(), frame.cols())).unwrap()
        };
        // OpenVINO rounds between its fused operations where the others do not.
        let opinions = [("onnxruntime", &of_onnxruntime[i], 0.998), ("OpenVINO", &of_openvino[i], 0.995)];
        for (runtime, theirs, least) in opinions {
            for ((ours, theirs), class) in masks(&data).iter().zip(masks(theirs)).zip(&manifest.classes) {
                let equal = ours.mask.data().iter().zip(theirs.mask.data()).filter(|(a, b)| a == b).count();
                let share = equal as f64 / ours.mask.data().len() as f64;
                assert!(share >= least, "{runtime}, {}: only {share:.4} of the pixels agree", class.label);
            }
        }
    }
}

/// A bundle like the shipped one around an f32 graph that is written here from the network's description.
fn f32_bundle(dir: &Path) -> Bundle {
    let shipped = Bundle::open(&shipped_bundle()).unwrap();
    let mut manifest = shipped.manifest().clone();
    let config =
        DeepLabConfig { classes: manifest.classes.len(), width: Width::Quarter, ..DeepLabConfig::default() };
    let graph = deeplab_v3_plus(&config);
    let mut params = he_init(&graph, 3);
    // As a trained network, normalizations keep the scale of what passes.
    for spec in graph.parameters().into_iter().filter(|p| p.role == ParameterRole::Gamma) {
        params.insert(spec.name, ParamTensor::full(&spec.shape, 0.5));
    }
    let (graph, params) = fold_batch_norm(&graph, &params).unwrap();
    let size = manifest.preprocess.input_size;
    let model = write_f32(&graph, &params, [size, size], &ModelInfo::default()).unwrap();

    manifest.graph.sha256 = sha256_hex(&model);
    manifest.graph.quantization = Quantization::F32;
    std::fs::write(dir.join(&manifest.graph.file), model).unwrap();
    std::fs::write(dir.join(MANIFEST), manifest.to_toml().unwrap()).unwrap();
    std::fs::create_dir(dir.join("golden")).unwrap();
    std::fs::copy(shipped.dir().join(GOLDEN), dir.join(GOLDEN)).unwrap();
    write_digests(dir).unwrap();
    Bundle::open(dir).unwrap()
}

#[test]
fn exported_f32_graph_gives_the_same_logits_in_both_engines() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = f32_bundle(dir.path());
    let inputs: Vec<Vec<f32>> =
        frames().iter().map(|frame| preprocess(frame, &bundle.manifest().preprocess).0).collect();
    let (_, theirs) = onnxruntime(&bundle.model_path(), &inputs);
    let mut engine = TractEngine::load(&bundle, 1).unwrap();
    for (input, theirs) in inputs.iter().zip(&theirs) {
        let ours = engine.run(input).unwrap().data;
        let spread = ours.iter().fold(0.0_f32, |a, v| a.max(v.abs()));
        assert!(spread > 0.1, "logits within ±{spread} show nothing");
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "logits differ by up to {worst}");
    }
}
