//! No damage to a graph makes lowering panic, or the run of what is lowered as a whole.

use qdq::{Options, lower};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, ModelProto, type_proto};
use tract_onnx::prelude::Framework;

use crate::alone::{is_small, runs_alone};
use crate::build::{Build, f32s, int, ints, text};
use crate::errors;

/// Numbers without any quality but to be the same at each run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn odd(&mut self) -> i64 {
        let next = self.next();
        let small = (next % 20) as i64;
        [0, 1, -1, 2, 3, small, small, 1 << 20, 1 << 40, i64::MAX, i64::MIN, next as i64][self.below(12)]
    }
}

/// Some of every operator.
fn all() -> ModelProto {
    let mut build = Build::default();
    let image = build.image([1, 2, 8, 8]);
    let image = build.pair(&image, 0.01, 128);
    let conv = build.conv(&image, 4, 2);
    let conv = build.node("Relu", &[&conv], vec![]);
    let conv = build.pair(&conv, 0.02, 0);
    let window = || vec![ints("kernel_shape", &[2; 2]), ints("strides", &[2; 2]), ints("dilations", &[1; 2])];
    let pool = build.node("MaxPool", &[&conv], window());
    let pool = build.pair(&pool, 0.02, 0);
    let mean = build.node("AveragePool", &[&conv], window());
    let mean = build.pair(&mean, 0.02, 3);
    let both = build.node("Concat", &[&pool, &mean], vec![int("axis", 1)]);
    let both = build.pair(&both, 0.02, 3);
    let scales = build.store(f32s("scales", &[4], &[1.0, 1.0, 2.0, 2.0]));
    let large = build.node("Resize", &[&both, "", &scales], vec![text("mode", "linear")]);
    let large = build.pair(&large, 0.02, 3);
    let turned = build.node("Transpose", &[&large], vec![ints("perm", &[0, 1, 3, 2])]);
    let turned = build.pair(&turned, 0.02, 3);
    let constant = build.store(f32s("constant", &[1, 8, 1, 1], &[0.5; 8]));
    let product = build.node("Mul", &[&turned, &constant], vec![]);
    let product = build.pair(&product, 0.02, 3);
    let cos = build.node("Cos", &[&product], vec![]);
    let cos = build.pair(&cos, 0.01, 120);
    let sum = build.node("Add", &[&cos, &product], vec![]);
    let sum = build.pair(&sum, 0.02, 60);
    let mean = build.node("GlobalAveragePool", &[&sum], vec![]);
    let mean = build.pair(&mean, 0.02, 60);
    let flat = build.node("Flatten", &[&mean], vec![int("axis", 1)]);
    let flat = build.pair(&flat, 0.02, 60);
    let weights = build.weights(&[3, 8], &[7; 24], 0.01);
    let made = build.node("Gemm", &[&flat, &weights], vec![int("transB", 1)]);
    let made = build.pair(&made, 0.02, 60);
    build.output(&made, DataType::Float);
    build.model()
}

fn damage(graph: &mut GraphProto, numbers: &mut Numbers) {
    let at = numbers.below(graph.node.len());
    let names: Vec<String> = graph.node.iter().flat_map(|node| node.output.clone()).collect();
    let initializers = graph.initializer.len();
    match numbers.below(10) {
        0 => {
            let other = graph.node[numbers.below(graph.node.len())].clone();
            graph.node[at].op_type = other.op_type;
            if numbers.below(2) == 0 {
                graph.node[at].attribute = other.attribute;
            }
        }
        1 => drop(graph.node.remove(at)),
        2 => {
            let name = names[numbers.below(names.len())].clone();
            let inputs = &mut graph.node[at].input;
            let slot = numbers.below(inputs.len() + 1);
            if slot < inputs.len() { inputs[slot] = name } else { inputs.push(name) }
        }
        3 => drop(graph.node[at].input.pop()),
        4 => graph.node[at].output.clear(),
        5 | 6 => {
            let with: Vec<usize> =
                (0..graph.node.len()).filter(|node| !graph.node[*node].attribute.is_empty()).collect();
            let Some(with) = with.get(numbers.below(with.len())) else { return };
            let attributes = &mut graph.node[*with].attribute;
            let attribute = numbers.below(attributes.len());
            let attribute = &mut attributes[attribute];
            match numbers.below(4) {
                0 => drop(attribute.ints.pop()),
                1 => attribute.ints.push(numbers.odd()),
                _ => {
                    attribute.i = numbers.odd();
                    let slot = numbers.below(attribute.ints.len());
                    if let Some(value) = attribute.ints.get_mut(slot) {
                        *value = numbers.odd();
                    }
                }
            }
        }
        7 => {
            let tensor = &mut graph.initializer[numbers.below(initializers)];
            match numbers.below(3) {
                0 => tensor.dims.push(numbers.odd()),
                1 => tensor.data_type = numbers.below(20) as i32,
                _ => drop(tensor.dims.pop()),
            }
        }
        8 => {
            let tensor = &mut graph.initializer[numbers.below(initializers)];
            let bits = numbers.next() as u32;
            tensor.float_data.iter_mut().for_each(|value| *value = f32::from_bits(bits));
            let value = numbers.odd() as i32;
            tensor.int32_data.iter_mut().for_each(|stored| *stored = value);
        }
        _ => {
            let kind = graph.input[0].r#type.as_mut().unwrap().value.as_mut().unwrap();
            let type_proto::Value::TensorType(tensor) = kind;
            let dims = &mut tensor.shape.as_mut().unwrap().dim;
            let slot = numbers.below(dims.len());
            dims[slot].value = Some(dimension::Value::DimValue(numbers.odd()));
        }
    }
}

#[test]
fn damaged_graphs_do_not_panic() {
    let whole = [errors::conv().model(), all()];
    assert_eq!(lower(&whole[1], &Options::default()).unwrap().report().left.len(), 1);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut sound, mut run, mut refused) = (0, 0, 0);
    for _ in 0..4000 {
        let mut model = whole[numbers.below(2)].clone();
        for _ in 0..=numbers.below(3) {
            damage(model.graph.as_mut().unwrap(), &mut numbers);
        }
        match lower(&model, &Options::default()) {
            Ok(lowered) => {
                sound += 1;
                run += usize::from(is_small(&lowered) && runs_alone(&lowered));
            }
            Err(error) => {
                assert!(error.to_string().len() < 2000);
                refused += 1;
            }
        }
    }
    assert!(sound > 500 && run > 100 && refused > 500, "{sound} sound, {run} run, {refused} refused");
}

#[test]
fn damaged_files_do_not_panic() {
    let whole = errors::prost_bytes(&all());
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    let mut read = 0;
    for _ in 0..4000 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            bytes[at] = numbers.next() as u8;
        }
        if let Ok(model) = tract_onnx::onnx().proto_model_for_read(&mut bytes.as_slice()) {
            let _ = lower(&model, &Options::default());
            read += 1;
        }
    }
    assert!(read > 500, "{read}");
}
