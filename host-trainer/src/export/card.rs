use std::fmt::Write as _;

use shared::manifest::{Manifest, Metric, Quantization};

use super::Ladder;
use crate::config::Config;
use crate::evaluate::{ALL_SOURCES, ClassReliability, Measure, Protocol, Report};
use crate::examine::{Examination, figures_markdown};
use crate::net::Graph;

/// What a card tells beside the manifest.
pub(super) struct Evidence<'a> {
    /// The network as it was trained.
    pub(super) network: &'a Graph,
    /// The forms of the network.
    pub(super) ladder: &'a Ladder,
    /// Figures of the teachers together.
    pub(super) teachers: Option<&'a Report>,
    /// What the edge agent made of the graph.
    pub(super) examination: Option<&'a Examination>,
}

/// `MODEL_CARD.md` (Mitchell et al. 2019, Model Cards for Model Reporting), from the manifest and what was measured.
pub(super) fn render(config: &Config, manifest: &Manifest, evidence: &Evidence<'_>) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = sections(&mut text, config, manifest, evidence);
    text
}

fn sections(
    t: &mut String,
    config: &Config,
    manifest: &Manifest,
    evidence: &Evidence<'_>,
) -> std::fmt::Result {
    let ladder = evidence.ladder;
    writeln!(t, "# {} {}\n\n{}\n", manifest.name, manifest.version, manifest.description)?;
    writeln!(
        t,
        "Written by `host-trainer export` on {}, which measured what stands here but for the sections that name another \
         command. Numbers that the device needs stand in `manifest.toml`.\n",
        manifest.created
    )?;

    writeln!(t, "## Use\n\n{}\n", or_unsaid(&config.export.intended_use))?;

    let size = manifest.preprocess.input_size;
    let macs = evidence.network.macs(size, size).map_or(0.0, |macs| macs as f64 / 1e9);
    writeln!(t, "## Model\n")?;
    writeln!(
        t,
        "- Network: {}, {macs:.2} GMAC at {size} px, {} parameters",
        manifest.training.network,
        evidence.network.trainable_count()
    )?;
    let arithmetic = match manifest.graph.quantization {
        Quantization::F32 => "32-bit floats",
        Quantization::QdqInt8 => {
            "8-bit: u8 activations, s8 weights per output channel, as QuantizeLinear / DequantizeLinear; the last resize in f32"
        }
    };
    writeln!(t, "- Arithmetic: {arithmetic}")?;
    writeln!(
        t,
        "- Input `{}` [1, 1, {size}, {size}], output `{}` [1, {}, {size}, {size}] (logits)\n",
        manifest.graph.input,
        manifest.graph.output,
        manifest.classes.len()
    )?;
    writeln!(t, "| class | code | foreground from |\n|---|---|---|")?;
    for class in &manifest.classes {
        writeln!(
            t,
            "| {} | {} {} ({}) | {:.2} |",
            class.label, class.code.scheme, class.code.value, class.code.meaning, class.threshold
        )?;
    }

    writeln!(t, "\n## Training\n\n{} Seed {}.\n", manifest.training.method, manifest.training.seed)?;
    writeln!(t, "| images | used for | number | terms |\n|---|---|---|---|")?;
    for source in &manifest.training.sources {
        writeln!(t, "| {} | {} | {} | {} |", source.name, source.usage, source.images, source.license)?;
    }

    writeln!(t, "\n## Quality\n")?;
    if manifest.metrics.is_empty() {
        writeln!(t, "Not measured: no radiographs with expert masks were at hand.\n")?;
    } else {
        writeln!(
            t,
            "Intersection over union on `strong_test`, with 95% intervals from 1000 bootstraps over patients. The 8-bit \
                     network is computed with libtorch as the graph rounds; `host-trainer evaluate masks` judges what a \
                     device put out. `dataset`: pixels summed over images at model size. `chexlocalize`: mean of images \
                     at their own resolution where mask and prediction are both present; `-full` counts misses and false \
                     alarms as 0.\n"
        )?;
        metric_table(t, &manifest.metrics)?;
    }
    if let Some(report) = evidence.teachers {
        compared(t, &manifest.metrics, report)?;
    }
    writeln!(
        t,
        "### In 8 bits\n\nIoU on {} at model size, thresholds fitted for each form. Points lost are hundredths of mean \
         IoU against f32, with gains of a class not counted: they are luck. A line with … goes on from the best one above it.\n",
        ladder.validation_name
    )?;
    writeln!(t, "```text\n{}\n```\n", ladder.table(&config.labels(), false))?;
    for (unit, error) in &ladder.sensitive {
        writeln!(t, "- 8 bits alone in the {unit}: mean squared error of the logits {error:.2e}")?;
    }
    for remark in &ladder.remarks {
        writeln!(t, "- {remark}")?;
    }
    probabilities(t, manifest, ladder)?;
    if let Some(examination) = evidence.examination {
        let text = figures_markdown(examination).replace("\n## ", "\n### ");
        writeln!(t, "{}", text.trim_end())?;
        writeln!(t)?;
    }

    writeln!(t, "## Limits\n")?;
    writeln!(t, "{}", or_unsaid(&config.export.limits))?;
    Ok(())
}

