//! Shapes by the rules of the ONNX operators.

use super::op::{Convolution, Op, Pads, RealConvolution, Reshape, Resize, ResizeTo, Window};

/// A tensor's dimensions, as ONNX counts them.
pub(crate) type Shape = Vec<usize>;

/// More values than any radiograph's network has at once; a shape beyond it is a mistake or an attack.
const MOST_VALUES: usize = 1 << 28;

impl Op {
    /// The shape of the output.
    pub(crate) fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        // What is too large must not overflow on the way.
        inputs.iter().try_for_each(|input| bounded("input", input))?;
        let shape = self.shape(inputs)?;
        bounded("output", &shape)?;
        Ok(shape)
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let input = *inputs.first().ok_or("no input")?;
        match self {
            Self::Quantize | Self::Dequantize | Self::Table(_) => Ok(input.clone()),
            Self::Convolution(c) if c.matrix => matrix(c, input),
            Self::Convolution(Convolution { window, groups, inputs, outputs, .. })
            | Self::RealConvolution(RealConvolution { window, groups, inputs, outputs, .. }) => {
                let [n, c, h, w] = image(input)?;
                if c != groups * inputs {
                    return Err(format!("its weights take {} channels, the input has {c}", groups * inputs));
                }
                let [h, w] = window.output([h, w])?;
                Ok(vec![n, *outputs, h, w])
            }
            Self::Binary(_) => broadcast(inputs),
            Self::MaxPool(window) | Self::AveragePool { window, .. } => {
                let [n, c, h, w] = summed(input)?;
                let [h, w] = window.output([h, w])?;
                Ok(vec![n, c, h, w])
            }
            Self::GlobalAveragePool => {
                let [n, c, ..] = summed(input)?;
                Ok(vec![n, c, 1, 1])
            }
            Self::Resize(resize) => {
                let [n, c, h, w] = image(input)?;
                let [h, w] = resize.output([h, w]);
                Ok(vec![n, c, h, w])
            }
            Self::Concat { axis, .. } => concat(*axis, inputs),
            Self::Transpose(order) => {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..input.len()) {
                    return Err(format!("it orders {} dimensions as {order:?}", input.len()));
                }
                Ok(order.iter().map(|axis| input[*axis]).collect())
            }
            Self::Reshape(reshape) => reshape.output(input),
        }
    }
}

fn bounded(end: &str, shape: &Shape) -> Result<(), String> {
    match shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim)) {
        Some(0) | None => Err(format!("its {end} would have the shape {shape:?}")),
        Some(values) if values > MOST_VALUES => Err(format!("its {end} would have {values} values")),
        Some(_) => Ok(()),
    }
}

fn image(shape: &Shape) -> Result<[usize; 4], String> {
    <[usize; 4]>::try_from(shape.as_slice())
        .map_err(|_| format!("its input has the shape {shape:?}, not [n, c, h, w]"))
}

/// An image whose bytes an i32 can sum up.
fn summed(shape: &Shape) -> Result<[usize; 4], String> {
    let image = image(shape)?;
    match image[2].checked_mul(image[3]) {
        Some(area) if area <= i32::MAX as usize / 255 => Ok(image),
        _ => Err(format!("its input of {shape:?} is too large to sum up")),
    }
}

fn matrix(product: &Convolution, input: &Shape) -> Result<Shape, String> {
    match input.split_last() {
        // They lie as images, whose last dimension is no row of values.
        _ if input.len() == 4 => Err(format!("its input has the shape {input:?}, as images have")),
        Some((last, rows)) if *last == product.inputs && !rows.is_empty() => {
            Ok(rows.iter().copied().chain([product.outputs]).collect())
        }
        _ => Err(format!("its weights take {} values, the input has the shape {input:?}", product.inputs)),
    }
}

fn broadcast(inputs: &[&Shape]) -> Result<Shape, String> {
    let rank = inputs.iter().map(|shape| shape.len()).max().unwrap_or(0);
    (0..rank)
        .map(|axis| {
            let mut dim = 1;
            for shape in inputs {
                let own = (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
                if own != 1 && dim != 1 && own != dim {
                    return Err(format!("its inputs' shapes {inputs:?} do not broadcast"));
                }
                dim = dim.max(own);
            }
            Ok(dim)
        })
        .collect()
}

fn concat(axis: i64, inputs: &[&Shape]) -> Result<Shape, String> {
    let mut shape = inputs[0].clone();
    let axis = axis_of(axis, shape.len())?;
    shape[axis] = 0;
    for part in inputs {
        let fits = |(index, (a, b)): (usize, (&usize, &usize))| index == axis || a == b;
        if part.len() != shape.len() || !part.iter().zip(&shape).enumerate().all(fits) {
            return Err(format!("its inputs' shapes {inputs:?} do not fit together"));
        }
        shape[axis] += part[axis];
    }
    Ok(shape)
}

/// An axis that may be counted from the end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("its axis is {axis} of {rank}"))
}

