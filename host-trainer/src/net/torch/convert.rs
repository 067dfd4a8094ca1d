//! Parameters as tensors, and back.

use tch::{Device, Kind, TchError, Tensor};

use crate::net::ParamTensor;

/// A CPU tensor of the same shape and values.
///
/// # Errors
/// If there is no memory left.
pub fn to_tensor(param: &ParamTensor) -> Result<Tensor, TchError> {
    let shape: Vec<i64> = param.shape.iter().map(|&n| n as i64).collect();
    Tensor::f_from_slice(&param.data)?.f_view(shape.as_slice())
}

/// The parameter on the device, in the memory layout that suits its kernels.
///
/// On a CPU the weights of convolutions keep their channels innermost, and activations follow: oneDNN needs no copies
/// to change layouts then, and normalization and pooling run over contiguous channels (a tenth of a step).
pub(super) fn laid_out(tensor: &Tensor, device: Device) -> Result<Tensor, TchError> {
    let (&[out, channels, rows, cols], Device::Cpu) = (tensor.size().as_slice(), device) else {
        return tensor.f_to_device(device);
    };
    let strides = [rows * cols * channels, 1, cols * channels, channels];
    let inner = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // Spelled out: a permutation back would leave the strides of a single channel as they were, and the layout open.
    inner.f_as_strided([out, channels, rows, cols], strides, None)
}

/// The values of a tensor on any device, as f32.
///
/// # Panics
/// If the device fails while copying.
pub fn from_tensor(tensor: &Tensor) -> ParamTensor {
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut data = vec![0f32; flat.numel()];
    flat.copy_data(&mut data, flat.numel());
    ParamTensor::new(tensor.size().iter().map(|&n| n as usize).collect(), data)
}
