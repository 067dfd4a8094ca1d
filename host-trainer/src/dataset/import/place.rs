use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage};
use shared::bundle::sha256_hex;
use shared::mask::Rle;

use super::super::normal::{Line, image_path};
use super::super::source::place::inside;
use super::super::{DatasetError, Record, load_annotated};
use super::ImportOptions;
use super::examine::Examined;

/// Puts an image into the folder and gives its line of the index.
pub(super) fn place(
    record: &Record,
    examined: &Examined,
    options: &ImportOptions<'_>,
) -> Result<Line, DatasetError> {
    let longer = examined.rows.max(examined.cols);
    let shrunk_to = options.max_side.filter(|&side| longer > side);
    let mut line = Line {
        id: record.id.clone(),
        dataset: record.dataset.clone(),
        source: record.source.clone(),
        patient: record.patient.clone(),
        split: record.split,
        image: image_path(&record.id, shrunk_to),
        rows: examined.rows,
        cols: examined.cols,
        sha256: examined.sha256.clone(),
        masks: examined.masks.clone(),
        findings: record.findings.clone(),
        attributes: record.attributes.clone(),
    };
    let path = inside(options.out, &line.image, &record.id)?;
    let unwritten = |error: Box<dyn std::error::Error + Send + Sync>| DatasetError::Write {
        path: path.clone(),
        source: error,
    };
    fs::create_dir_all(path.parent().unwrap_or(options.out)).map_err(|error| unwritten(error.into()))?;
    match shrunk_to {
        None => link_or_copy(&record.image, &path).map_err(|error| unwritten(error.into()))?,
        Some(side) => {
            let fit = |n: usize| ((n * side + longer / 2) / longer).max(1);
            (line.rows, line.cols) = (fit(examined.rows), fit(examined.cols));
            let bytes = shrunk_picture(record, line.rows, line.cols, &path)?;
            line.sha256 = sha256_hex(&bytes);
            fs::write(&path, bytes).map_err(|error| unwritten(error.into()))?;
            for codes in line.masks.values_mut() {
                *codes =
                    shrunk_codes(codes, line.rows, line.cols).map_err(|error| unwritten(error.into()))?;
            }
        }
    }
    File::open(&path).and_then(|file| file.sync_all()).map_err(|error| unwritten(error.into()))?;
    Ok(line)
}

/// Makes the images' places in their folders durable, up to the folder that `out` stands in.
pub(super) fn sync_folders(out: &Path, lines: &[Line]) -> Result<(), DatasetError> {
    let mut folders: BTreeSet<&Path> = BTreeSet::new();
    let images: Vec<_> = lines.iter().map(|line| out.join(&line.image)).collect();
    for image in &images {
        let up = image.ancestors().skip(1).take_while(|folder| folder.starts_with(out));
        folders.extend(up);
    }
    if !folders.is_empty() {
        folders.extend(out.parent().filter(|parent| !parent.as_os_str().is_empty()));
    }
    folders.into_iter().try_for_each(|folder| {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| DatasetError::Write { path: folder.to_owned(), source: error.into() })
    })
}

/// A link costs no space; across file systems it takes a copy.
fn link_or_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    // What an import that was stopped has left.
    if to.exists() {
        fs::remove_file(to)?;
    }
    // A link to a link would break with the folder it stands in.
    let from = from.canonicalize()?;
    fs::hard_link(&from, to).or_else(|_| fs::copy(&from, to).map(|_| ()))
}

/// The picture at another size, as PNG of the depth it had.
fn shrunk_picture(record: &Record, rows: usize, cols: usize, path: &Path) -> Result<Vec<u8>, DatasetError> {
    let frame = load_annotated(record, &[])?.frame;
    let small = resize(&frame.to_image16(), cols as u32, rows as u32, FilterType::Triangle);
    // Eight bits spread over sixteen are multiples of 257.
    let picture = if frame.samples().iter().all(|v| v % 257 == 0) {
        let samples = small.into_raw().into_iter().map(|v| ((u32::from(v) + 128) / 257) as u8).collect();
        let gray = GrayImage::from_raw(cols as u32, rows as u32, samples);
        DynamicImage::ImageLuma8(gray.expect("as many samples as before"))
    } else {
        DynamicImage::ImageLuma16(small)
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|error| DatasetError::Write { path: path.to_owned(), source: error.into() })?;
    Ok(bytes.into_inner())
}

fn shrunk_codes(codes: &[Rle], rows: usize, cols: usize) -> Result<Vec<Rle>, shared::mask::RleError> {
    let small = codes.iter().map(|code| Ok(code.decode()?.resize_nearest(rows, cols)));
    let small = small.collect::<Result<Vec<_>, _>>()?;
    Ok(small.iter().filter(|mask| !mask.is_empty()).map(Rle::encode).collect())
}