/// The shipped graph, the f32 one and the teachers over the same images.
fn compared(t: &mut String, metrics: &[Metric], teachers: &Report) -> std::fmt::Result {
    writeln!(t, "IoU at dataset level over the same {} images of {}:\n", teachers.images, teachers.split)?;
    writeln!(t, "| class | int8 | f32 | teachers together |\n|---|---|---|---|")?;
    let of_teachers = teachers.rows.iter().filter(|row| {
        row.measure == Measure::Iou && row.protocol == Protocol::Dataset && row.source == ALL_SOURCES
    });
    for row in of_teachers {
        let own = |quantization: Quantization| {
            let found = metrics.iter().find(|metric| {
                metric.class == row.class
                    && metric.source == ALL_SOURCES
                    && metric.quantization == quantization
                    && metric.protocol == Protocol::Dataset.name()
            });
            found.map_or_else(|| "–".to_owned(), |metric| format!("{:.4}", metric.value))
        };
        let (int8, f32) = (own(Quantization::QdqInt8), own(Quantization::F32));
        writeln!(t, "| {} | {int8} | {f32} | {:.4} |", row.class, row.interval.value)?;
    }
    writeln!(t)
}

/// What scores are worth.
fn probabilities(t: &mut String, manifest: &Manifest, ladder: &Ladder) -> std::fmt::Result {
    let [before, after] = ladder.chosen().reliability();
    if after.is_empty() {
        return Ok(());
    }
    writeln!(
        t,
        "\n### Probabilities\n\nLogits are divided by a temperature of each class (Guo et al. 2017) that was fitted on {}; \
         ECE is the expected calibration error of pixels there, in 15 bins.\n",
        ladder.validation_name
    )?;
    writeln!(t, "| class | temperature | ECE before | ECE after |\n|---|---|---|---|")?;
    for class in &manifest.classes {
        let ece = |diagrams: &[ClassReliability]| {
            let found = diagrams.iter().find(|diagram| diagram.label == class.label);
            found.map_or_else(|| "–".to_owned(), |diagram| format!("{:.4}", diagram.calibration.ece))
        };
        writeln!(t, "| {} | {:.3} | {} | {} |", class.label, class.temperature, ece(before), ece(after))?;
    }
    writeln!(t)
}

fn or_unsaid(text: &str) -> &str {
    if text.trim().is_empty() { "The configuration says nothing." } else { text.trim() }
}

/// Rows: source and class; columns: arithmetic and protocol.
fn metric_table(t: &mut String, metrics: &[Metric]) -> std::fmt::Result {
    let mut columns: Vec<(Quantization, Protocol)> = Vec::new();
    for quantization in [Quantization::F32, Quantization::QdqInt8] {
        if metrics.iter().any(|metric| metric.quantization == quantization) {
            columns.extend(Protocol::ALL.map(|protocol| (quantization, protocol)));
        }
    }
    write!(t, "| source | class | n |")?;
    for (quantization, protocol) in &columns {
        let arithmetic = match quantization {
            Quantization::F32 => "f32",
            Quantization::QdqInt8 => "int8",
        };
        write!(t, " {arithmetic} {} |", protocol.name())?;
    }
    writeln!(t, "\n|---|---|---|{}", "---|".repeat(columns.len()))?;
    let mut rows: Vec<(&str, &str, usize)> = Vec::new();
    for metric in metrics {
        let row = (metric.source.as_str(), metric.class.as_str(), metric.n);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    for (source, class, n) in rows {
        let shown = if source == ALL_SOURCES { "all" } else { source };
        write!(t, "| {shown} | {class} | {n} |")?;
        for (quantization, protocol) in &columns {
            let found = metrics.iter().find(|metric| {
                metric.source == source
                    && metric.class == class
                    && metric.quantization == *quantization
                    && metric.protocol == protocol.name()
            });
            match found {
                Some(metric) => write!(t, " {:.4} [{:.3}, {:.3}] |", metric.value, metric.low, metric.high)?,
                None => write!(t, " – |")?,
            }
        }
        writeln!(t)?;
    }
    writeln!(t)
}
