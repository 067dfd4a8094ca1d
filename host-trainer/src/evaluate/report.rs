use std::collections::BTreeSet;

use comfy_table::Table;
use serde::Serialize;
use shared::mask::Mask;

use super::subgroups::subgroups;
use super::{EvaluateError, Figure, ImageCounts, Interval, Judge, Measure, Protocol, RESAMPLES, bootstrap};
use crate::dataset::{Annotated, Record, Split, load_annotated};

/// Name of the rows over all sources.
pub const ALL_SOURCES: &str = "all";
/// Name of the rows of the mean over the network's classes, as far as some expert mask contains them.
pub const MEAN_CLASS: &str = "mean";

/// All figures of one set of predictions over one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The split.
    pub split: Split,
    /// Images judged.
    pub images: usize,
    /// Patients they come from.
    pub patients: usize,
    /// Resamples behind each interval.
    pub resamples: usize,
    /// Tolerance of the normalized surface distance in pixels of the model's grid.
    pub nsd_tolerance: f64,
    /// The figures.
    pub rows: Vec<ReportRow>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportRow {
    /// Source, `all`, or a subgroup over all sources such as `view=AP`.
    pub source: String,
    /// Class, derived class, or `mean`.
    pub class: String,
    /// How pixels became a figure.
    pub protocol: Protocol,
    /// What was measured.
    pub measure: Measure,
    /// The figure with its interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// Images that have a value under this protocol: of the mean, in one of its classes.
    pub n: usize,
}

impl Report {
    /// Judges the masks that `predict` gives for each image, at source resolution and in the order of `labels`.
    pub fn measure(
        judge: &Judge,
        labels: &[String],
        split: Split,
        records: &[Record],
        seed: u64,
        predict: impl FnMut(&Record, &Annotated) -> Result<Vec<Mask>, EvaluateError>,
    ) -> Result<Self, EvaluateError> {
        Ok(Self::new(judge, split, &count_images(judge, labels, split, records, predict)?, seed))
    }

    /// Computes every figure: per class, derived class and mean, over all images, per source and per subgroup.
    pub fn new(judge: &Judge, split: Split, images: &[ImageCounts], seed: u64) -> Self {
        let mut groups: Vec<(String, Vec<&ImageCounts>)> =
            vec![(ALL_SOURCES.into(), images.iter().collect())];
        let sources: BTreeSet<&str> = images.iter().map(|image| image.source.as_str()).collect();
        // With one source, "all" says it all.
        if sources.len() > 1 {
            let of = |source| images.iter().filter(|image| image.source == source).collect();
            groups.extend(sources.into_iter().map(|source| (source.to_owned(), of(source))));
        }
        groups.extend(subgroups(images));
        let mut rows = Vec::new();
        for (name, of) in groups {
            for protocol in Protocol::ALL {
                for measure in Measure::ALL {
                    rows.extend(figures(judge, &name, &of, protocol, measure, seed));
                }
            }
        }
        let patients: BTreeSet<&str> = images.iter().map(|image| image.patient.as_str()).collect();
        Self {
            split,
            images: images.len(),
            patients: patients.len(),
            resamples: RESAMPLES,
            nsd_tolerance: judge.surface_tolerance(),
            rows,
        }
    }

    /// The figure of a row, if there is one.
    pub fn find(
        &self,
        source: &str,
        class: &str,
        protocol: Protocol,
        measure: Measure,
    ) -> Option<&ReportRow> {
        self.rows.iter().find(|row| {
            row.source == source && row.class == class && row.protocol == protocol && row.measure == measure
        })
    }

    /// For people: a line a source and class, a column a figure, intervals in brackets.
    pub fn table(&self) -> Table {
        const COLUMNS: [(Protocol, Measure, &str); 5] = [
            (Protocol::Dataset, Measure::Iou, "IoU dataset"),
            (Protocol::Chexlocalize, Measure::Iou, "IoU per image (both present)"),
            (Protocol::ChexlocalizeFull, Measure::Iou, "IoU per image (misses count)"),
            (Protocol::Dataset, Measure::Dice, "Dice dataset"),
            (Protocol::ChexlocalizeFull, Measure::Nsd, "NSD per image (misses count)"),
        ];
        let mut header = vec!["source", "class", "n"];
        header.extend(COLUMNS.iter().map(|(.., name)| *name));
        let mut table = crate::report::table(&header, 2);
        let (first, measure, _) = COLUMNS[0];
        for row in self.rows.iter().filter(|row| row.protocol == first && row.measure == measure) {
            let cell = |(protocol, measure, _): &(Protocol, Measure, &str)| {
                let Some(found) = self.find(&row.source, &row.class, *protocol, *measure) else {
                    return "–".to_owned();
                };
                // Protocols leave out different images.
                let n = if found.n == row.n { String::new() } else { format!(", n {}", found.n) };
                let brackets = found.interval.brackets(|v| format!("{v:.3}"));
                format!("{:.4} {brackets}{n}", found.interval.value)
            };
            let mut cells = vec![row.source.clone(), row.class.clone(), row.n.to_string()];
            cells.extend(COLUMNS.iter().map(cell));
            table.add_row(cells);
        }
        table
    }
}

