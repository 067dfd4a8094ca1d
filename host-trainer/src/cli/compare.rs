use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::figures::{STDOUT, show};
use super::{CliError, say};
use crate::evaluate::{
    EvaluateError, Figure, ImageCounts, Interval, MEAN_CLASS, Measure, Paired, Protocol, RESAMPLES,
    StoredCounts, paired_bootstrap, read_counts,
};
use crate::report::table;

/// Arguments of `evaluate compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Counts of one model, a file a training (--counts of evaluate, counts.json of run).
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    a: Vec<PathBuf>,
    /// Counts of the other model, over the same images.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    b: Vec<PathBuf>,
    /// How pixels become a figure: dataset, chexlocalize or chexlocalize-full.
    #[arg(long, default_value_t = Protocol::Dataset)]
    protocol: Protocol,
    /// Seed of the bootstrap over patients.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the figures as JSON instead of a table; with a file, write them there as well as the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    json: Option<PathBuf>,
}

/// What the bootstrap found.
#[derive(Debug, Serialize)]
struct Comparison {
    protocol: Protocol,
    images: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    class: String,
    /// IoU of both.
    #[serde(flatten)]
    paired: Paired,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let first = &a[0];
    for (path, counts) in args.a.iter().zip(&a).chain(args.b.iter().zip(&b)) {
        check_labels(path, counts, first)?;
    }
    let (labels, own) = (first.labels.clone(), first.own_classes);
    let images = |sets: Vec<StoredCounts>| -> Vec<Vec<ImageCounts>> {
        sets.into_iter().map(|counts| counts.images).collect()
    };
    let (a, b) = (images(a), images(b));
    let everything: Vec<&ImageCounts> = a[0].iter().collect();
    let among: Vec<usize> = (0..own).collect();
    let single = labels.iter().enumerate();
    let mut figures: Vec<(String, Figure)> = single
        .map(|(class, label)| (label.clone(), Figure::of_class(class, args.protocol, Measure::Iou)))
        .collect();
    let mean = Figure::mean(&everything, &among, args.protocol, Measure::Iou);
    figures.extend(mean.map(|figure| (MEAN_CLASS.to_owned(), figure)));

    let mut rows = Vec::new();
    for (class, figure) in figures {
        let paired = paired_bootstrap(&a, &b, args.seed, RESAMPLES, &figure)?;
        rows.extend(paired.map(|paired| Row { class, paired }));
    }
    let found = Comparison { protocol: args.protocol, images: everything.len(), rows };
    show(args.json.as_deref(), &found, || {
        let mut table = table(&["class", "IoU of a", "IoU of b", "b − a", "relative, %", "p"], 1);
        table.add_rows(found.rows.iter().map(cells));
        say!("{} images, {}", found.images, found.protocol);
        say!("{table}");
    })
}

fn read(paths: &[PathBuf]) -> Result<Vec<StoredCounts>, EvaluateError> {
    paths.iter().map(|path| read_counts(path)).collect()
}

fn check_labels(path: &Path, counts: &StoredCounts, first: &StoredCounts) -> Result<(), EvaluateError> {
    if counts.labels == first.labels {
        return Ok(());
    }
    let (found, expected) = (counts.labels.join(", "), first.labels.join(", "));
    Err(EvaluateError::OtherClasses { path: path.to_owned(), found, expected })
}

fn cells(Row { class, paired }: &Row) -> [String; 6] {
    let interval = |interval: &Interval, factor: f64, digits: usize| {
        let number = |v: f64| format!("{:+.digits$}", v * factor);
        let bounds = interval
            .bounds
            .map_or_else(String::new, |bounds| format!(" [{}, {}]", number(bounds.low), number(bounds.high)));
        number(interval.value) + &bounds
    };
    [
        class.clone(),
        format!("{:.4}", paired.a),
        format!("{:.4}", paired.b),
        interval(&paired.difference, 1.0, 4),
        paired.relative.as_ref().map_or_else(String::new, |relative| interval(relative, 100.0, 1)),
        paired.p_value.map_or_else(String::new, |p| format!("{p:.3}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Bounds;

    #[test]
    fn rows_show_intervals_where_there_are_some() {
        let interval = |value, bounds| Interval { value, bounds };
        let bounds = Some(Bounds { low: -0.01, high: 0.05, drawn: 1000, resamples: 1000 });
        let paired = Paired {
            a: 0.8,
            b: 0.82,
            difference: interval(0.02, bounds),
            relative: Some(interval(0.025, bounds)),
            p_value: Some(0.12),
            images: 10,
            patients: 10,
            resamples: 1000,
        };
        let mut row = Row { class: "heart".into(), paired };
        let shown = cells(&row);
        assert_eq!(shown[3], "+0.0200 [-0.0100, +0.0500]");
        assert_eq!(shown[4], "+2.5 [-1.0, +5.0]");
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!((json["class"].as_str(), json["a"].as_f64()), (Some("heart"), Some(0.8)));
        (row.paired.difference.bounds, row.paired.p_value) = (None, None);
        let shown = cells(&row);
        assert_eq!((shown[3].as_str(), shown[5].as_str()), ("+0.0200", ""));
    }
}
