//! Tensors at the ends of an island, in the layout of ONNX: row-major, `[n, c, h, w]` for images.

/// What an island reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Real(&'a [f32]),
    /// The bytes of a u8 tensor, or those of an i8 tensor as they are.
    Bytes(&'a [u8]),
}

/// What an island writes.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    Real(&'a mut [f32]),
    /// The bytes of a u8 tensor, or those of an i8 tensor as they are.
    Bytes(&'a mut [u8]),
}
