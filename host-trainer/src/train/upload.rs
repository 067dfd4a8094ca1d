//! Values on their way to the device.

use tch::kind::Element;
use tch::{Device, TchError, Tensor};

use crate::dataset::Sample;

/// A tensor of this shape on the device.
pub(crate) fn upload<T: Element>(values: &[T], shape: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_view(shape)?.f_to_device(device)
}

/// N × 1 × S × S: images of one size, of which there is at least one, as the network reads them.
pub(crate) fn upload_samples<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    [mean, std]: [f32; 2],
    device: Device,
) -> Result<Tensor, TchError> {
    let (mut pixels, mut size) = (Vec::new(), 0);
    for sample in samples {
        size = sample.size() as i64;
        pixels.extend(sample.normalized(mean, std));
    }
    upload(&pixels, &[-1, 1, size, size], device)
}
