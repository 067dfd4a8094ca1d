//! Forms that exporters write operators in.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, TensorProto};

use crate::build::{Build, f32s, int, integers, ints, text};
use crate::{distance, image, lowered, plainly, run};

/// Lowers a model as a whole, and compares it to tract: within a quantum of `scale`.
fn whole(model: &ModelProto, dims: &[usize], scale: f32) -> qdq::Report {
    let inputs = [image(dims)];
    let lowered = lowered(model);
    let report = lowered.report().clone();
    assert_eq!((report.islands(), &report.left[..]), (1, &[][..]), "{report}");
    let apart = distance(&run(lowered.into_model(), &inputs)[0], &plainly(model, &inputs)[0]);
    assert!(apart < scale * 1.01, "{apart} in quanta of {scale}\n{report}");
    report
}

fn operators(report: &qdq::Report) -> Vec<&'static str> {
    report.lowered.iter().map(|node| node.operator).collect()
}

/// An operator of a quantized image and a constant.
fn with_constant(kind: &str, dims: &[i64], values: &[f32], scale: f32) -> ModelProto {
    let mut build = Build::default();
    let image = build.image([1, 3, 4, 5]);
    let image = build.pair(&image, 0.01, 120);
    let constant = build.store(f32s("constant", dims, values));
    let made = build.node(kind, &[&constant, &image], vec![]);
    let made = build.pair(&made, scale, 90);
    build.output(&made, DataType::Float);
    build.model()
}

#[test]
fn constants_of_real_numbers_are_added_and_multiplied() {
    for kind in ["Add", "Mul"] {
        for number in [0.37, -0.83, 0.0] {
            for (dims, operator) in [(&[][..], "Table"), (&[1, 1, 1, 1], kind)] {
                let report = whole(&with_constant(kind, dims, &[number], 0.011), &[1, 3, 4, 5], 0.011);
                assert_eq!(operators(&report), ["Quantize", operator, "Dequantize"]);
            }
        }
        for dims in [&[3, 1, 1][..], &[1, 3, 1, 1]] {
            let numbers = [0.31, -0.62, 0.0];
            let report = whole(&with_constant(kind, dims, &numbers, 0.011), &[1, 3, 4, 5], 0.011);
            assert_eq!(operators(&report), ["Quantize", "GroupedConv", "Dequantize"]);
        }
        // Along the rows.
        let model = with_constant(kind, &[5], &[0.1, -0.2, 0.3, 0.25, 0.0], 0.011);
        assert_eq!(operators(&whole(&model, &[1, 3, 4, 5], 0.011)), ["Quantize", kind, "Dequantize"]);
    }
    let fine = lowered(&with_constant("Add", &[5], &[0.1, -2.0, 3.0, 0.25, 0.0], 0.001));
    assert!(fine.report().to_string().contains("too fine for 8 bits"), "{}", fine.report());
}

#[test]
fn a_constant_for_each_channel_may_broadcast_the_other_way() {
    let mut build = Build::default();
    let image = build.image([1, 1, 4, 5]);
    let image = build.pair(&image, 0.01, 120);
    let constant = build.store(f32s("constant", &[1, 3, 1, 1], &[0.1, 0.2, 0.3]));
    let made = build.node("Add", &[&image, &constant], vec![]);
    let made = build.pair(&made, 0.01, 90);
    build.output(&made, DataType::Float);
    let model = build.model();
    let inputs = [crate::image(&[1, 1, 4, 5])];
    let made = run(lowered(&model).into_model(), &inputs);
    assert!(distance(&made[0], &plainly(&model, &inputs)[0]) < 0.0101);
}

#[test]
fn sums_with_constants_are_biases() {
    let conv = |last: &dyn Fn(&mut Build, &str) -> String| {
        let mut build = Build::default();
        let image = build.image([1, 2, 5, 5]);
        let image = build.pair(&image, 0.01, 120);
        let made = build.conv(&image, 3, 2);
        let bias = build.store(f32s("bias", &[1, 3, 1, 1], &[0.5, -0.25, 0.125]));
        let made = build.node("Add", &[&bias, &made], vec![]);
        let made = last(&mut build, &made);
        build.output(&made, DataType::Float);
        build.model()
    };
    let quantized = conv(&|build, made| {
        let made = build.node("Relu", &[made], vec![]);
        build.pair(&made, 0.02, 0)
    });
    let report = whole(&quantized, &[1, 2, 5, 5], 0.02);
    assert_eq!(operators(&report), ["Quantize", "Conv", "Dequantize"]);
    let real = conv(&|_, made| made.to_owned());
    assert_eq!(operators(&whole(&real, &[1, 2, 5, 5], 1e-4)), ["Quantize", "Conv"]);
}

