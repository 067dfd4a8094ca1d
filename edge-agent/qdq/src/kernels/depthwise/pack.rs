use super::super::Requant;
use crate::Isa;

/// Weights, biases and scales in the order in which a set of instructions reads them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    isa: Isa,
    channels: usize,
    taps: usize,
    /// `[chunks][groups of taps][channels of a chunk in the set's order][taps of a group]`, filled up with zeros.
    pub(super) data: Vec<i8>,
    /// `[chunks][channels in the set's order]`, what is filled up included.
    pub(super) bias: Vec<i32>,
    pub(super) scale: Vec<f32>,
    pub(super) zero: u8,
    pub(super) clamp: (u8, u8),
}

/// How a set of instructions wants its weights.
struct Order {
    /// Channels that are computed together.
    chunk: usize,
    /// Taps that one instruction takes.
    group: usize,
    /// Of each place in a chunk, the channel.
    channel: fn(usize) -> usize,
}

impl Order {
    fn of(isa: Isa) -> Self {
        match isa {
            // Unpacking bytes of four taps within 16-byte lanes leaves vector q, lane l with the channels 16 l + 4 q to + 3.
            Isa::Avx512Vnni => {
                Self { chunk: 64, group: 4, channel: |at| 16 * (at / 4 % 4) + 4 * (at / 16) + at % 4 }
            }
            // Unpacking words of two taps leaves the channels 0 to 3 and 8 to 11, then 4 to 7 and 12 to 15.
            Isa::Avx2 => Self { chunk: 16, group: 2, channel: |at| 8 * (at / 4 % 2) + 4 * (at / 8) + at % 4 },
            Isa::Scalar | Isa::Neon | Isa::Dotprod | Isa::I8mm => {
                Self { chunk: 16, group: 1, channel: |at| at }
            }
        }
    }

    /// The taps in the order of their groups, and what fills those up.
    fn taps(&self, taps: usize) -> Vec<Option<usize>> {
        if self.group == 4 && taps == 9 {
            // Of 3 × 3, each column by itself, so that the next pixel uses it again.
            return [0, 1, 2]
                .into_iter()
                .flat_map(|at| [Some(at), Some(at + 3), Some(at + 6), None])
                .collect();
        }
        (0..taps.next_multiple_of(self.group)).map(|tap| Some(tap).filter(|tap| *tap < taps)).collect()
    }
}

impl Weights {
    pub(crate) fn pack(
        isa: Isa,
        channels: usize,
        taps: usize,
        requant: &Requant,
        weight: impl Fn(usize, usize) -> i8,
    ) -> Self {
        let order = Order::of(isa);
        let chunks = channels.div_ceil(order.chunk);
        let (mut data, mut bias, mut scale) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in 0..chunks {
            let channel =
                |at: usize| Some(chunk * order.chunk + (order.channel)(at)).filter(|c| *c < channels);
            for group in order.taps(taps).chunks(order.group) {
                for at in 0..order.chunk {
                    let own =
                        |tap: &Option<usize>| channel(at).zip(*tap).map_or(0, |(c, tap)| weight(c, tap));
                    data.extend(group.iter().map(own));
                }
            }
            bias.extend((0..order.chunk).map(|at| channel(at).map_or(0, |c| requant.bias[c])));
            scale.extend((0..order.chunk).map(|at| channel(at).map_or(0.0, |c| requant.scale[c])));
        }
        Self { isa, channels, taps, data, bias, scale, zero: requant.zero, clamp: requant.clamp }
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    pub(crate) fn taps(&self) -> usize {
        self.taps
    }
}
