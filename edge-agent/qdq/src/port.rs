//! Tensors at the ends of an island, in the layout of ONNX: row-major, `[n, c, h, w]` for images.

/// What is read.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// f32.
    Real(&'a [f32]),
    /// The bytes of a u8 tensor, or those of an i8 tensor as they are.
    Bytes(&'a [u8]),
}

/// What is written.
#[derive(Debug)]
pub enum Sink<'a> {
    /// f32.
    Real(&'a mut [f32]),
    /// The bytes of a u8 tensor, or those of an i8 tensor as they are.
    Bytes(&'a mut [u8]),
}
