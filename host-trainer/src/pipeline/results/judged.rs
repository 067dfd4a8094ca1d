use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Comparison};
use crate::config::{ArmSpec, Config, StudySpec};
use crate::evaluate::{
    ALL_SOURCES, Figure, ImageCounts, MEAN_CLASS, Measure, Protocol, RESAMPLES, mean_bootstrap,
    paired_bootstrap, subgroups,
};
use crate::pipeline::{PipelineError, taught};

/// What all figures are computed from.
pub(super) struct Judged<'a> {
    config: &'a Config,
    /// Labels of the counts, derived ones last.
    pub(super) labels: Vec<String>,
    /// How many of them are classes of the network.
    pub(super) own: usize,
    runs: Vec<Runs<'a>>,
}

/// One arm at one budget: the counts of each seed.
struct Runs<'a> {
    arm: &'a ArmSpec,
    budget: usize,
    seeds: Vec<Vec<ImageCounts>>,
}

/// Some of the judged images.
struct Part {
    name: String,
    kind: Kind,
    /// Their ids; none: all images.
    ids: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Source,
    Subgroup,
}

/// All images, those of each source, and those of each subgroup.
pub(super) struct Parts(Vec<Part>);

impl Parts {
    /// Names of the subgroups.
    pub(super) fn subgroups(&self) -> Vec<String> {
        let own = self.0.iter().filter(|part| part.kind == Kind::Subgroup);
        own.map(|part| part.name.clone()).collect()
    }
}

impl Part {
    /// Its images in each set.
    fn of(&self, sets: &[Vec<ImageCounts>]) -> Vec<Vec<ImageCounts>> {
        let own = |image: &&ImageCounts| self.ids.as_ref().is_none_or(|ids| ids.contains(&image.id));
        sets.iter().map(|images| images.iter().filter(own).cloned().collect()).collect()
    }
}