impl Window {
    /// Rows and columns of the output.
    pub(crate) fn output(&self, input: [usize; 2]) -> Result<[usize; 2], String> {
        let mut output = [0; 2];
        for side in 0..2 {
            let stride = self.strides[side];
            output[side] = match self.pads {
                Pads::SameUpper | Pads::SameLower => input[side].div_ceil(stride),
                Pads::Explicit(pads) => {
                    let padded = input[side] + pads[side] + pads[side + 2];
                    let room = padded.checked_sub(self.extent(side)).ok_or_else(|| {
                        format!(
                            "its window of {:?} is larger than the padded input of {input:?}",
                            self.kernel
                        )
                    })?;
                    let steps = if self.ceil { room.div_ceil(stride) } else { room / stride };
                    // A window that begins in the padding behind the image is none.
                    let outside = self.ceil && steps * stride >= input[side] + pads[side];
                    steps + usize::from(!outside)
                }
            };
        }
        Ok(output)
    }

    /// Padding above and left of the image.
    pub(crate) fn begin(&self, input: [usize; 2]) -> [usize; 2] {
        let begin = |side: usize| match self.pads {
            Pads::Explicit(pads) => pads[side],
            same => {
                let steps = input[side].div_ceil(self.strides[side]) - 1;
                let total = (steps * self.strides[side] + self.extent(side)).saturating_sub(input[side]);
                if same == Pads::SameLower { total.div_ceil(2) } else { total / 2 }
            }
        };
        [begin(0), begin(1)]
    }

    /// How many rows or columns each window sees inside the image or, with `padded`, inside the padded image.
    pub(crate) fn counts(&self, side: usize, input: usize, output: usize, padded: bool) -> Vec<usize> {
        let begin = self.begin([input; 2])[side];
        let end = match self.pads {
            Pads::Explicit(pads) => begin + input + pads[side + 2],
            // These pads are what the windows need.
            _ => (output - 1) * self.strides[side] + self.extent(side),
        };
        let seen = if padded { 0..end.max(begin + input) } else { begin..begin + input };
        let count = |out: usize| {
            let at = |tap: usize| out * self.strides[side] + tap * self.dilations[side];
            (0..self.kernel[side]).filter(|tap| seen.contains(&at(*tap))).count()
        };
        (0..output).map(count).collect()
    }

    /// Rows or columns from the first to the last that one window sees.
    pub(crate) fn extent(&self, side: usize) -> usize {
        (self.kernel[side] - 1) * self.dilations[side] + 1
    }
}

impl Resize {
    /// Rows and columns of the output.
    pub(crate) fn output(&self, input: [usize; 2]) -> [usize; 2] {
        match self.to {
            ResizeTo::Sizes(sizes) => sizes,
            ResizeTo::Scales(scales) => {
                std::array::from_fn(|side| (input[side] as f32 * scales[side]).floor() as usize)
            }
        }
    }
}

impl Reshape {
    fn output(&self, input: &Shape) -> Result<Shape, String> {
        let values: usize = input.iter().product();
        let shape = match self {
            Self::Flatten(axis) => {
                let rank = input.len() as i64;
                let axis = if *axis == rank { input.len() } else { axis_of(*axis, input.len())? };
                vec![input[..axis].iter().product(), input[axis..].iter().product()]
            }
            Self::Squeeze(axes) => {
                let axes: Vec<usize> =
                    axes.iter().map(|axis| axis_of(*axis, input.len())).collect::<Result<_, _>>()?;
                let kept = |(index, dim): (usize, &usize)| {
                    let goes = if axes.is_empty() { *dim == 1 } else { axes.contains(&index) };
                    (!goes).then_some(*dim)
                };
                input.iter().enumerate().filter_map(kept).collect()
            }
            Self::Unsqueeze(axes) => {
                let rank = input.len() + axes.len();
                let axes: Vec<usize> =
                    axes.iter().map(|axis| axis_of(*axis, rank)).collect::<Result<_, _>>()?;
                let mut rest = input.iter();
                (0..rank)
                    .map(|axis| if axes.contains(&axis) { 1 } else { *rest.next().unwrap_or(&1) })
                    .collect()
            }
            Self::To(dims) => to(dims, input, values)?,
        };
        if shape.iter().product::<usize>() == values {
            Ok(shape)
        } else {
            Err(format!("it makes {self:?} of the shape {input:?}"))
        }
    }
}

