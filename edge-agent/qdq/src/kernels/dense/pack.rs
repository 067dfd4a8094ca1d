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
    /// `weight(output, position)` for each of the `4 × quads` bytes that a window's segments have, 0 where there is none.
    pub(crate) fn pack(outputs: usize, quads: usize, weight: impl Fn(usize, usize) -> i8) -> Self {
        let blocks = outputs.div_ceil(BLOCK);
        let mut data = Vec::with_capacity(blocks * quads * BLOCK * 4);
        for block in 0..blocks {
            for quad in 0..quads {
                for lane in 0..BLOCK {
                    let output = block * BLOCK + lane;
                    data.extend(
                        (0..4).map(|byte| if output < outputs { weight(output, 4 * quad + byte) } else { 0 }),
                    );
                }
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
