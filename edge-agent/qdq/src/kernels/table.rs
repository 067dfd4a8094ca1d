//! Bytes through a table of all of them.

use crate::Isa;

/// Writes of every byte what the table has for it.
pub(crate) fn look_up(isa: Isa, to: &mut [u8], from: &[u8], table: &[u8; 256]) {
    match isa {
        // SAFETY: it was looked for.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni if std::arch::is_x86_feature_detected!("avx512vbmi") => unsafe {
            avx512::look_up(to, from, table);
        },
        _ => to.iter_mut().zip(from).for_each(|(to, byte)| *to = table[usize::from(*byte)]),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    /// Bytes of a vector.
    const LANES: usize = 64;

    /// The table lies in four registers: `vpermi2b` looks into two of them.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
    pub(super) fn look_up(to: &mut [u8], from: &[u8], table: &[u8; 256]) {
        let quarter = |at: usize| {
            // SAFETY: 256 bytes.
            unsafe { _mm512_loadu_si512(table.as_ptr().add(at * LANES).cast()) }
        };
        let [a, b, c, d] = [0, 1, 2, 3].map(quarter);
        let count = to.len().min(from.len());
        for start in (0..count).step_by(LANES) {
            let mask = if count - start >= LANES { !0 } else { (1 << (count - start)) - 1 };
            // SAFETY: what is beyond the end is masked.
            unsafe {
                let bytes = _mm512_maskz_loadu_epi8(mask, from.as_ptr().add(start).cast());
                let low = _mm512_permutex2var_epi8(a, bytes, b);
                let high = _mm512_permutex2var_epi8(c, bytes, d);
                let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high);
                _mm512_mask_storeu_epi8(to.as_mut_ptr().add(start).cast(), mask, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_in_any_length() {
        let table: [u8; 256] = std::array::from_fn(|at| (at * 167 + 13) as u8);
        let from: Vec<u8> = (0..300).map(|at| (at * 89 + at / 7) as u8).chain(0..=255).collect();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
            for count in (0..200).chain([from.len()]) {
                let mut to = vec![7; from.len() + 1];
                look_up(isa, &mut to[..count], &from, &table);
                let found = from[..count].iter().map(|byte| table[usize::from(*byte)]);
                assert!(to[..count].iter().copied().eq(found), "{isa}, {count}");
                assert!(to[count..].iter().all(|byte| *byte == 7), "{isa}, {count}");
            }
        }
    }
}
