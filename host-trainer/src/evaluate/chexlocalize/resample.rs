use rand_mt::Mt;

/// numpy's `RandomState(seed)`, as far as `choice(n, size=n, replace=True)` goes: the MT19937 generator seeded by
/// Knuth's recurrence, and its upper bounds by masked rejection of 32-bit words (`legacy` distributions, which
/// numpy promises not to change).
pub(super) struct NumpyRandomState(Mt);

impl NumpyRandomState {
    pub(super) fn new(seed: u32) -> Self {
        Self(Mt::new(seed))
    }

    /// `choice(n, size=n, replace=True)` for n below 2³².
    pub(super) fn choice(&mut self, n: usize) -> Vec<usize> {
        let highest = n.saturating_sub(1) as u32;
        let mask = u32::MAX.checked_shr(highest.leading_zeros()).unwrap_or(0);
        let mut draw = || loop {
            // For a single value, numpy takes no word.
            let word = if highest == 0 { 0 } else { self.0.next_u32() & mask };
            if word <= highest {
                return word as usize;
            }
        };
        (0..n).map(|_| draw()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// Made by `tests/fixtures/make_evaluate_fixtures.py` with numpy itself.
    #[derive(Deserialize)]
    struct Fixture {
        choices: BTreeMap<usize, Vec<Vec<usize>>>,
    }

    #[test]
    fn draws_equal_those_of_numpy() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("../../../tests/fixtures/chexlocalize_expected.json")).unwrap();
        assert!(fixture.choices.len() >= 5);
        for (n, draws) in fixture.choices {
            let mut state = NumpyRandomState::new(0);
            for draw in draws {
                assert_eq!(state.choice(n), draw, "{n}");
            }
        }
    }
}
