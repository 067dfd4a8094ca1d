//! Measurements on experts' masks against those that were published with them.

use std::path::Path;

use e2e_tests::real_data;
use shared::anatomy::Structures;
use shared::mask::Mask;
use shared::measure::{CardiothoracicRatio, CardiothoracicSpec};

/// They were published to four decimals.
const ROUNDING: f64 = 5e-5;

#[test]
fn cardiothoracic_ratios_of_expert_masks_are_the_published_ones() {
    let Some(folder) = real_data("heart-lung") else { return };
    let text = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|&column| column == name).unwrap();
    let [source, file, ratio] = ["source", "filename", "ctr_mask"].map(column);
    let mut differences = Vec::new();
    for row in lines.filter(|row| !row[ratio].is_empty()) {
        let masks = folder.join(row[source]).join("mask");
        let mask = |class: &str| read(&masks.join(class).join(row[file]));
        let (heart, left_lung, right_lung) = (mask("heart"), mask("left_lung"), mask("right_lung"));
        let size = (heart.rows(), heart.cols());
        let structures =
            Structures { heart: Some(&heart), left_lung: Some(&left_lung), right_lung: Some(&right_lung) };
        let found = CardiothoracicRatio::measure(&CardiothoracicSpec::default(), &structures, size).unwrap();
        differences.push((found.ratio - row[ratio].parse::<f64>().unwrap()).abs());
    }
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    println!("{} images, mean absolute difference {mean:.6}", differences.len());
    assert!(differences.len() > 100, "{}", differences.len());
    let worst = differences.iter().copied().fold(0.0, f64::max);
    assert!(worst <= ROUNDING, "{worst}");
}

fn read(path: &Path) -> Mask {
    Mask::from_gray(&image::open(path).unwrap().into_luma8())
}
