use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::expandable::Expansion;

use super::Runner;
use super::operator::Fused;
use super::shapes::output_shapes;

/// An island in a graph whose shapes are not known yet.
#[derive(Clone)]
pub(crate) struct Expand(pub(crate) Runner);

impl std::fmt::Debug for Expand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an island of {} operators", self.0.island.nodes.len())
    }
}

impl Expansion for Expand {
    fn name(&self) -> StaticName {
        "QdqIsland".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.island.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.0.island.inputs.len())?;
        check_output_arity(outputs, self.0.island.outputs.len())?;
        for (input, datum_type) in inputs.iter().zip(self.0.inputs()) {
            s.equals(&input.datum_type, datum_type)?;
        }
        for (output, datum_type) in outputs.iter().zip(self.0.outputs()) {
            s.equals(&output.datum_type, datum_type)?;
        }
        s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes| {
            let shapes: Vec<&[TDim]> = shapes.iter().map(|shape| &**shape).collect();
            for (output, shape) in outputs.iter().zip(output_shapes(&self.0.island, &shapes)?) {
                s.equals(&output.rank, shape.len() as i64)?;
                for (axis, dim) in shape.into_iter().enumerate() {
                    if let Some(dim) = dim {
                        s.equals(&output.shape[axis], dim)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts: Vec<&TypedFact> =
            inputs.iter().map(|input| model.outlet_fact(*input)).collect::<TractResult<_>>()?;
        let fused = Fused::new(&self.0, &facts, &model.symbols)?;
        model.wire_node(prefix, fused, inputs)
    }

    // Known inputs are no reason to run it before the plan does.
    fn runs_out_of_plan(&self) -> bool {
        false
    }
}
