use std::borrow::Cow;

/// Known real numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RealConstant {
    pub(crate) dims: Vec<usize>,
    pub(crate) numbers: Numbers,
}

/// As they were stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    Real(Vec<f32>),
    Integers(Integers),
}

/// `value = scale × (integer − zero)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integers {
    pub(crate) values: Whole,
    /// One, or one for each index of `axis`.
    pub(crate) scales: Vec<f32>,
    pub(crate) zeros: Vec<i64>,
    pub(crate) axis: usize,
}

/// Integers, as narrow as they were stored: most are weights, of which there are many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Whole {
    Bytes(Vec<i8>),
    Words(Vec<i32>),
}

impl Whole {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Words(values) => values.len(),
        }
    }

    pub(crate) fn get(&self, at: usize) -> i64 {
        match self {
            Self::Bytes(values) => values[at].into(),
            Self::Words(values) => values[at].into(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Those of these places.
    fn pick(&self, places: impl Iterator<Item = usize>) -> Self {
        match self {
            Self::Bytes(values) => Self::Bytes(places.map(|at| values[at]).collect()),
            Self::Words(values) => Self::Words(places.map(|at| values[at]).collect()),
        }
    }
}

/// Which of so many scales holds for each value of a tensor of these dimensions, in the order of the values.
pub(crate) fn scale_of_each(scales: usize, dims: &[usize], axis: usize) -> impl Iterator<Item = usize> {
    let inner: usize = dims.get(axis + 1..).unwrap_or_default().iter().product();
    // One scale holds for all: a run of each length is as good.
    let inner = if scales == 1 { usize::MAX } else { inner };
    (0..scales).cycle().flat_map(move |index| std::iter::repeat_n(index, inner))
}

impl Integers {
    /// Each integer without its zero point, and its scale.
    pub(crate) fn steps<'a>(&'a self, dims: &'a [usize]) -> impl Iterator<Item = (i64, f32)> + 'a {
        let scales = scale_of_each(self.scales.len(), dims, self.axis);
        let step = |(value, index): (i64, usize)| (value - self.zeros[index], self.scales[index]);
        self.values.iter().zip(scales).map(step)
    }

    /// The integers without their zero points; none if one of them needs more than 8 bits.
    pub(crate) fn into_bytes(self, dims: &[usize]) -> Option<Vec<i8>> {
        match self.values {
            Whole::Bytes(values) if self.zeros.iter().all(|zero| *zero == 0) => Some(values),
            _ => self.steps(dims).map(|(step, _)| i8::try_from(step).ok()).collect(),
        }
    }
}

impl RealConstant {
    pub(crate) fn integers(&self) -> Option<&Integers> {
        if let Numbers::Integers(integers) = &self.numbers { Some(integers) } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Real(values) => values.len(),
            Numbers::Integers(integers) => integers.values.len(),
        }
    }

    pub(crate) fn values(&self) -> Cow<'_, [f32]> {
        match &self.numbers {
            Numbers::Real(values) => values.into(),
            Numbers::Integers(integers) => {
                let steps = integers.steps(&self.dims);
                steps.map(|(step, scale)| step as f32 * scale).collect::<Vec<_>>().into()
            }
        }
    }

    /// ONNX Transpose; none if `order` orders other axes. An empty one reverses them.
    pub(crate) fn transposed(self, order: &[i64]) -> Option<Self> {
        let rank = self.dims.len();
        let order: Vec<usize> = match order {
            [] => (0..rank).rev().collect(),
            order => order.iter().map(|axis| usize::try_from(*axis).ok()).collect::<Option<_>>()?,
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return None;
        }
        let dims: Vec<usize> = order.iter().map(|axis| self.dims[*axis]).collect();
        let stride = |axis: usize| self.dims[axis + 1..].iter().product::<usize>();
        let steps: Vec<(usize, usize)> = order.iter().map(|axis| (self.dims[*axis], stride(*axis))).collect();
        let source = |mut at: usize| {
            let mut source = 0;
            for (size, stride) in steps.iter().rev() {
                source += at % size * stride;
                at /= size;
            }
            source
        };
        let sources = (0..self.len()).map(source);
        let numbers = match self.numbers {
            Numbers::Real(values) => Numbers::Real(sources.map(|at| values[at]).collect()),
            Numbers::Integers(integers) => Numbers::Integers(Integers {
                values: integers.values.pick(sources),
                axis: order.iter().position(|axis| *axis == integers.axis).unwrap_or(0),
                ..integers
            }),
        };
        Some(Self { dims, numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_lie_along_an_axis_and_turn_with_it() {
        let integers = Integers {
            values: Whole::Words((1..=6).collect()),
            scales: vec![1.0, 10.0, 100.0],
            zeros: vec![0, 0, 1],
            axis: 1,
        };
        let constant = RealConstant { dims: vec![2, 3], numbers: Numbers::Integers(integers) };
        assert_eq!(*constant.values(), [1.0, 20.0, 200.0, 4.0, 50.0, 500.0]);
        let turned = constant.transposed(&[1, 0]).unwrap();
        assert_eq!(turned.dims, [3, 2]);
        assert_eq!(*turned.values(), [1.0, 4.0, 20.0, 50.0, 200.0, 500.0]);
        assert!(turned.clone().transposed(&[0, 0]).is_none());
        assert_eq!(turned.transposed(&[]).unwrap().dims, [2, 3]);
        let one = Integers { values: Whole::Bytes(vec![7, 9]), scales: vec![0.5], zeros: vec![1], axis: 0 };
        let one = RealConstant { dims: vec![2], numbers: Numbers::Integers(one) };
        assert_eq!(*one.values(), [3.0, 4.0]);
    }
}
