use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::Resampler;
use super::{EvaluateError, Figure, ImageCounts, Interval, MIN_PATIENTS};

/// Two models compared over the same patients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Figure of the first model, mean over its seeds.
    pub a: f64,
    /// Figure of the second.
    pub b: f64,
    /// `b − a` with its 95% percentile interval.
    pub difference: Interval,
    /// `b / a − 1` with its interval; none where `a` is 0.
    pub relative: Option<Interval>,
    /// Two-sided: twice the share of resamples whose difference lies on the other side of 0 or on it, the images
    /// themselves counted as one such resample (Davison & Hinkley 1997, section 4.2): from 2 / (resamples + 1) to 1.
    /// None where fewer than [`MIN_PATIENTS`] patients contribute to the figure.
    pub p_value: Option<f64>,
    /// Images of either model.
    pub images: usize,
    /// Patients they come from.
    pub patients: usize,
    /// Resamples that gave both models a figure.
    pub resamples: usize,
}

/// The trainings of one model (seeds), each with the places of the same images.
struct Trainings<'a> {
    sets: &'a [Vec<ImageCounts>],
    places: Vec<Vec<usize>>,
}

impl<'a> Trainings<'a> {
    /// Finds the images of `reference` in each set, which must hold the same ones.
    fn new(
        reference: &[&ImageCounts],
        sets: &'a [Vec<ImageCounts>],
        name: &str,
    ) -> Result<Self, EvaluateError> {
        let of_set =
            |(i, set): (usize, &Vec<ImageCounts>)| places(reference, set, &format!("{name}{}", i + 1));
        Ok(Self { sets, places: sets.iter().enumerate().map(of_set).collect::<Result<_, _>>()? })
    }

    /// Mean over the trainings; none if one of them has no figure over the images drawn.
    fn figure(&self, drawn: &[usize], figure: &Figure) -> Option<f64> {
        let mut sum = 0.0;
        for (set, places) in self.sets.iter().zip(&self.places) {
            let images: Vec<&ImageCounts> = drawn.iter().map(|&i| &set[places[i]]).collect();
            sum += figure.of(&images)?;
        }
        Some(sum / self.sets.len() as f64)
    }

    /// Patients that contribute to every training.
    fn patients(&self, figure: &Figure) -> usize {
        self.sets.iter().map(|set| figure.patients(&set.iter().collect::<Vec<_>>())).min().unwrap_or(0)
    }
}

/// The figure of one model, the mean over its trainings (seeds), with the interval of that mean: every resample draws
/// the same **patients** for all trainings. None if a training has no figure over all images. Resamples in which one
/// has none are left out.
///
/// # Errors
/// If there is no training, or images, patients, classes or expert masks of any two differ.
pub fn mean_bootstrap(
    sets: &[Vec<ImageCounts>],
    seed: u64,
    resamples: usize,
    figure: &Figure,
) -> Result<Option<Interval>, EvaluateError> {
    let Some(reference) = sets.first() else { return Err(EvaluateError::NothingToCompare) };
    let images: Vec<&ImageCounts> = reference.iter().collect();
    let trainings = Trainings::new(&images, sets, "a")?;
    let everything: Vec<usize> = (0..images.len()).collect();
    let Some(value) = trainings.figure(&everything, figure) else { return Ok(None) };
    let mut resampler = Resampler::new(&images, seed);
    let figures = (0..resamples).filter_map(|_| trainings.figure(resampler.draw(), figure)).collect();
    Ok(Some(Interval::of(value, figures, resamples, trainings.patients(figure))))
}

