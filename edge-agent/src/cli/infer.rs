use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use shared::message::{Message, ResultEnvelope};
use uuid::Uuid;

use super::bundle::BundleArgs;
use super::error::CommandError;
use super::output::{Names, write_pictures};
use crate::decode::{DecodeLimits, decode_bytes, read_file};
use crate::exit_code::Exit;
use crate::health::clock_synced;
use crate::infer::{Analysis, AnalyzeError, Analyzer, AnalyzerOptions, Provenance};
use crate::inputs;

/// Segment files and print the findings.
#[derive(Debug, Args)]
pub(super) struct InferArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Write FILE.overlay.png and, for each class, FILE.CLASS.png (0 or 255, the image's own size) into DIR
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one result envelope a line as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Threads of the inference engine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// DICOM, PNG, JPEG or TIFF files, or folders of them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
}

pub(super) fn main(args: &InferArgs) -> Result<Exit, CommandError> {
    let bundle = args.bundle.open()?;
    let options = AnalyzerOptions::default();
    let mut analyzer = Analyzer::with_tract(&bundle, usize::from(args.threads), options)?;
    let mut pictures = args.out.as_deref().map(Names::create).transpose()?;
    let inputs = inputs::collect(&args.paths);
    if let Some(names) = &mut pictures {
        names.protect(inputs.iter().flatten());
    }
    let mut provenance = Provenance { boot_id: Uuid::new_v4(), seq: 0, clock_synced: clock_synced() };
    let (mut failed, mut stdout) = (0_usize, io::stdout().lock());
    for input in &inputs {
        let analysis = match input {
            Ok(path) => analyze(&mut analyzer, path, &options.limits, pictures.is_some())
                .map_err(|e| format!("{}: {e}", path.display())),
            Err(error) => Err(error.to_string()),
        };
        let (path, analysis) = match (input, analysis) {
            (Ok(path), Ok(analysis)) => (path, analysis),
            (_, Err(message)) => {
                eprintln!("error: {message}");
                failed += 1;
                continue;
            }
            (Err(_), Ok(_)) => continue,
        };
        provenance.seq += 1;
        let envelope = analysis.to_envelope(provenance);
        if args.json {
            let mut line = envelope.to_json();
            line.push(b'\n');
            stdout.write_all(&line).map_err(CommandError::Stdout)?;
        } else {
            writeln!(stdout, "{}", describe(path, &envelope)).map_err(CommandError::Stdout)?;
        }
        if let Some(names) = &mut pictures {
            write_pictures(&analysis, &names.claim(path, &analysis.classes))?;
        }
    }
    stdout.flush().map_err(CommandError::Stdout)?;
    if inputs.is_empty() {
        eprintln!("error: the folders hold no file named like a radiograph (.dcm, .png, .jpg, .tif or none)");
        return Ok(Exit::SomeInputFailed);
    }
    if failed > 0 {
        eprintln!("{failed} of {} files could not be analysed", inputs.len());
        return Ok(Exit::SomeInputFailed);
    }
    Ok(Exit::Ok)
}

/// As the daemon does it; then, for pictures, with every pixel.
fn analyze(
    analyzer: &mut Analyzer,
    path: &Path,
    limits: &DecodeLimits,
    pictures: bool,
) -> Result<Analysis, AnalyzeError> {
    let bytes = read_file(path, limits)?;
    let mut analysis = analyzer.analyze(&bytes)?;
    if pictures
        && analysis.is_reduced()
        && let Ok(full) = decode_bytes(&bytes, limits)
    {
        analysis.frame = full.frame;
    }
    Ok(analysis)
}

/// The findings of a file as a table.
fn describe(path: &Path, envelope: &ResultEnvelope) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["finding", "score", "area px", "% of image"]);
    for finding in &envelope.findings {
        table.add_row([
            finding.code.meaning.clone(),
            format!("{:.3}", finding.score),
            finding.area_px.to_string(),
            format!("{:.2}", finding.area_fraction * 100.0),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let latency = &envelope.latency_ms;
    let ratio = envelope.measurements.cardiothoracic_ratio.as_ref();
    let ratio = ratio.map(|ratio| format!("{ratio}\n")).unwrap_or_default();
    let notes: String = envelope.quality.iter().map(|note| format!("\nnote: {}", note.message)).collect();
    format!(
        "{}  {} × {} px\n{table}\n{ratio}decode {:.1} + preprocess {:.1} + infer {:.1} + postprocess {:.1} = {:.1} ms{notes}\n",
        path.display(),
        envelope.image.cols,
        envelope.image.rows,
        latency.decode,
        latency.preprocess,
        latency.infer,
        latency.postprocess,
        latency.total(),
    )
}
