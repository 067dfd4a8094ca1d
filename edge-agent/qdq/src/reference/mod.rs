//! Evaluates islands by plain loops over tensors in the layout of ONNX. This is what the arithmetic of every operator is
//! defined by; kernels compute the same to the last bit, [`RealConvolution`](crate::graph::RealConvolution) but for the
//! order of its sums.

mod arithmetic;
mod movement;
mod resize;
mod window;

use crate::graph::{Island, Kind, Node, Op, Quant, Shape};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Shape,
    pub(crate) data: Data,
}

/// Row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Real(Vec<f32>),
    Bytes(Vec<u8>),
}

/// The outputs. Bytes of signed tensors at both ends are those of the i8 values.
pub(crate) fn evaluate(island: &Island, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let values = evaluate_all(island, inputs)?;
    Ok(island.outputs.iter().map(|output| outer(&island.values[*output].kind, &values[*output])).collect())
}

/// Every value, signed ones with 128 added.
pub(crate) fn evaluate_all(island: &Island, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let shapes = inputs.iter().map(|input| input.shape.clone()).collect::<Vec<_>>();
    let shapes = island.shapes(&shapes)?;
    let empty = Tensor { shape: Vec::new(), data: Data::Bytes(Vec::new()) };
    let mut values = vec![empty; island.values.len()];
    for (value, input) in island.inputs.iter().zip(inputs) {
        // Adding 128 is its own inverse.
        values[*value] = outer(&island.values[*value].kind, input);
    }
    for (value, known) in island.values.iter().zip(&mut values) {
        if let Some((shape, bytes)) = &value.constant {
            *known = Tensor { shape: shape.clone(), data: Data::Bytes(bytes.clone()) };
        }
    }
    for node in &island.nodes {
        let read: Vec<&Tensor> = node.inputs.iter().map(|value| &values[*value]).collect();
        values[node.output] = Tensor {
            data: step(island, node, &read, &shapes[node.output])?,
            shape: shapes[node.output].clone(),
        };
    }
    Ok(values)
}

fn outer(kind: &Kind, tensor: &Tensor) -> Tensor {
    let mut tensor = tensor.clone();
    if let (Kind::Bytes { signed: true, .. }, Data::Bytes(bytes)) = (kind, &mut tensor.data) {
        bytes.iter_mut().for_each(|byte| *byte ^= 128);
    }
    tensor
}

/// What an operator makes of what it reads.
fn step(island: &Island, node: &Node, read: &[&Tensor], shape: &Shape) -> Result<Data, String> {
    let kind = |value: usize| island.values[value].kind;
    let wrong = || format!("{} '{}' reads or makes the wrong kind of tensor", node.op.name(), node.name);
    let input = *read.first().ok_or_else(wrong)?;
    let from = quant(kind(node.inputs[0]));
    let to = quant(kind(node.output));
    let data = match (&node.op, &input.data) {
        (Op::Quantize, Data::Real(real)) => {
            to.map(|to| Data::Bytes(real.iter().map(|x| to.quantize(*x)).collect()))
        }
        (Op::Dequantize, Data::Bytes(bytes)) => {
            from.map(|from| Data::Real(bytes.iter().map(|byte| from.dequantize(*byte)).collect()))
        }
        (Op::Convolution(c), Data::Bytes(bytes)) => from.map(|from| {
            if c.matrix {
                arithmetic::matrix(c, bytes, from, to)
            } else {
                window::convolution(c, (&input.shape, bytes), shape, from, to)
            }
        }),
        (Op::RealConvolution(c), Data::Bytes(bytes)) => {
            from.map(|from| Data::Real(window::real_convolution(c, (&input.shape, bytes), shape, from)))
        }
        (Op::Binary(binary), Data::Bytes(a)) => match read.get(1).map(|b| (&b.shape, &b.data)) {
            Some((b_shape, Data::Bytes(b))) => {
                let quants = (from, quant(kind(node.inputs[1])), to);
                let ((a, b), quants) = (((&input.shape, a), (b_shape, b)), quants);
                match quants {
                    (Some(qa), Some(qb), Some(to)) => {
                        Some(Data::Bytes(arithmetic::binary(binary, (a, qa), (b, qb), shape, to)))
                    }
                    _ => None,
                }
            }
            _ => None,
        },
        (Op::MaxPool(window), Data::Bytes(bytes)) => {
            Some(Data::Bytes(window::max_pool(window, (&input.shape, bytes), shape)))
        }
        (Op::AveragePool { window, count_pads }, Data::Bytes(bytes)) => from.zip(to).map(|(from, to)| {
            let input = (&input.shape, bytes.as_slice());
            Data::Bytes(window::average_pool(window, *count_pads, input, shape, from, to))
        }),
        (Op::GlobalAveragePool, Data::Bytes(bytes)) => from
            .zip(to)
            .map(|(from, to)| Data::Bytes(window::global_average_pool((&input.shape, bytes), from, to))),
        (Op::Resize(resize), data) => resize::resize(resize, (&input.shape, data), shape, from, to),
        (Op::Concat { axis, tables }, _) => movement::concat(*axis, tables, read, shape)?.map(Data::Bytes),
        (Op::Table(table), Data::Bytes(bytes)) => {
            Some(Data::Bytes(bytes.iter().map(|byte| table[usize::from(*byte)]).collect()))
        }
        (Op::Transpose(order), Data::Bytes(bytes)) => {
            Some(Data::Bytes(movement::transpose(order, &input.shape, bytes)))
        }
        (Op::Reshape(_), data) => Some(data.clone()),
        _ => None,
    };
    data.ok_or_else(wrong)
}

fn quant(kind: Kind) -> Option<Quant> {
    if let Kind::Bytes { quant, .. } = kind { Some(quant) } else { None }
}

/// Steps of the output, cut to a range of bytes and rounded, halves to even.
fn to_byte(steps: f32, to: Quant, clamp: (u8, u8)) -> u8 {
    let zero = i32::from(to.zero);
    let [least, most] = [clamp.0, clamp.1].map(|end| f32::from(end) - f32::from(to.zero));
    (steps.max(least).min(most).round_ties_even() as i32 + zero) as u8
}