#[test]
fn matrix_products_take_transposed_weights_and_biases() {
    let mut build = Build::default();
    let image = build.image([2, 3, 2, 2]);
    let image = build.pair(&image, 0.01, 120);
    let flat = build.node("Flatten", &[&image], vec![int("axis", 1)]);
    let flat = build.pair(&flat, 0.01, 120);
    let values: Vec<i32> = (0..60).map(|i| i * 37 % 101 - 50).collect();
    let weights = build.weights(&[5, 12], &values, 0.01);
    let weights = build.node("Transpose", &[&weights], vec![ints("perm", &[1, 0])]);
    let made = build.node("MatMul", &[&flat, &weights], vec![]);
    let bias = build.store(f32s("bias", &[5], &[0.5, -0.25, 0.125, 0.0, 1.0]));
    let made = build.node("Add", &[&made, &bias], vec![]);
    let made = build.pair(&made, 0.03, 110);
    build.output(&made, DataType::Float);
    let report = whole(&build.model(), &[2, 3, 2, 2], 0.03);
    assert_eq!(operators(&report), ["Quantize", "Reshape", "MatMul", "Dequantize"]);
}

#[test]
fn bytes_may_be_read_by_another_scale() {
    let mut build = Build::default();
    let image = build.image([1, 2, 4, 4]);
    let bytes = build.quantize(&image, 0.01, 120, false);
    let image = build.dequantize(&bytes);
    let relu = build.node("Relu", &[&image], vec![]);
    let relu = build.pair(&relu, 0.01, 0);
    let scale = build.store(f32s("other", &[], &[0.02]));
    let other = build.node("DequantizeLinear", &[&bytes, &scale], vec![]);
    let sum = build.node("Add", &[&relu, &other], vec![]);
    let sum = build.pair(&sum, 0.04, 10);
    build.output(&sum, DataType::Float);
    whole(&build.model(), &[1, 2, 4, 4], 0.04);
}

#[test]
fn a_missing_zero_point_of_i8_is_zero() {
    let mut build = Build::default();
    let image = build.image([1, 2, 4, 4]);
    let bytes = build.quantize(&image, 0.01, 0, true);
    build.graph.node[0].output[0].clone_from(&bytes);
    let scale = build.graph.node[0].input[1].clone();
    let image = build.node("DequantizeLinear", &[&bytes, &scale], vec![]);
    let relu = build.node("Relu", &[&image], vec![]);
    let relu = build.pair(&relu, 0.01, 0);
    build.output(&relu, DataType::Float);
    whole(&build.model(), &[1, 2, 4, 4], 0.01);
}

#[test]
fn other_ranks_are_left_to_tract() {
    let mut build = Build::default();
    let image = build.image([1, 3, 4, 4]);
    let image = build.pair(&image, 0.01, 120);
    let shape = build.store(integers("shape", DataType::Int32, &[3], &[1, 3, 16]));
    let shape = build.node("Cast", &[&shape], vec![int("to", 7)]);
    let flat = build.node("Reshape", &[&image, &shape], vec![]);
    let flat = build.pair(&flat, 0.01, 120);
    let mean = build.node("GlobalAveragePool", &[&flat], vec![]);
    let mean = build.pair(&mean, 0.01, 120);
    let relu = build.node("Relu", &[&mean], vec![]);
    let relu = build.pair(&relu, 0.01, 0);
    build.output(&relu, DataType::Float);
    let model = build.model();
    let inputs = [crate::image(&[1, 3, 4, 4])];
    let lowered = lowered(&model);
    let left = lowered.report().to_string();
    assert!(
        left.contains("GlobalAveragePool") && left.contains("its input has the shape [1, 3, 16]"),
        "{left}"
    );
    assert!(distance(&run(lowered.into_model(), &inputs)[0], &plainly(&model, &inputs)[0]) < 0.0101);
}

