//! Dimensions that are symbols.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModelExt;
use tract_onnx::tract_hir::internal::ToDim;

use crate::build::{Build, Dim};
use crate::{distance, errors, image, lowered, plainly, run};

fn model(dims: [Dim; 4]) -> Build {
    let mut build = errors::conv();
    build.graph.input.clear();
    build.input("image", DataType::Float, Some(&dims));
    build
}

#[test]
fn a_batch_may_be_a_symbol_until_a_run() {
    let model = model([Dim::Named("N"), Dim::Is(2), Dim::Is(6), Dim::Is(6)]).model();
    let typed = lowered(&model).into_model().into_optimized().unwrap();
    let fact = typed.output_fact(0).unwrap();
    assert_eq!(format!("{:?}", fact.shape), "N,3,6,6");
    let plan = typed.into_runnable().unwrap();
    for batch in [1, 3, 2] {
        let input = image(&[batch, 2, 6, 6]);
        let made = plan.run(tvec!(input.clone().into_tvalue())).unwrap();
        let fixed = errors_with(batch);
        let expected = plainly(&fixed, &[input]);
        assert!(distance(&made[0], &expected[0]) < 0.021);
    }
}

fn errors_with(batch: usize) -> tract_onnx::pb::ModelProto {
    model([Dim::Is(batch as i64), Dim::Is(2), Dim::Is(6), Dim::Is(6)]).model()
}

#[test]
fn symbols_may_be_set_before_and_after_typing() {
    let model = model([Dim::Named("N"), Dim::Is(2), Dim::Is(6), Dim::Is(6)]).model();
    let input = image(&[2, 2, 6, 6]);
    let mut early = lowered(&model).into_model();
    early.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [2, 2, 6, 6])).unwrap();
    let early = run(early, std::slice::from_ref(&input));
    let late = lowered(&model).into_model().into_typed().unwrap();
    let symbol = late.symbols.sym("N");
    let late = late.set_symbols(&[(symbol, 2.to_dim())].into()).unwrap();
    assert_eq!(format!("{:?}", late.output_fact(0).unwrap().shape), "2,3,6,6");
    let late =
        late.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input.into_tvalue())).unwrap();
    assert_eq!(early[0], late[0].clone().into_tensor());
}

#[test]
fn rows_and_columns_may_be_symbols() {
    let mut build = model([Dim::Is(1), Dim::Is(2), Dim::Named("H"), Dim::Named("W")]);
    let made = build.graph.output.remove(0).name;
    let pads = crate::build::ints("pads", &[1; 4]);
    let window =
        vec![crate::build::ints("kernel_shape", &[3; 2]), crate::build::ints("strides", &[2; 2]), pads];
    let made = build.node("MaxPool", &[&made], window);
    let made = build.pair(&made, 0.02, 100);
    let made = build.node("Cos", &[&made], vec![]);
    build.output(&made, DataType::Float);
    let model = build.model();
    let plan = lowered(&model).into_model().into_optimized().unwrap().into_runnable().unwrap();
    for (rows, columns) in [(6, 6), (9, 12)] {
        let made = plan.run(tvec!(image(&[1, 2, rows, columns]).into_tvalue())).unwrap();
        assert_eq!(made[0].shape(), [1, 3, rows.div_ceil(2), columns.div_ceil(2)]);
    }
}