impl<'a> Judged<'a> {
    /// Nothing judged yet.
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, labels: Vec::new(), own: 0, runs: Vec::new() }
    }

    /// Adds the images of one evaluation; folds of one seed go together.
    pub(super) fn add(
        &mut self,
        arm: &'a ArmSpec,
        budget: usize,
        seed: Option<usize>,
        images: Vec<ImageCounts>,
    ) {
        let same = |runs: &&mut Runs<'_>| runs.arm.name == arm.name && runs.budget == budget;
        let place = seed.expect("plans are made of their own study's seeds");
        let runs = match self.runs.iter_mut().find(same) {
            Some(runs) => runs,
            None => {
                self.runs.push(Runs { arm, budget, seeds: Vec::new() });
                self.runs.last_mut().expect("just pushed")
            }
        };
        if runs.seeds.len() <= place {
            runs.seeds.resize_with(place + 1, Vec::new);
        }
        runs.seeds[place].extend(images);
    }

    /// The images, as one of the trainings was judged on them: all are judged on the same. Evaluations of older versions
    /// left attributes out, so it is one that has most of them.
    pub(super) fn images(&self) -> &[ImageCounts] {
        let told = |images: &&Vec<ImageCounts>| images.iter().filter(|i| !i.attributes.is_empty()).count();
        let all = self.runs.iter().flat_map(|runs| &runs.seeds);
        all.max_by_key(told).map_or(&[], Vec::as_slice)
    }

    /// What figures are computed of.
    pub(super) fn parts(&self) -> Parts {
        let images = self.images();
        let mut sources: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for image in images {
            sources.entry(&image.source).or_default().insert(image.id.clone());
        }
        // With one source, "all" says it all.
        sources.retain(|_, ids| ids.len() < images.len());
        let source =
            |(name, ids): (&str, _)| Part { name: name.to_owned(), kind: Kind::Source, ids: Some(ids) };
        let subgroup = |(name, images): (String, Vec<&ImageCounts>)| {
            let ids = images.into_iter().map(|image| image.id.clone()).collect();
            Part { name, kind: Kind::Subgroup, ids: Some(ids) }
        };
        let mut parts = vec![Part { name: ALL_SOURCES.to_owned(), kind: Kind::Source, ids: None }];
        parts.extend(sources.into_iter().map(source));
        parts.extend(subgroups(images).into_iter().map(subgroup));
        Parts(parts)
    }

    /// Single labels and the mean over the network's own classes among `taught`; there is no mean where the images have
    /// one of these classes only.
    fn figures(
        &self,
        taught: &[usize],
        images: &[ImageCounts],
        protocol: Protocol,
        measure: Measure,
    ) -> Vec<(String, Figure)> {
        let own: Vec<usize> = taught.iter().copied().filter(|&i| i < self.own).collect();
        let images: Vec<&ImageCounts> = images.iter().collect();
        let mean = Figure::mean(&images, &own, protocol, measure).filter(|figure| figure.classes() > 1);
        let single = |&i: &usize| (self.labels[i].clone(), Figure::of_class(i, protocol, measure));
        let mean = mean.map(|figure| (MEAN_CLASS.to_owned(), figure));
        taught.iter().map(single).chain(mean).collect()
    }

    pub(super) fn cells(&self, parts: &Parts) -> Result<Vec<Cell>, PipelineError> {
        let mut cells = Vec::new();
        for part in &parts.0 {
            for runs in &self.runs {
                let (sets, taught) = (part.of(&runs.seeds), taught(self.config, runs.arm));
                for (protocol, measure) in
                    Protocol::ALL.into_iter().flat_map(|p| Measure::ALL.map(|measure| (p, measure)))
                {
                    let images = sets.first().map_or(&[][..], Vec::as_slice);
                    for (class, figure) in self.figures(&taught, images, protocol, measure) {
                        let Some(interval) = mean_bootstrap(&sets, self.config.seed, RESAMPLES, &figure)?
                        else {
                            continue;
                        };
                        let of_seed =
                            |images: &Vec<ImageCounts>| figure.of(&images.iter().collect::<Vec<_>>());
                        let seeds: Vec<f64> = sets.iter().filter_map(of_seed).collect();
                        let squares: f64 = seeds.iter().map(|v| (v - interval.value).powi(2)).sum();
                        let spread = (squares / (seeds.len() as f64 - 1.0).max(1.0)).sqrt();
                        let (arm, budget) = (runs.arm.name.clone(), runs.budget);
                        let source = part.name.clone();
                        let cell =
                            Cell { arm, budget, source, class, protocol, measure, interval, spread, seeds };
                        cells.push(cell);
                    }
                }
            }
        }
        Ok(cells)
    }

    /// Every arm against the reference of the same budget, and every arm that mixes against those that learn from
    /// pseudo-masks alone; over all images and those of each source.
    pub(super) fn comparisons(
        &self,
        study: &StudySpec,
        parts: &Parts,
    ) -> Result<Vec<Comparison>, PipelineError> {
        let mut comparisons = Vec::new();
        for runs in &self.runs {
            for other in &self.runs {
                let reference = other.arm.name == study.reference
                    && runs.arm.name != study.reference
                    && (runs.budget == other.budget || !runs.arm.strong);
                let weak = !other.arm.strong && runs.arm.strong && runs.arm.name != study.reference;
                if !reference && !weak {
                    continue;
                }
                for part in parts.0.iter().filter(|part| part.kind == Kind::Source) {
                    for protocol in [Protocol::Dataset, Protocol::ChexlocalizeFull] {
                        comparisons.extend(self.compare(runs, other, part, protocol)?);
                    }
                }
            }
        }
        Ok(comparisons)
    }

    /// One arm against another, in every class that both are taught.
    fn compare(
        &self,
        runs: &Runs<'_>,
        other: &Runs<'_>,
        part: &Part,
        protocol: Protocol,
    ) -> Result<Vec<Comparison>, PipelineError> {
        let (mine, theirs) = (taught(self.config, runs.arm), taught(self.config, other.arm));
        let common: Vec<usize> = mine.into_iter().filter(|i| theirs.contains(i)).collect();
        let (a, b) = (part.of(&other.seeds), part.of(&runs.seeds));
        let images = a.first().map_or(&[][..], Vec::as_slice);
        let mut comparisons = Vec::new();
        for (class, figure) in self.figures(&common, images, protocol, Measure::Iou) {
            let paired = paired_bootstrap(&a, &b, self.config.seed, RESAMPLES, &figure)?;
            comparisons.extend(paired.map(|paired| Comparison {
                arm: runs.arm.name.clone(),
                budget: runs.budget,
                against: other.arm.name.clone(),
                against_budget: other.budget,
                source: part.name.clone(),
                class,
                protocol,
                paired,
            }));
        }
        Ok(comparisons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::evaluate::{ClassCounts, Counts};

    fn config() -> Config {
        tiny(
            r#"
            [study]
            seeds = [1, 2]
            budgets = [5]
            reference = "strong"
            [[study.arm]]
            name = "strong"
            "#,
        )
    }

    /// 24 images of as many patients; `hits` of the second class, whose mask is empty in all but every other image.
    fn images(hits: impl Fn(usize) -> u64) -> Vec<ImageCounts> {
        let class = |truth, intersection| {
            let counts = Counts { truth, predicted: 100, intersection };
            Some(ClassCounts { source: counts, model: counts, ..ClassCounts::default() })
        };
        let image = |i: usize| ImageCounts {
            id: i.to_string(),
            source: if i < 12 { "x" } else { "y" }.into(),
            patient: i.to_string(),
            attributes: [("view".to_owned(), if i < 20 { "AP" } else { "PA" }.to_owned())].into(),
            classes: vec![class(100, hits(i)), class(if i.is_multiple_of(2) { 100 } else { 0 }, 0)],
        };
        (0..24).map(image).collect()
    }

    fn judged<'a>(config: &'a Config, study: &'a StudySpec) -> Judged<'a> {
        let mut judged = Judged::new(config);
        (judged.labels, judged.own) = (config.labels(), 2);
        // Where one seed is good the other is bad.
        judged.add(&study.arms[0], 5, Some(0), images(|i| if i % 4 < 2 { 100 } else { 0 }));
        let mut second = images(|i| if i % 4 < 2 { 0 } else { 100 });
        second.iter_mut().for_each(|image| image.attributes.clear());
        judged.add(&study.arms[0], 5, Some(1), second);
        judged
    }

    #[test]
    fn intervals_are_of_the_mean_over_seeds_and_subgroups_are_sources() {
        let config = config();
        let study = config.study.clone().unwrap();
        let judged = judged(&config, &study);
        let parts = judged.parts();
        assert_eq!(parts.subgroups(), ["view=AP"]);
        let cells = judged.cells(&parts).unwrap();
        let sources: BTreeSet<&str> = cells.iter().map(|cell| cell.source.as_str()).collect();
        assert_eq!(sources, ["all", "view=AP", "x", "y"].into());
        let find = |class: &str, protocol: Protocol| {
            cells.iter().find(|cell| {
                (cell.source.as_str(), cell.class.as_str()) == ("all", class)
                    && (cell.protocol, cell.measure) == (protocol, Measure::Iou)
            })
        };
        let lung = find("left_lung", Protocol::ChexlocalizeFull).unwrap();
        let bounds = lung.interval.bounds.unwrap();
        // Each seed varies over patients, their mean is one half in every one of them.
        assert_eq!((lung.interval.value, lung.seeds.as_slice()), (0.5, [0.5, 0.5].as_slice()));
        assert!(bounds.high - bounds.low < 1e-9 && lung.spread == 0.0, "{lung:?}");
        assert_eq!(find(MEAN_CLASS, Protocol::ChexlocalizeFull).unwrap().interval.value, 0.25);
    }
}