fn to(dims: &[i64], input: &Shape, values: usize) -> Result<Shape, String> {
    let mut shape = Vec::with_capacity(dims.len());
    let mut open = None;
    for (index, dim) in dims.iter().enumerate() {
        shape.push(match dim {
            -1 if open.is_none() => {
                open = Some(index);
                1
            }
            0 => *input.get(index).ok_or_else(|| format!("it keeps dimension {index} of {input:?}"))?,
            dim => usize::try_from(*dim).map_err(|_| format!("it reshapes to {dims:?}"))?,
        });
    }
    if let Some(open) = open {
        let known = shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim));
        let known = known.filter(|known| *known > 0).ok_or_else(|| format!("it reshapes to {dims:?}"))?;
        shape[open] = values / known;
    }
    match shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim)) {
        Some(count) if count == values => Ok(shape),
        _ => Err(format!("it reshapes {input:?} to {dims:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, dilation: usize, pads: Pads) -> Window {
        let (kernel, strides, dilations) = ([kernel; 2], [stride; 2], [dilation; 2]);
        Window { kernel, strides, dilations, pads, ceil: false }
    }

    #[test]
    fn windows_have_the_sizes_of_the_standard() {
        let padded = window(7, 2, 1, Pads::Explicit([3; 4]));
        assert_eq!((padded.output([320, 320]).unwrap(), padded.begin([320, 320])), ([160, 160], [3, 3]));
        let dilated = window(3, 1, 36, Pads::Explicit([36; 4]));
        assert_eq!(dilated.output([20, 21]).unwrap(), [20, 21]);
        let upper = window(3, 2, 1, Pads::SameUpper);
        assert_eq!((upper.output([8, 9]).unwrap(), upper.begin([8, 9])), ([4, 5], [0, 1]));
        assert_eq!(window(3, 2, 1, Pads::SameLower).begin([8, 9]), [1, 1]);
        let ceil = Window { ceil: true, ..window(2, 2, 1, Pads::Explicit([0; 4])) };
        assert_eq!(ceil.output([5, 4]).unwrap(), [3, 2]);
        // The third window would begin in the padding.
        let behind = Window { ceil: true, ..window(2, 2, 1, Pads::Explicit([0, 0, 1, 1])) };
        assert_eq!(behind.output([4, 5]).unwrap(), [2, 3]);
        assert!(window(5, 1, 1, Pads::Explicit([0; 4])).output([4, 9]).is_err());
    }

    #[test]
    fn reshapes_and_broadcasts_follow_the_standard() {
        let reshape = |reshape: Reshape, input: &[usize]| reshape.output(&input.to_vec());
        assert_eq!(reshape(Reshape::To(vec![0, -1]), &[2, 3, 4]).unwrap(), [2, 12]);
        assert_eq!(reshape(Reshape::Flatten(1), &[2, 3, 4]).unwrap(), [2, 12]);
        assert_eq!(reshape(Reshape::Squeeze(vec![-1, 2]), &[2, 3, 1, 1]).unwrap(), [2, 3]);
        assert_eq!(reshape(Reshape::Unsqueeze(vec![2, 3]), &[2, 3]).unwrap(), [2, 3, 1, 1]);
        assert!(reshape(Reshape::To(vec![5]), &[2, 3]).is_err());
        assert!(reshape(Reshape::Squeeze(vec![0]), &[2, 3]).is_err());
        assert!(reshape(Reshape::To(vec![-1, i64::MAX, i64::MAX]), &[2, 3]).is_err());
        assert_eq!(broadcast(&[&vec![2, 3, 4], &vec![3, 1]]).unwrap(), [2, 3, 4]);
        assert!(broadcast(&[&vec![2], &vec![3]]).is_err());
        assert_eq!(concat(-1, &[&vec![2, 3], &vec![2, 5]]).unwrap(), [2, 8]);
        assert!(concat(1, &[&vec![2, 3], &vec![3, 5]]).is_err());
    }

    #[test]
    fn gigantic_shapes_are_refused() {
        let resize = Resize {
            interpolation: super::super::op::Interpolation::Linear,
            coordinates: super::super::op::Coordinates::HalfPixel,
            to: ResizeTo::Scales([1e9, 1e9]),
        };
        assert!(Op::Resize(resize).output_shape(&[&vec![1, 1, 9, 9]]).is_err());
    }
}
