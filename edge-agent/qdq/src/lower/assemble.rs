//! Candidates become an island.

use std::collections::HashMap;

use super::anchors::Lowered;
use super::operator::Operand;
use crate::LowerError;
use crate::graph::{Island, Kind, Node, Op, Value, ValueId};

/// Joins candidates, each of which stands after those that it reads from. `is_output` tells whether something outside
/// reads a tensor.
///
/// # Errors
/// If the graph takes one tensor for bytes of both signs, or for bytes and real numbers.
pub(crate) fn assemble<'a>(
    candidates: impl Iterator<Item = &'a Lowered<'a>>,
    is_output: impl Fn(&str) -> bool,
) -> Result<Island, LowerError> {
    let mut builder = Builder::default();
    for lowered in candidates {
        let inputs = lowered.form.inputs.iter().map(|input| builder.operand(&lowered.name, input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let name = lowered.output.to_owned();
        let node = |op, inputs, output| Node { name: lowered.name.clone(), op, inputs, output };
        match (&lowered.table, lowered.kind) {
            (Some((quant, table)), Kind::Bytes { signed, .. }) => {
                let before = Kind::Bytes { quant: *quant, signed };
                let before = builder.value(format!("{name}, before its function"), before);
                builder.island.nodes.push(node(lowered.form.op.clone(), inputs, before));
                let output = builder.value(name, lowered.kind);
                builder.island.nodes.push(node(Op::Table(table.clone()), vec![before], output));
            }
            _ => {
                let output = builder.value(name, lowered.kind);
                builder.island.nodes.push(node(lowered.form.op.clone(), inputs, output));
            }
        }
        let output = builder.island.values.len() - 1;
        builder.ids.insert(lowered.output, output);
        if is_output(lowered.output) {
            builder.island.outputs.push(output);
        }
    }
    Ok(builder.island)
}

#[derive(Default)]
struct Builder<'a> {
    island: Island,
    ids: HashMap<&'a str, ValueId>,
}

impl<'a> Builder<'a> {
    fn value(&mut self, name: String, kind: Kind) -> ValueId {
        self.island.values.push(Value { name, kind, constant: None });
        self.island.values.len() - 1
    }

    fn operand(&mut self, reader: &str, operand: &Operand<'a>) -> Result<ValueId, LowerError> {
        match operand {
            Operand::Constant { quant, shape, bytes } => {
                let kind = Kind::Bytes { quant: *quant, signed: false };
                let value = self.value(format!("a constant of {reader}"), kind);
                self.island.values[value].constant = Some((shape.clone(), bytes.clone()));
                Ok(value)
            }
            Operand::Tensor { name, kind } => match self.ids.get(name) {
                Some(value) => self.seen_as(reader, *value, *kind),
                None => {
                    let value = self.value((*name).to_owned(), *kind);
                    self.island.inputs.push(value);
                    self.ids.insert(name, value);
                    Ok(value)
                }
            },
        }
    }

    /// A value as a reader takes it: the same bytes may mean other numbers to it than to their maker.
    fn seen_as(&mut self, reader: &str, value: ValueId, kind: Kind) -> Result<ValueId, LowerError> {
        match (self.island.values[value].kind, kind) {
            (own, kind) if own == kind => Ok(value),
            (Kind::Bytes { signed: own, .. }, Kind::Bytes { signed, .. }) if own == signed => {
                let name = format!("{}, as {reader} reads it", self.island.values[value].name);
                let output = self.value(name, kind);
                let op = Op::Table(Box::new(std::array::from_fn(|byte| byte as u8)));
                self.island.nodes.push(Node { name: reader.to_owned(), op, inputs: vec![value], output });
                Ok(output)
            }
            _ => Err(LowerError::Quantization {
                node: reader.to_owned(),
                reason: format!(
                    "it does not take '{}' for what its maker makes of it; export the graph anew",
                    self.island.values[value].name
                ),
            }),
        }
    }
}