#[test]
fn sums_that_overflow_are_left_to_tract() {
    let mut build = Build::default();
    let image = build.image([1, 3, 4, 4]);
    let image = build.pair(&image, 0.01, 120);
    let weights = build.weights(&[2, 3, 1, 1], &[127, 1, -1, 5, 6, 7], 1e-9);
    let bias = build.store(f32s("bias", &[2], &[0.021_474_8, 0.0]));
    let made = build.node("Conv", &[&image, &weights, &bias], vec![]);
    let made = build.pair(&made, 0.01, 120);
    let made = build.node("Relu", &[&made], vec![]);
    let made = build.pair(&made, 0.01, 0);
    build.output(&made, DataType::Float);
    let model = build.model();
    let lowered = lowered(&model);
    assert!(lowered.report().to_string().contains("its sums leave the range of i32"), "{}", lowered.report());
    let inputs = [crate::image(&[1, 3, 4, 4])];
    assert!(distance(&run(lowered.into_model(), &inputs)[0], &plainly(&model, &inputs)[0]) < 0.0101);
}

/// Found by damaging graphs: an image lies with its channels last, so that its last dimension is no row of values.
#[test]
fn matrix_products_of_images_are_left_to_tract() {
    let mut build = Build::default();
    let image = build.image([1, 5, 4, 5]);
    let image = build.pair(&image, 0.01, 120);
    let values: Vec<i32> = (0..35).map(|i| i * 37 % 101 - 50).collect();
    let weights = build.weights(&[5, 7], &values, 0.004);
    let product = build.node("MatMul", &[&image, &weights], vec![]);
    let product = build.pair(&product, 0.01, 120);
    build.output(&product, DataType::Float);
    let model = build.model();
    let inputs = [crate::image(&[1, 5, 4, 5])];
    let lowered = lowered(&model);
    let left = lowered.report().to_string();
    assert!(left.contains("MatMul") && left.contains("its input has the shape [1, 5, 4, 5]"), "{left}");
    assert!(distance(&run(lowered.into_model(), &inputs)[0], &plainly(&model, &inputs)[0]) < 0.0101);
}

/// Found by damaging graphs: a window of one pixel moves over the same pixels unless there are pads behind them.
#[test]
fn windows_of_one_pixel_may_be_padded() {
    for pads in [[0, 0, 2, 0], [0, 0, 0, 9], [1, 2, 0, 0], [0, 0, 9, 9]] {
        let values: Vec<i32> = (0..12).map(|i| i * 37 % 101 - 50).collect();
        let mut build = Build::default();
        let image = build.image([2, 3, 5, 4]);
        let image = build.pair(&image, 0.009, 120);
        let weights = build.weights(&[4, 3, 1, 1], &values, 0.004);
        let made = build.node("Conv", &[&image, &weights], vec![ints("pads", &pads)]);
        let made = build.pair(&made, 0.011, 100);
        build.output(&made, DataType::Float);
        whole(&build.model(), &[2, 3, 5, 4], 0.011);
    }
}

/// One operator of a quantized image, which is quantized again.
fn single(
    kind: &str,
    inputs: &[&str],
    attributes: Vec<AttributeProto>,
    stored: Vec<TensorProto>,
) -> ModelProto {
    let mut build = Build::default();
    let image = build.image([2, 3, 9, 8]);
    let image = build.pair(&image, 0.009, 120);
    stored.into_iter().for_each(|tensor| drop(build.store(tensor)));
    let inputs: Vec<&str> = [image.as_str()].into_iter().chain(inputs.iter().copied()).collect();
    let made = build.node(kind, &inputs, attributes);
    let made = build.pair(&made, 0.011, 100);
    build.output(&made, DataType::Float);
    build.model()
}