/// Compares two models by a paired bootstrap: every resample draws the same **patients** for both, so what is
/// hard about an image is hard for both and cancels out (Efron & Tibshirani 1993, chapters 13 and 16).
///
/// `a` and `b` hold the counts of one or several trainings each (seeds); a model's figure is the mean over them.
/// None if a training has no figure over all images. Resamples in which one has none are left out.
///
/// # Errors
/// If a side is empty, or images, patients, classes or expert masks of any two sets differ.
pub fn paired_bootstrap(
    a: &[Vec<ImageCounts>],
    b: &[Vec<ImageCounts>],
    seed: u64,
    resamples: usize,
    figure: &Figure,
) -> Result<Option<Paired>, EvaluateError> {
    let (Some(reference), false) = (a.first(), b.is_empty()) else {
        return Err(EvaluateError::NothingToCompare);
    };
    let images: Vec<&ImageCounts> = reference.iter().collect();
    let (a, b) = (Trainings::new(&images, a, "a")?, Trainings::new(&images, b, "b")?);
    let both = |at: &[usize]| Some((a.figure(at, figure)?, b.figure(at, figure)?));
    let everything: Vec<usize> = (0..images.len()).collect();
    let Some(value) = both(&everything) else { return Ok(None) };
    let mut resampler = Resampler::new(&images, seed);
    let patients = resampler.patients();
    let figures: Vec<(f64, f64)> = (0..resamples).filter_map(|_| both(resampler.draw())).collect();
    let contributing = a.patients(figure).min(b.patients(figure));
    let paired = Paired::of(value, &figures, resamples, contributing);
    Ok(Some(Paired { images: images.len(), patients, ..paired }))
}

impl Paired {
    /// All but the numbers of images and patients.
    fn of((a, b): (f64, f64), figures: &[(f64, f64)], drawn: usize, contributing: usize) -> Self {
        let difference = b - a;
        let other_side = figures
            .iter()
            .map(|(a, b)| b - a)
            // Without a difference every resample lies on the other side.
            .filter(|d| if difference > 0.0 { *d <= 0.0 } else { difference == 0.0 || *d >= 0.0 })
            .count();
        let p_value = (2.0 * (other_side + 1) as f64 / (figures.len() + 1) as f64).min(1.0);
        let ratio = |(a, b): (f64, f64)| (a != 0.0).then(|| b / a - 1.0);
        let interval = |value, figures| Interval::of(value, figures, drawn, contributing);
        Self {
            a,
            b,
            difference: interval(difference, figures.iter().map(|(a, b)| b - a).collect()),
            relative: ratio((a, b))
                .map(|value| interval(value, figures.iter().copied().filter_map(ratio).collect())),
            p_value: (contributing >= MIN_PATIENTS).then_some(p_value),
            images: 0,
            patients: 0,
            resamples: figures.len(),
        }
    }
}