/// Counts the masks that `predict` gives for each image, at source resolution and in the order of `labels`.
pub fn count_images(
    judge: &Judge,
    labels: &[String],
    split: Split,
    records: &[Record],
    mut predict: impl FnMut(&Record, &Annotated) -> Result<Vec<Mask>, EvaluateError>,
) -> Result<Vec<ImageCounts>, EvaluateError> {
    if records.is_empty() {
        return Err(EvaluateError::Empty(split));
    }
    // One image at a time: full-size radiographs of a large split would not fit into memory together.
    let count = |record: &Record| {
        let image = load_annotated(record, labels)?;
        let attributes = record.attributes.clone();
        Ok(ImageCounts { attributes, ..judge.judge(&image, &predict(record, &image)?)? })
    };
    records.iter().map(count).collect()
}

fn figures(
    judge: &Judge,
    source: &str,
    images: &[&ImageCounts],
    protocol: Protocol,
    measure: Measure,
    seed: u64,
) -> Vec<ReportRow> {
    let own: Vec<usize> = (0..judge.own_classes()).collect();
    let of_class = |(class, label)| (label, Figure::of_class(class, protocol, measure));
    // Of a class that no expert saw there is nothing to tell but false alarms, which an IoU of zero does not count.
    let seen = |class: &usize| Figure::mean(images, &[*class], protocol, measure).is_some();
    let labels = judge.labels();
    let singles = labels.into_iter().enumerate().filter(|(class, _)| seen(class)).map(of_class);
    let mean = Figure::mean(images, &own, protocol, measure).map(|figure| (MEAN_CLASS.to_owned(), figure));
    let row = |(class, figure): (String, Figure)| {
        let interval = bootstrap(images, seed, RESAMPLES, &figure)?;
        let (source, n) = (source.to_owned(), figure.images(images));
        Some(ReportRow { source, class, protocol, measure, interval, n })
    };
    singles.chain(mean).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;
    use crate::evaluate::{ClassCounts, Counts, SurfaceCounts};

    fn judge() -> Judge {
        let text = r##"
            name = "tiny"
            [[classes]]
            label = "a"
            name = "A"
            code = { scheme = "99CHEXSEG", value = "a", meaning = "A" }
            color = "#ff0000"
            [[classes]]
            label = "b"
            name = "B"
            code = { scheme = "99CHEXSEG", value = "b", meaning = "B" }
            color = "#00ff00"
            [[derived]]
            label = "both"
            of = ["a", "b"]
        "##;
        Judge::new(&toml::from_str::<Config>(text).unwrap())
    }

    fn image(source: &str, patient: &str, hits: [Option<u64>; 3]) -> ImageCounts {
        let counts = |intersection| {
            let counts = Counts { truth: 10, predicted: 10, intersection };
            ClassCounts { source: counts, model: counts, ..ClassCounts::default() }
        };
        ImageCounts {
            id: patient.into(),
            source: source.into(),
            patient: patient.into(),
            attributes: BTreeMap::new(),
            classes: hits.map(|hit| hit.map(counts)).to_vec(),
        }
    }

    #[test]
    fn rows_cover_sources_classes_and_the_mean() {
        let images = [
            image("x", "1", [Some(10), Some(5), Some(8)]),
            image("x", "2", [Some(10), None, None]),
            image("y", "3", [Some(10), Some(5), Some(8)]),
        ];
        let report = Report::new(&judge(), Split::StrongTest, &images, 1);
        assert_eq!((report.images, report.patients), (3, 3));
        let find =
            |source: &str, class: &str| report.find(source, class, Protocol::Dataset, Measure::Dice).unwrap();
        assert_eq!((find("all", "a").interval.value, find("all", "a").n), (1.0, 3));
        assert_eq!((find("all", "b").interval.value, find("all", "b").n), (0.5, 2));
        assert_eq!(find("x", "b").n, 1);
        assert_eq!(find("y", "both").interval.value, 0.8);
        // Over the network's classes, not the derived one.
        assert_eq!(find("all", MEAN_CLASS).interval.value, 0.75);
        let text = report.table().to_string();
        assert!(text.contains("both") && text.contains("mean"), "{text}");
        // Three patients, of whom two have a mask of b.
        assert!(text.contains("0.7500 [n < 5 patients]"), "{text}");
    }

    #[test]
    fn n_is_the_images_that_a_protocol_does_not_leave_out() {
        let mut missed = image("x", "2", [Some(0), None, None]);
        if let Some(counts) = &mut missed.classes[0] {
            (counts.source.predicted, counts.model.predicted) = (0, 0);
        }
        let images = [image("x", "1", [Some(10), None, None]), missed, image("x", "3", [None; 3])];
        let report = Report::new(&judge(), Split::StrongTest, &images, 1);
        let n = |class: &str| Protocol::ALL.map(|p| report.find("all", class, p, Measure::Iou).unwrap().n);
        assert_eq!((n("a"), n(MEAN_CLASS)), ([2, 1, 2], [2, 1, 2]));
        assert!(report.table().to_string().contains("1.0000 [n < 5 patients], n 1"));
    }

    #[test]
    fn a_class_that_no_expert_saw_has_no_row() {
        let mut alarm = image("x", "2", [Some(10), Some(0), None]);
        if let Some(counts) = &mut alarm.classes[1] {
            (counts.source.truth, counts.model.truth) = (0, 0);
        }
        let images = [image("x", "1", [Some(10), None, None]), alarm, image("y", "3", [None, Some(5), None])];
        let report = Report::new(&judge(), Split::StrongTest, &images, 1);
        let find = |source: &str| report.find(source, "b", Protocol::Dataset, Measure::Iou);
        assert!(find("x").is_none() && find("y").is_some());
        assert_eq!(find("all").unwrap().n, 2, "the false alarm counts where the class was seen");
    }

    #[test]
    fn one_source_is_not_listed_twice() {
        let images = [image("x", "1", [Some(10), Some(5), Some(8)])];
        let report = Report::new(&judge(), Split::StrongTest, &images, 1);
        assert!(report.rows.iter().all(|row| row.source == ALL_SOURCES));
    }

    #[test]
    fn subgroups_have_rows_and_surface_distance_is_by_image() {
        let images: Vec<ImageCounts> = (0..50)
            .map(|i| {
                let view = if i < 20 { "AP" } else { "PA" };
                let mut image = image("x", &i.to_string(), [Some(if i < 20 { 5 } else { 10 }), None, None]);
                image.attributes.insert("view".into(), view.into());
                if let Some(counts) = &mut image.classes[0] {
                    counts.surface =
                        SurfaceCounts { truth: 4, truth_near: 3, predicted: 4, predicted_near: 3 };
                }
                image
            })
            .collect();
        let report = Report::new(&judge(), Split::StrongTest, &images, 1);
        let find =
            |source: &str, protocol: Protocol, measure: Measure| report.find(source, "a", protocol, measure);
        let ap = find("view=AP", Protocol::Dataset, Measure::Dice).unwrap();
        assert_eq!((ap.interval.value, ap.n), (0.5, 20));
        assert_eq!(find("view=PA", Protocol::Dataset, Measure::Dice).unwrap().interval.value, 1.0);
        assert_eq!(find("all", Protocol::Chexlocalize, Measure::Nsd).unwrap().interval.value, 0.75);
        assert_eq!(find("all", Protocol::Dataset, Measure::Nsd), None);
        // The grid's side is 320 by default.
        assert_eq!(report.nsd_tolerance, 6.0);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["rows"].as_array().unwrap().iter().any(|row| row["measure"] == "nsd"));
    }

    #[test]
    fn an_empty_split_is_an_error() {
        let predict = |_: &Record, _: &Annotated| Ok(Vec::new());
        let error = Report::measure(&judge(), &[], Split::StrongTest, &[], 1, predict).unwrap_err();
        assert!(matches!(error, EvaluateError::Empty(Split::StrongTest)), "{error}");
    }
}
