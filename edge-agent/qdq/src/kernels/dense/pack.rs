use super::BLOCK;

/// Weights in the order in which kernels read them: blocks of 16 outputs, each `[quads][16 outputs][4]`, filled up with
/// zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panels {
    data: Vec<i8>,
    outputs: usize,
    quads: usize,
}

impl Panels {
    /// Each output's weights in one slice after the other's, and which of them each quad of a window's segments takes: 0
    /// where there is none of that index.
    pub(crate) fn pack(outputs: usize, weights: &[i8], order: &[[u32; 4]]) -> Self {
        let quads = order.len();
        let mut data = vec![0; outputs.div_ceil(BLOCK) * quads * BLOCK * 4];
        let own = weights.chunks_exact((weights.len() / outputs.max(1)).max(1)).take(outputs);
        for (output, own) in own.enumerate() {
            let first = output / BLOCK * quads * BLOCK + output % BLOCK;
            let places = data[4 * first..].as_chunks_mut::<4>().0.iter_mut().step_by(BLOCK);
            for (place, quad) in places.zip(order) {
                *place = quad.map(|index| own.get(index as usize).copied().unwrap_or(0));
            }
        }
        Self { data, outputs, quads }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn blocks(&self) -> usize {
        self.outputs.div_ceil(BLOCK)
    }

    /// Quads of a block.
    pub(crate) fn quads(&self) -> usize {
        self.quads
    }

    /// Bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        self.quads * BLOCK * 4
    }

    /// A block's weights.
    pub(super) fn block(&self, block: usize) -> &[i8] {
        &self.data[block * self.block_bytes()..][..self.block_bytes()]
    }
}
