//! One piece of memory for all tensors of a run, shared by those that do not live at the same time.

use std::ops::RangeInclusive;

/// Alignment of every tensor: a line of the cache, and the widest vector.
pub(crate) const ALIGN: usize = 64;

/// Memory that is needed from one step to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) bytes: usize,
    pub(crate) steps: RangeInclusive<usize>,
}

/// Where each need begins, and how much is needed in all.
///
/// The largest first, each at the lowest place that is free as long as it lives.
pub(crate) fn arrange(needs: &[Need]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(needs[*index].bytes));
    let mut starts = vec![0; needs.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(needs.len());
    let mut total = 0;
    for index in order {
        let need = &needs[index];
        let meets = |other: &&usize| {
            let (a, b) = (&need.steps, &needs[**other].steps);
            a.start() <= b.end() && b.start() <= a.end()
        };
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(meets)
            .map(|other| (starts[*other], starts[*other] + needs[*other].bytes))
            .collect();
        taken.sort_unstable();
        let mut start = 0;
        for (from, to) in taken {
            if start + need.bytes <= from {
                break;
            }
            start = start.max(to.next_multiple_of(ALIGN));
        }
        starts[index] = start;
        total = total.max(start + need.bytes);
        placed.push(index);
    }
    (starts, total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn needs_of_one_time_never_overlap(
            needs in prop::collection::vec((0..5000usize, 0..20usize, 0..6usize), 0..40)
        ) {
            let needs: Vec<Need> =
                needs.into_iter().map(|(bytes, from, more)| Need { bytes, steps: from..=from + more }).collect();
            let (starts, total) = arrange(&needs);
            for (i, a) in needs.iter().enumerate() {
                prop_assert!(starts[i] % ALIGN == 0 && starts[i] + a.bytes <= total);
                for (j, b) in needs.iter().enumerate().take(i) {
                    let together = a.steps.start() <= b.steps.end() && b.steps.start() <= a.steps.end();
                    let apart = starts[i] + a.bytes <= starts[j] || starts[j] + b.bytes <= starts[i];
                    prop_assert!(!together || apart || a.bytes == 0 || b.bytes == 0);
                }
            }
        }
    }

    #[test]
    fn memory_is_used_again() {
        let needs: Vec<Need> = (0..10).map(|step| Need { bytes: 640, steps: step..=step + 1 }).collect();
        assert_eq!(arrange(&needs).1, 2 * 640);
    }
}
