//! Pictures that a report shows. They hold radiographs, so they stay in the folder of their step.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};
use shared::mask::{Layer, Mask, draw_outline, draw_overlay};
use shared::pixel::PixelFrame;

use crate::config::Config;
use crate::dataset::{Annotated, Sample};
use crate::evaluate::{ImageCounts, Measure};
use crate::pipeline::PipelineError;
use crate::train::atomic;

/// Longer side of a test case, pixels.
const CASE_SIDE: usize = 512;
/// Longer side of a preview of pseudo-masks, pixels.
const PREVIEW_SIDE: usize = 384;

/// Which of the judged images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Of the highest IoU.
    Best,
    /// In the middle.
    Median,
    /// Of the lowest IoU.
    Worst,
}

/// A judged image that is shown: an entry of `overlays/cases.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Why this one.
    pub rank: Rank,
    /// Its picture, in the same folder.
    pub file: String,
    /// The image.
    pub id: String,
    /// Mean IoU over the network's classes that it is taught, at source resolution.
    pub iou: f64,
}

/// A weak image with its pseudo-masks: an entry of `previews/previews.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    /// Its picture, in the same folder.
    pub file: String,
    /// The image.
    pub id: String,
    /// Classes that have a pseudo-mask, an empty one too.
    pub classes: Vec<String>,
}

impl Rank {
    /// Its name in files and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Median => "median",
            Self::Worst => "worst",
        }
    }
}

/// Best, median and worst image by mean IoU over the classes at the places `own`, each with its place among `images`;
/// fewer if there are fewer images with a figure.
pub(super) fn choose_cases(images: &[ImageCounts], own: &[usize]) -> Vec<(usize, Case)> {
    let mut judged: Vec<(usize, f64)> = images
        .iter()
        .enumerate()
        .filter_map(|(place, image)| {
            let figure = |&class: &usize| Measure::Iou.of(image.classes[class]?.source);
            let figures: Vec<f64> = own.iter().filter_map(figure).collect();
            (!figures.is_empty()).then(|| (place, figures.iter().sum::<f64>() / figures.len() as f64))
        })
        .collect();
    judged.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(images[*a].id.cmp(&images[*b].id)));
    let last = judged.len().saturating_sub(1);
    let mut cases: Vec<(usize, Case)> = Vec::new();
    for (rank, at) in [(Rank::Best, 0), (Rank::Worst, last), (Rank::Median, last / 2)] {
        let Some(&(place, iou)) = judged.get(at) else { break };
        // One or two images are shown once.
        if cases.iter().all(|(taken, _)| *taken != place) {
            let (file, id) = (format!("{}.png", rank.name()), images[place].id.clone());
            cases.push((place, Case { rank, file, id, iou }));
        }
    }
    cases.sort_by_key(|(_, case)| case.rank);
    cases
}

/// The radiograph with the network's masks in their colours and the experts' outlines in white.
pub(super) fn draw_case(config: &Config, image: &Annotated, predicted: &[Mask]) -> RgbImage {
    let layers: Vec<Layer<'_>> = predicted
        .iter()
        .zip(&config.classes)
        .map(|(mask, class)| Layer { mask, color: class.color })
        .collect();
    let mut picture = draw_overlay(&image.frame, &layers, CASE_SIDE);
    for truth in image.masks.iter().flatten() {
        draw_outline(&mut picture, truth);
    }
    picture
}

/// The image on the model's grid with pseudo-masks in their colours.
pub(super) fn draw_preview(
    config: &Config,
    sample: &Sample,
    masks: &[Option<Mask>],
) -> Result<RgbImage, PipelineError> {
    let frame = PixelFrame::new(sample.size(), sample.size(), sample.image.to_vec())
        .map_err(|error| PipelineError::Picture { what: sample.id.clone(), reason: error.to_string() })?;
    let layers: Vec<Layer<'_>> = masks
        .iter()
        .zip(&config.classes)
        .filter_map(|(mask, class)| Some(Layer { mask: mask.as_ref()?, color: class.color }))
        .collect();
    Ok(draw_overlay(&frame, &layers, PREVIEW_SIDE))
}

/// Writes a picture as PNG.
pub(super) fn save(picture: &RgbImage, path: &Path) -> Result<(), PipelineError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|error| PipelineError::Picture {
        what: path.display().to_string(),
        reason: error.to_string(),
    })?;
    atomic::write(path, bytes.get_ref()).map_err(|source| PipelineError::Io { path: path.to_owned(), source })
}

/// Writes plain data as JSON.
pub(super) fn save_json(value: &impl Serialize, path: &Path) -> Result<(), PipelineError> {
    atomic::write_json(path, value).map_err(|source| PipelineError::Io { path: path.to_owned(), source })
}

/// Makes a folder.
pub(super) fn create(dir: &Path) -> Result<(), PipelineError> {
    std::fs::create_dir_all(dir).map_err(|source| PipelineError::Io { path: dir.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tiny;
    use crate::evaluate::{ClassCounts, Counts};

    fn image(id: &str, intersection: Option<u64>) -> ImageCounts {
        let counts = |intersection| {
            let source = Counts { truth: 10, predicted: 10, intersection };
            ClassCounts { source, ..ClassCounts::default() }
        };
        ImageCounts { id: id.into(), classes: vec![intersection.map(counts)], ..ImageCounts::default() }
    }

    #[test]
    fn best_median_and_worst_are_chosen_and_few_images_are_shown_once() {
        let images = [
            image("a", Some(5)),
            image("b", None),
            image("c", Some(9)),
            image("d", Some(1)),
            image("e", Some(5)),
        ];
        let shown = |images: &[ImageCounts]| -> Vec<(Rank, String)> {
            choose_cases(images, &[0]).into_iter().map(|(_, case)| (case.rank, case.id)).collect()
        };
        let expected = [(Rank::Best, "c"), (Rank::Median, "a"), (Rank::Worst, "d")];
        assert_eq!(shown(&images), expected.map(|(rank, id)| (rank, id.to_owned())));
        assert_eq!(shown(&images[..2]), [(Rank::Best, "a".to_owned())]);
        assert_eq!(shown(&images[1..2]), []);
        // What an arm is not taught chooses nothing.
        let of_both = |id: &str, first: u64, second: u64| {
            let mut both = image(id, Some(first));
            both.classes.extend(image(id, Some(second)).classes);
            both
        };
        let images = [of_both("a", 10, 1), of_both("b", 0, 2)];
        assert_eq!(choose_cases(&images, &[1])[0].1.id, "b");
        assert_eq!(choose_cases(&images, &[0, 1])[0].1.id, "a");
    }

    #[test]
    fn a_case_shows_the_mask_in_its_colour_and_the_experts_outline_in_white() {
        let frame = PixelFrame::new(40, 40, vec![0; 1600]).unwrap();
        let square = |from: usize, to: usize| {
            Mask::from_fn(40, 40, |r, c| (from..to).contains(&r) && (from..to).contains(&c))
        };
        let annotated = Annotated {
            id: "a".into(),
            source: "s".into(),
            patient: "p".into(),
            frame,
            masks: vec![None, Some(square(10, 30))],
        };
        let picture = draw_case(&tiny(""), &annotated, &[Mask::empty(40, 40), square(5, 35)]);
        assert_eq!(picture.get_pixel(10, 20).0, [255; 3]);
        assert_eq!(picture.get_pixel(5, 20).0, [0xff, 0x5c, 0x5c]);
        assert_eq!(picture.get_pixel(0, 0).0, [0; 3]);
    }
}