#[test]
fn pools_are_those_of_tract() {
    let windows =
        [([3, 3], [2, 2], [1, 1, 1, 1]), ([2, 3], [1, 2], [0, 1, 1, 0]), ([5, 2], [3, 1], [2, 0, 2, 1])];
    for (kernel, strides, pads) in windows {
        let window = || vec![ints("kernel_shape", &kernel), ints("strides", &strides), ints("pads", &pads)];
        whole(&single("MaxPool", &[], window(), vec![]), &[2, 3, 9, 8], 0.011);
        for counted in [0, 1] {
            let attributes = window().into_iter().chain([int("count_include_pad", counted)]).collect();
            whole(&single("AveragePool", &[], attributes, vec![]), &[2, 3, 9, 8], 0.011);
        }
    }
    whole(&single("GlobalAveragePool", &[], vec![], vec![]), &[2, 3, 9, 8], 0.011);
    let mean = vec![ints("axes", &[-2, -1]), int("keepdims", 1)];
    assert_eq!(
        operators(&whole(&single("ReduceMean", &[], mean, vec![]), &[2, 3, 9, 8], 0.011))[1],
        "GlobalAveragePool"
    );
}

#[test]
fn resizes_are_those_of_tract() {
    for (mode, nearest) in [("linear", "floor"), ("nearest", "floor"), ("nearest", "round_prefer_floor")] {
        for coordinates in ["half_pixel", "align_corners", "asymmetric"] {
            let attributes = vec![
                text("mode", mode),
                text("nearest_mode", nearest),
                text("coordinate_transformation_mode", coordinates),
            ];
            let scales = vec![f32s("scales", &[4], &[1.0, 1.0, 2.0, 3.0])];
            whole(&single("Resize", &["", "scales"], attributes, scales), &[2, 3, 9, 8], 0.011);
        }
    }
}

#[test]
fn functions_are_tables() {
    let functions =
        ["Relu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "LeakyRelu", "Elu", "Softplus", "Abs"];
    for kind in functions {
        let report = whole(&single(kind, &[], vec![], vec![]), &[2, 3, 9, 8], 0.011);
        assert_eq!(operators(&report), ["Quantize", "Table", "Dequantize"], "{kind}");
    }
    let ends = vec![f32s("least", &[], &[-0.25]), f32s("most", &[], &[0.5])];
    whole(&single("Clip", &["least", "most"], vec![], ends), &[2, 3, 9, 8], 0.011);
}

#[test]
fn parts_of_other_scales_are_joined() {
    for axis in [0, 1, 3, -1] {
        let mut build = Build::default();
        let image = build.image([2, 3, 4, 5]);
        let image = build.pair(&image, 0.009, 120);
        let relu = build.node("Relu", &[&image], vec![]);
        let relu = build.pair(&relu, 0.004, 0);
        let both = build.node("Concat", &[&image, &relu, &image], vec![int("axis", axis)]);
        let both = build.pair(&both, 0.009, 110);
        build.output(&both, DataType::Float);
        whole(&build.model(), &[2, 3, 4, 5], 0.009);
    }
}

#[test]
fn functions_of_one_value_are_one_table() {
    let mut build = Build::default();
    let image = build.image([1, 2, 4, 4]);
    let image = build.pair(&image, 0.009, 120);
    // A swish, as exporters write it out.
    let sigmoid = build.node("Sigmoid", &[&image], vec![]);
    let sigmoid = build.pair(&sigmoid, 0.004, 0);
    let swish = build.node("Mul", &[&image, &sigmoid], vec![]);
    let swish = build.pair(&swish, 0.006, 60);
    let relu = build.node("Relu", &[&swish], vec![]);
    let relu = build.pair(&relu, 0.003, 0);
    // Of these, two are read again.
    let both = build.node("Concat", &[&relu, &image], vec![int("axis", 1)]);
    let both = build.pair(&both, 0.008, 100);
    build.output(&both, DataType::Float);
    let report = whole(&build.model(), &[1, 2, 4, 4], 0.008);
    assert_eq!(operators(&report), ["Quantize", "Concat", "Dequantize"]);
    let name = &report.lowered[1].name;
    let inner = ["Concat ", "Relu ", "Mul ", "Sigmoid "];
    let places: Vec<usize> = inner.iter().map(|kind| name.find(kind).unwrap()).collect();
    assert!(places.is_sorted(), "{name}");
}
