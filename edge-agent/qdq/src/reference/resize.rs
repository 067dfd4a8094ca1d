use super::{Data, to_byte};
use crate::graph::{Interpolation, Quant, Resize, Shape};

/// Nearest pixels are copied. Linear interpolation is separable, each operation rounded to f32: with the weights of
/// [`Resize::taps`] and `x` the value (of bytes: byte − zero point),
///
/// - across: `t = x_first × (1 − w_column) + x_second × w_column`;
/// - then down: `v = t_first × (1 − w_row) + t_second × w_row`;
/// - bytes to bytes: `v × (s_in ÷ s_out)`, rounded to a byte; bytes to real numbers: `v × s_in`; real numbers: `v`.
///
/// A weight of 0 takes the first value as it is: `x × 1 + x × 0` is `x`.
pub(super) fn resize(
    resize: &Resize,
    (shape, data): (&Shape, &Data),
    to_shape: &Shape,
    from: Option<Quant>,
    to: Option<Quant>,
) -> Option<Data> {
    let linear = resize.interpolation == Interpolation::Linear;
    match (data, from, to) {
        (Data::Bytes(bytes), Some(_), Some(_)) if !linear => {
            Some(Data::Bytes(sampled(resize, shape, to_shape, |at| bytes[at], |first, _, _| first)))
        }
        (Data::Bytes(bytes), Some(from), to) => {
            let steps = |at: usize| f32::from(bytes[at]) - f32::from(from.zero);
            let values = sampled(resize, shape, to_shape, steps, mix);
            Some(match to {
                Some(to) => {
                    let ratio = from.scale / to.scale;
                    Data::Bytes(values.iter().map(|v| to_byte(v * ratio, to, (0, 255))).collect())
                }
                None => Data::Real(values.iter().map(|v| v * from.scale).collect()),
            })
        }
        (Data::Real(values), None, None) => {
            Some(Data::Real(sampled(resize, shape, to_shape, |at| values[at], mix)))
        }
        _ => None,
    }
}

fn mix(first: f32, second: f32, weight: f32) -> f32 {
    first * (1.0 - weight) + second * weight
}

fn sampled<T: Copy>(
    resize: &Resize,
    shape: &Shape,
    to_shape: &Shape,
    value: impl Fn(usize) -> T,
    mix: impl Fn(T, T, f32) -> T,
) -> Vec<T> {
    let [n, c, h, w] = [shape[0], shape[1], shape[2], shape[3]];
    let rows = resize.taps(0, h, to_shape[2]);
    let columns = resize.taps(1, w, to_shape[3]);
    let mut out = Vec::with_capacity(to_shape.iter().product());
    for plane in 0..n * c {
        for row in &rows {
            out.extend(columns.iter().map(|column| {
                let across = |row: usize| {
                    let at = |column: usize| value((plane * h + row) * w + column);
                    mix(at(column.first), at(column.second), column.weight)
                };
                mix(across(row.first), across(row.second), row.weight)
            }));
        }
    }
    out
}