/// Where the images of `reference` stand in `set`, which must hold the same ones.
fn places(reference: &[&ImageCounts], set: &[ImageCounts], name: &str) -> Result<Vec<usize>, EvaluateError> {
    let differs = |image: &str, how: String| EvaluateError::Unpaired { image: image.to_owned(), how };
    let mut by_id: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, image) in set.iter().enumerate() {
        if by_id.insert(&image.id, i).is_some() {
            return Err(differs(&image.id, format!("stands in {name} twice")));
        }
    }
    let mut places = Vec::with_capacity(reference.len());
    for wanted in reference {
        let Some(at) = by_id.remove(wanted.id.as_str()) else {
            return Err(differs(&wanted.id, format!("stands in a1, but not in {name}")));
        };
        let found = &set[at];
        if found.patient != wanted.patient {
            let how = format!("is of patient {} in a1, of {} in {name}", wanted.patient, found.patient);
            return Err(differs(&wanted.id, how));
        }
        let truth = |image: &ImageCounts| -> Vec<Option<u64>> {
            image.classes.iter().map(|class| class.map(|counts| counts.source.truth)).collect()
        };
        if truth(found) != truth(wanted) {
            let how = format!("has other classes or expert masks in {name} than in a1");
            return Err(differs(&wanted.id, how));
        }
        places.push(at);
    }
    match by_id.into_keys().next() {
        Some(extra) => Err(differs(extra, format!("stands in {name}, but not in a1"))),
        None => Ok(places),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::evaluate::{Bounds, ClassCounts, Counts, Measure, Protocol, bootstrap};

    fn dice() -> Figure {
        Figure::of_class(0, Protocol::ChexlocalizeFull, Measure::Dice)
    }

    fn bounds(interval: Interval) -> Bounds {
        interval.bounds.unwrap()
    }

    fn image(id: usize, patient: &str, truth: u64, intersection: u64) -> ImageCounts {
        let counts = Counts { truth, predicted: truth, intersection };
        let class = ClassCounts { source: counts, model: counts, ..ClassCounts::default() };
        ImageCounts {
            id: format!("image{id}"),
            patient: patient.into(),
            classes: vec![Some(class), None],
            ..ImageCounts::default()
        }
    }

    fn model(hits: impl Fn(usize) -> u64) -> Vec<ImageCounts> {
        (0..50).map(|i| image(i, &format!("p{}", i / 2), 100, hits(i))).collect()
    }

    fn compare(a: &[Vec<ImageCounts>], b: &[Vec<ImageCounts>]) -> Result<Option<Paired>, EvaluateError> {
        paired_bootstrap(a, b, 7, 1000, &dice())
    }

    #[test]
    fn a_constant_gain_has_no_spread_where_each_model_has() {
        let (a, b) = (model(|i| 20 + i as u64), model(|i| 25 + i as u64));
        let paired = compare(std::slice::from_ref(&a), std::slice::from_ref(&b)).unwrap().unwrap();
        let (value, Bounds { low, high, .. }) = (paired.difference.value, bounds(paired.difference));
        assert!([value, low, high].iter().all(|d| (d - 0.05).abs() < 1e-12), "{paired:?}");
        assert!((paired.relative.unwrap().value - 0.05 / 0.445).abs() < 1e-12, "{paired:?}");
        // Not one resample on the other side.
        assert_eq!((paired.p_value, paired.images, paired.patients), (Some(2.0 / 1001.0), 50, 25));
        // The unpaired interval of one model is wide, and its value is that of the pair.
        let images: Vec<_> = a.iter().collect();
        let alone = bootstrap(&images, 7, 1000, &dice()).unwrap();
        assert!(bounds(alone).high - bounds(alone).low > 0.05 && alone.value == paired.a);
    }

    #[test]
    fn order_does_not_matter_and_seeds_are_averaged() {
        let (a, low, high) = (model(|i| 20 + i as u64), model(|i| 15 + i as u64), model(|i| 25 + i as u64));
        let mut turned = high.clone();
        turned.reverse();
        let paired = compare(std::slice::from_ref(&a), &[low, turned]).unwrap().unwrap();
        assert!(paired.difference.value.abs() < 1e-12 && paired.b > 0.4, "{paired:?}");
        let same = compare(std::slice::from_ref(&a), std::slice::from_ref(&a)).unwrap().unwrap();
        let Bounds { low, high, .. } = bounds(same.difference);
        assert_eq!((low, high, same.p_value), (0.0, 0.0, Some(1.0)));
    }

    #[test]
    fn the_interval_of_a_mean_over_seeds_is_not_the_mean_of_their_intervals() {
        // Where one seed is good the other is bad: each varies over patients, their mean does not.
        let seed = |odd: bool| model(move |i| if (i / 2 % 2 == 1) == odd { 80 } else { 20 });
        let both = [seed(true), seed(false)];
        let mean = mean_bootstrap(&both, 7, 1000, &dice()).unwrap().unwrap();
        let Bounds { low, high, .. } = bounds(mean);
        assert!((mean.value - 0.5).abs() < 1e-12 && high - low < 1e-9, "{mean:?}");
        let one = bounds(mean_bootstrap(&both[..1], 7, 1000, &dice()).unwrap().unwrap());
        let images: Vec<_> = both[0].iter().collect();
        assert_eq!(one, bounds(bootstrap(&images, 7, 1000, &dice()).unwrap()));
        assert!(one.high - one.low > 0.1);
        assert!(matches!(mean_bootstrap(&[], 7, 10, &dice()), Err(EvaluateError::NothingToCompare)));
    }

    #[test]
    fn few_patients_have_neither_interval_nor_p() {
        let of = |patients: usize, hits: u64| -> Vec<ImageCounts> {
            (0..20).map(|i| image(i, &format!("p{}", i % patients), 100, hits + i as u64)).collect()
        };
        let paired = compare(&[of(4, 20)], &[of(4, 40)]).unwrap().unwrap();
        assert_eq!((paired.p_value, paired.difference.bounds), (None, None));
        assert!(paired.relative.is_some_and(|gain| gain.value > 0.5 && gain.bounds.is_none()));
        assert!(compare(&[of(5, 20)], &[of(5, 40)]).unwrap().unwrap().p_value.is_some());
    }

    #[test]
    fn no_figure_and_no_ratio_are_told() {
        assert!(matches!(compare(&[], &[model(|_| 1)]), Err(EvaluateError::NothingToCompare)));
        let nobody_annotates = Figure::of_class(1, Protocol::Dataset, Measure::Dice);
        let none = paired_bootstrap(&[model(|_| 1)], &[model(|_| 1)], 7, 10, &nobody_annotates);
        assert_eq!(none.unwrap(), None);
        let paired = compare(&[model(|_| 0)], &[model(|_| 50)]).unwrap().unwrap();
        assert_eq!((paired.relative, paired.difference.value), (None, 0.5));
    }

    #[test]
    fn the_first_difference_between_the_sets_is_named() {
        let a = model(|_| 50);
        let error = |b: Vec<ImageCounts>| compare(std::slice::from_ref(&a), &[b]).unwrap_err().to_string();
        let mut b = a.clone();
        b.remove(3);
        assert!(error(b).contains("image3 stands in a1, but not in b1"));
        let mut b = a.clone();
        b.push(image(77, "p", 100, 1));
        assert!(error(b).contains("image77 stands in b1, but not in a1"));
        let mut b = a.clone();
        b[5].patient = "other".into();
        assert!(error(b).contains("image5 is of patient p2 in a1, of other in b1"));
        let mut b = a.clone();
        b[6] = image(6, "p3", 90, 50);
        assert!(error(b).contains("image6 has other classes or expert masks"));
        let mut b = a.clone();
        b.push(a[9].clone());
        assert!(error(b).contains("image9 stands in b1 twice"));
    }

    /// Made by `tests/fixtures/make_evaluate_fixtures.py` with 20,000 numpy resamples.
    #[derive(Deserialize)]
    struct Fixture {
        images: Vec<(String, u64, u64, u64)>,
        a: [f64; 3],
        difference: [f64; 3],
        relative: [f64; 3],
        p_value: f64,
    }

    #[test]
    fn intervals_are_those_of_numpy_up_to_chance() {
        let fixture: Fixture =
            serde_json::from_str(include_str!("../../tests/fixtures/bootstrap.json")).unwrap();
        let side = |hits: fn(&(String, u64, u64, u64)) -> u64| -> Vec<ImageCounts> {
            let one = |(i, row): (usize, &(String, u64, u64, u64))| image(i, &row.0, row.1, hits(row));
            fixture.images.iter().enumerate().map(one).collect()
        };
        let (a, b) = (side(|row| row.2), side(|row| row.3));
        // 20,000 here as well, so that both sides' chance error of a percentile is about 1% of the width.
        let paired = paired_bootstrap(std::slice::from_ref(&a), &[b], 7, 20_000, &dice()).unwrap().unwrap();
        let images: Vec<_> = a.iter().collect();
        let alone = bootstrap(&images, 7, 20_000, &dice()).unwrap();
        for (found, [value, low, high]) in [
            (alone, fixture.a),
            (paired.difference, fixture.difference),
            (paired.relative.unwrap(), fixture.relative),
        ] {
            let width = high - low;
            assert!((found.value - value).abs() < 1e-12, "{found:?}, numpy {value}");
            assert!((bounds(found).low - low).abs() < 0.04 * width, "{found:?}, numpy {low}");
            assert!((bounds(found).high - high).abs() < 0.04 * width, "{found:?}, numpy {high}");
        }
        assert!((paired.p_value.unwrap() - fixture.p_value).abs() < 0.01, "{paired:?}");
    }
}
