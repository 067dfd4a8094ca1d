use crate::config::{ArmSpec, Config};
use crate::evaluate::{ALL_SOURCES, MEAN_CLASS, Measure, Protocol};
use crate::pipeline::{Cell, Comparison, StudyResults, tag, taught};

/// Results with what orders them: rows and columns that all tables and plots share.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub results: &'a StudyResults,
    pub config: &'a Config,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Expert masks and more against expert masks alone.
    OverExperts,
    /// Expert masks and more against pseudo-masks alone.
    OverPseudo,
    /// Expert masks and more against another arm without expert masks, which consistency or teachers help.
    OverHelped,
    /// No expert masks against expert masks alone.
    WithoutExperts,
}

impl<'a> View<'a> {
    /// Classes that have figures: the mean, the network's, derived ones.
    pub(super) fn classes(&self) -> Vec<&'a str> {
        let own = self.config.classes.iter().map(|class| class.label.as_str());
        let derived = self.config.derived.iter().map(|derived| derived.label.as_str());
        std::iter::once(MEAN_CLASS)
            .chain(own)
            .chain(derived)
            .filter(|class| self.results.cells.iter().any(|cell| cell.class == *class))
            .collect()
    }

    /// All numbers of expert masks, rising.
    pub(super) fn budgets(&self) -> Vec<usize> {
        let mut budgets: Vec<usize> = self.results.cells.iter().map(|cell| cell.budget).collect();
        budgets.sort_unstable();
        budgets.dedup();
        budgets
    }

    /// Sources with figures of their own; none where all images come from one.
    pub(super) fn sources(&self) -> Vec<&'a str> {
        let mut sources: Vec<&str> = self.results.cells.iter().map(|cell| cell.source.as_str()).collect();
        let is_subgroup = |name: &str| self.results.subgroups.iter().any(|subgroup| subgroup == name);
        sources.retain(|source| *source != ALL_SOURCES && !is_subgroup(source));
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// The figure over all sources.
    pub(super) fn iou(&self, arm: &str, budget: usize, class: &str, protocol: Protocol) -> Option<&'a Cell> {
        self.results.cell(arm, budget, ALL_SOURCES, class, protocol, Measure::Iou)
    }

    /// The place of an arm in the study, which gives its colour.
    pub(super) fn place(&self, arm: &str) -> usize {
        self.results.study.arms.iter().position(|other| other.name == arm).unwrap_or(0)
    }

    /// Whether an arm learns from expert masks.
    pub(super) fn is_strong(&self, arm: &str) -> bool {
        self.results.study.arm(arm).is_some_and(|arm| arm.strong)
    }

    /// What a comparison is about.
    pub(super) fn kind(&self, comparison: &Comparison) -> Kind {
        let plain = |arm: &str| self.results.study.arm(arm).is_some_and(ArmSpec::is_plain_pseudo);
        match (self.is_strong(&comparison.arm), self.is_strong(&comparison.against)) {
            // The reference alone is compared with among arms with expert masks, and studies demand that it is plain.
            (true, true) => Kind::OverExperts,
            (true, false) if plain(&comparison.against) => Kind::OverPseudo,
            (true, false) => Kind::OverHelped,
            (false, _) => Kind::WithoutExperts,
        }
    }

    /// The only class of the network that both arms are taught; none if there are several, or none.
    fn only_class(&self, arm: &str, other: &str) -> Option<&'a str> {
        let study = &self.results.study;
        let places = [study.arm(arm)?, study.arm(other)?].map(|arm| taught(self.config, arm));
        let own = 0..self.config.classes.len();
        let mut common = own.filter(|class| places.iter().all(|taught| taught.contains(class)));
        let only = common.next().filter(|_| common.next().is_none())?;
        Some(self.config.classes[only].label.as_str())
    }

    /// One comparison of each two arms over all sources: of the mean over classes, or of the only class that both are
    /// taught. Nothing of arms without either, as where a model has no figure of one of several classes: a class alone
    /// does not stand for them. Of arms without expert masks only the best one of a kind, by this protocol's figures on the
    /// judged images, is compared with. Kind by kind.
    pub(super) fn headlines(&self, protocol: Protocol) -> Vec<&'a Comparison> {
        let key = |c: &Comparison| (c.arm.clone(), c.budget, c.against.clone(), c.against_budget);
        let mut chosen: Vec<&Comparison> = Vec::new();
        let all = self.results.comparisons.iter();
        for comparison in all.filter(|c| c.source == ALL_SOURCES && c.protocol == protocol) {
            let only = self.only_class(&comparison.arm, &comparison.against);
            let stands = comparison.class == only.unwrap_or(MEAN_CLASS);
            if stands && chosen.iter().all(|other| key(other) != key(comparison)) {
                chosen.push(comparison);
            }
        }
        let rivals = chosen.clone();
        chosen.retain(|c| rivals.iter().all(|other| !self.is_harder(other, c)));
        chosen.sort_by_key(|comparison| self.kind(comparison));
        chosen
    }

    /// Whether `a` compares the same with a better arm of the same kind, none of which has expert masks.
    fn is_harder(&self, a: &Comparison, b: &Comparison) -> bool {
        let what = |c: &Comparison| (c.arm.clone(), c.budget, c.class.clone(), self.kind(c));
        let bar = |c: &Comparison| {
            let cell = self.iou(&c.against, c.against_budget, &c.class, c.protocol);
            cell.map_or(0.0, |cell| cell.interval.value)
        };
        let without = matches!(self.kind(b), Kind::OverPseudo | Kind::OverHelped);
        without && what(a) == what(b) && bar(a) > bar(b)
    }

    /// The same comparison by another protocol.
    pub(super) fn counterpart(&self, of: &Comparison, protocol: Protocol) -> Option<&'a Comparison> {
        let same = |c: &&Comparison| {
            (&c.arm, c.budget, &c.against, c.against_budget, &c.source, &c.class)
                == (&of.arm, of.budget, &of.against, of.against_budget, &of.source, &of.class)
                && c.protocol == protocol
        };
        self.results.comparisons.iter().find(same)
    }

    /// The arm and number of expert masks of the highest IoU at dataset level, for pictures: the mean over classes
    /// where there is one, else the first class. The first among equals.
    pub(super) fn best(&self) -> Option<&'a Cell> {
        let class = *self.classes().first()?;
        let cells = self.results.cells.iter().filter(|cell| {
            (cell.source.as_str(), cell.class.as_str()) == (ALL_SOURCES, class)
                && (cell.protocol, cell.measure) == (Protocol::Dataset, Measure::Iou)
        });
        cells.fold(None, |best: Option<&Cell>, cell| match best {
            Some(best) if best.interval.value >= cell.interval.value => Some(best),
            _ => Some(cell),
        })
    }

    /// The trainings of an arm at a number of expert masks: what tells them apart, for people and in names of steps.
    pub(super) fn runs(&self, arm: &str, budget: usize) -> Vec<(String, String)> {
        let study = &self.results.study;
        let Some(arm) = study.arm(arm) else { return Vec::new() };
        let folds: Vec<Option<usize>> = match study.folds {
            0 => vec![None],
            n => (0..n).map(Some).collect(),
        };
        let run = |seed: u64, fold: Option<usize>| {
            let fold_name = fold.map_or_else(String::new, |fold| format!(", fold {}", fold + 1));
            (format!("seed {seed}{fold_name}"), tag(arm, budget, fold, seed))
        };
        study.seeds.iter().flat_map(|&seed| folds.iter().map(move |&fold| run(seed, fold))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::study::sample::{config, results};

    #[test]
    fn rows_and_columns_have_an_order() {
        let (config, results) = (config(), results());
        let view = View { results: &results, config: &config };
        assert_eq!(view.classes(), ["mean", "left_lung", "heart"]);
        assert_eq!(view.budgets(), [0, 5, usize::MAX]);
        assert_eq!(view.sources(), ["x", "y"]);
        let mut divided = results.clone();
        divided.subgroups = vec!["y".into()];
        assert_eq!(View { results: &divided, config: &config }.sources(), ["x"]);
        assert_eq!((view.best().unwrap().arm.as_str(), view.best().unwrap().budget), ("mix", usize::MAX));
        let runs = view.runs("mix", 5);
        assert_eq!(runs[1], ("seed 2".to_owned(), "mix-n5-s2".to_owned()));
    }

    #[test]
    fn one_comparison_stands_for_two_arms() {
        let (config, results) = (config(), results());
        let view = View { results: &results, config: &config };
        let classes: Vec<(&str, &str, &str)> = view
            .headlines(Protocol::Dataset)
            .iter()
            .map(|c| (c.arm.as_str(), c.against.as_str(), c.class.as_str()))
            .collect();
        let expected =
            [("mix", "strong", "mean"), ("mix", "saliency", "heart"), ("saliency", "strong", "heart")];
        assert_eq!(classes, expected);
    }

    #[test]
    fn a_class_alone_does_not_stand_for_a_missing_mean() {
        let (config, mut results) = (config(), results());
        results.comparisons.retain(|c| c.class != MEAN_CLASS);
        let view = View { results: &results, config: &config };
        let shown = view.headlines(Protocol::Dataset);
        // mix and strong share two classes; with saliency they share the heart.
        assert!(shown.iter().all(|c| [&c.arm, &c.against].contains(&&"saliency".to_owned())), "{shown:?}");
        assert!(shown.len() == 2 && shown.iter().all(|c| c.class == "heart"));
    }

    #[test]
    fn of_arms_without_expert_masks_the_best_one_is_compared_with() {
        let (config, mut results) = (config(), results());
        let mut better = results.study.arms[1].clone();
        better.name = "better".into();
        results.study.arms.push(better);
        let mut cells: Vec<Cell> = results.cells.iter().filter(|c| c.arm == "saliency").cloned().collect();
        for cell in &mut cells {
            (cell.arm, cell.interval.value) = ("better".into(), cell.interval.value + 0.1);
        }
        results.cells.extend(cells);
        let mut harder = results.comparisons.iter().find(|c| c.against == "saliency").unwrap().clone();
        harder.against = "better".into();
        results.comparisons.push(harder);
        let view = View { results: &results, config: &config };
        let against: Vec<&str> = view
            .headlines(Protocol::Dataset)
            .iter()
            .filter(|c| c.arm == "mix")
            .map(|c| c.against.as_str())
            .collect();
        assert_eq!(against, ["strong", "better"]);
    }

    #[test]
    fn only_plain_arms_are_pseudo_masks_alone() {
        let (config, mut results) = (config(), results());
        let kind = |results: &StudyResults| {
            let against = results.comparisons.iter().find(|c| c.against == "saliency").unwrap();
            View { results, config: &config }.kind(against)
        };
        assert_eq!(kind(&results), Kind::OverPseudo);
        results.study.arms[1].consistency = true;
        assert_eq!(kind(&results), Kind::OverHelped);
    }
}
