use super::super::sample::in_parallel;
use super::super::{DatasetError, Problem};
use super::Seen;
use super::examine::HASH_BITS;

/// Most bits in which two copies of one picture differ: recompressed, resized to 60% and brightened copies of
/// the project's 1900 radiographs differ in 13 or fewer, and no two different ones in fewer than 14.
const ALIKE: u32 = 13;

/// Bits up to which two pictures count as one without a look: an order of magnitude closer than strangers.
const SAME: u32 = 4;

/// Compares every image with every other: the same picture in two splits under two patients is a leak, twice in
/// one split it counts double, and what merely looks alike is for a person to judge.
pub(super) fn duplicates(seen: &[Seen]) -> Result<Vec<Problem>, DatasetError> {
    let found = in_parallel(seen.len(), |i| {
        let others = seen[i + 1..].iter().filter_map(|other| compare(&seen[i], other));
        Ok(others.collect::<Vec<_>>())
    })?;
    Ok(found.into_iter().flatten().collect())
}

fn compare(one: &Seen, other: &Seen) -> Option<Problem> {
    let bits = one.1.hash.iter().zip(&other.1.hash).map(|(a, b)| (a ^ b).count_ones()).sum();
    if bits > ALIKE {
        return None;
    }
    let equal = one.1.pixels == other.1.pixels;
    // A leak costs the image of the split with fewer promises.
    let (first, second) = if one.0.split >= other.0.split { (one, other) } else { (other, one) };
    let ((first, _), (second, _)) = (first, second);
    let (first_id, second_id) = (first.id.clone(), second.id.clone());
    if first.split == second.split {
        // Two images of a patient may well look alike.
        return Some(match equal {
            true => Problem::Twice { first: first_id, second: second_id, split: first.split },
            false if first.patient == second.patient => return None,
            false => Problem::Lookalike {
                first: first_id,
                second: second_id,
                bits,
                of: HASH_BITS,
                splits: String::new(),
            },
        });
    }
    // Patients never cross splits by now, so these are two by name.
    Some(if equal || bits <= SAME {
        Problem::Leak {
            first: first_id,
            first_split: first.split,
            second: second_id,
            second_split: second.split,
        }
    } else {
        let splits = format!("; one is {}, the other {}: look at them", first.split, second.split);
        Problem::Lookalike { first: first_id, second: second_id, bits, of: HASH_BITS, splits }
    })
}
