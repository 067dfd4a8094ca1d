use proptest::prelude::*;

use super::*;
use crate::mask::Mask;
use crate::phantom::{Acquisition, Anatomy, PhantomParams, Structure, render};

/// A radiograph with the masks that a network would give.
#[derive(Clone)]
struct Chest {
    frame: PixelFrame,
    left_lung: Mask,
    right_lung: Mask,
    heart: Mask,
}

impl Chest {
    fn new(seed: u64, anatomy: Anatomy, acquisition: Acquisition) -> Self {
        let (rows, cols) = (256, 256);
        let findings = Default::default();
        let phantom = render(&PhantomParams { rows, cols, seed, anatomy, findings, acquisition }).unwrap();
        let mask = |structure| phantom.mask(structure).clone();
        let (left_lung, right_lung) = (mask(Structure::LeftLung), mask(Structure::RightLung));
        Self { left_lung, right_lung, heart: mask(Structure::Heart), frame: phantom.frame }
    }

    fn plain(seed: u64) -> Self {
        Self::new(seed, Anatomy::default(), Acquisition::default())
    }

    /// Moves every pixel to where `from` says it comes from.
    fn moved(mut self, from: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let (rows, cols) = (self.frame.rows(), self.frame.cols());
        let samples = (0..rows * cols).map(|i| {
            let (row, col) = from(i / cols, i % cols);
            self.frame.samples()[row * cols + col]
        });
        self.frame = PixelFrame::new(rows, cols, samples.collect()).unwrap();
        for mask in [&mut self.left_lung, &mut self.right_lung, &mut self.heart] {
            *mask = Mask::from_fn(rows, cols, |row, col| {
                let (row, col) = from(row, col);
                mask.get(row, col)
            });
        }
        self
    }

    /// Mirrored, and named by a network that goes by the image's sides.
    fn mirrored(self) -> Self {
        let cols = self.frame.cols();
        let Self { frame, left_lung, right_lung, heart } = self.moved(|row, col| (row, cols - 1 - col));
        Self { frame, left_lung: right_lung, right_lung: left_lung, heart }
    }

    /// Other grey values, 0..=1.
    fn toned(mut self, tone: impl Fn(f64) -> f64) -> Self {
        for v in self.frame.samples_mut() {
            *v = (tone(f64::from(*v) / 65_535.0).clamp(0.0, 1.0) * 65_535.0).round() as u16;
        }
        self
    }

    fn structures(&self) -> Structures<'_> {
        Structures {
            left_lung: Some(&self.left_lung),
            right_lung: Some(&self.right_lung),
            heart: Some(&self.heart),
        }
    }

    fn examine(&self) -> Vec<QualityCode> {
        self.examine_with(&self.structures())
    }

    fn examine_with(&self, structures: &Structures<'_>) -> Vec<QualityCode> {
        let result = |mask: &Mask| ClassResult { mask: mask.clone(), score: 1.0 };
        let results = [result(&self.left_lung), result(&self.right_lung), result(&self.heart)];
        examine(&self.frame, &results, structures, &QualitySpec::default())
    }
}

fn shifted(millimetres: [f64; 2]) -> Acquisition {
    Acquisition { offset: millimetres, ..Acquisition::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_well_taken_chest_has_no_notes(seed: u64) {
        prop_assert_eq!(Chest::plain(seed).examine(), []);
    }

    #[test]
    fn a_mirrored_chest_is_suspicious_of_its_side(seed: u64) {
        let mirrored = Chest::plain(seed).mirrored();
        prop_assert_eq!(mirrored.examine(), [QualityCode::LateralitySuspicious]);
    }

    #[test]
    fn lungs_named_against_their_sides_are_suspicious(seed: u64) {
        let mut chest = Chest::plain(seed);
        std::mem::swap(&mut chest.left_lung, &mut chest.right_lung);
        prop_assert_eq!(chest.examine(), [QualityCode::LateralitySuspicious]);
    }

    #[test]
    fn what_leaves_the_image_is_clipped(seed: u64) {
        let shifted = |down| Chest::new(seed, Anatomy::default(), shifted([0.0, down])).examine();
        prop_assert_eq!(shifted(-75.0), [QualityCode::ClippedApex]);
        prop_assert_eq!(shifted(75.0), [QualityCode::ClippedBase]);
        // The margins beside the lungs are for shoulders and abdomen.
        prop_assert_eq!(shifted(20.0), []);
    }

    #[test]
    fn inverted_grey_is_seen_with_and_without_masks(seed: u64) {
        let chest = Chest::plain(seed);
        let inverted = chest.clone().toned(|v| 1.0 - v);
        prop_assert_eq!(inverted.examine(), [QualityCode::InvertedPolarity]);
        let none = Structures::default();
        prop_assert_eq!(inverted.examine_with(&none), [QualityCode::InvertedPolarity]);
        prop_assert_eq!(chest.examine_with(&none), []);
    }

    #[test]
    fn a_tilted_or_turned_patient_is_rotated(seed: u64, side in prop_oneof![Just(-1.0), Just(1.0)]) {
        let tilted = Acquisition { rotation: 16.0 * side, ..Acquisition::default() };
        let tilted = Chest::new(seed, Anatomy::default(), tilted).examine();
        prop_assert!(tilted.contains(&QualityCode::Rotated), "{:?}", tilted);
        let turned = Anatomy { mediastinal_shift: 40.0 * side, thorax_width: 230.0, ..Anatomy::default() };
        let turned = Chest::new(seed, turned, Acquisition::default()).examine();
        prop_assert!(turned.contains(&QualityCode::Rotated), "{:?}", turned);
        let little = Acquisition { rotation: 3.0 * side, ..Acquisition::default() };
        prop_assert_eq!(Chest::new(seed, Anatomy::default(), little).examine(), []);
    }

    #[test]
    fn burnt_white_and_flat_images_are_misexposed(seed: u64) {
        let toned = |tone: fn(f64) -> f64| Chest::plain(seed).toned(tone).examine();
        prop_assert_eq!(toned(|v| (v - 0.6) / 0.4), [QualityCode::Overexposed]);
        prop_assert_eq!(toned(|v| v * 3.0), [QualityCode::Underexposed]);
        prop_assert_eq!(toned(|v| 0.5 + 0.03 * v), [QualityCode::Underexposed]);
        // Window and gain alone are no fault.
        prop_assert_eq!(toned(|v| 0.2 + 0.4 * v), []);
    }

    #[test]
    fn a_chest_upside_down_or_on_its_side_is_not_frontal(seed: u64) {
        let rows = 256;
        let chest = Chest::plain(seed);
        let upside = chest.clone().moved(|row, col| (rows - 1 - row, col));
        prop_assert!(upside.examine().contains(&QualityCode::NotFrontalChest));
        let aside = chest.moved(|row, col| (col, row));
        prop_assert!(aside.examine().contains(&QualityCode::NotFrontalChest));
    }
}

#[test]
fn a_missing_structure_is_no_frontal_chest_and_an_unnamed_one_no_matter() {
    let chest = Chest::plain(1);
    let empty = Mask::empty(256, 256);
    for gone in 0..3 {
        let mut structures = chest.structures();
        *[&mut structures.left_lung, &mut structures.right_lung, &mut structures.heart][gone] = Some(&empty);
        assert_eq!(chest.examine_with(&structures), [QualityCode::NotFrontalChest], "{gone}");
        *[&mut structures.left_lung, &mut structures.right_lung, &mut structures.heart][gone] = None;
        assert_eq!(chest.examine_with(&structures), [], "{gone}");
    }
}

#[test]
fn a_shredded_heart_still_has_a_side() {
    let mut chest = Chest::plain(1).mirrored();
    chest.heart = Mask::from_fn(256, 256, |r, c| r % 4 == 0 && chest.heart.get(r, c));
    assert_eq!(chest.examine(), [QualityCode::NotFrontalChest, QualityCode::LateralitySuspicious]);
}

#[test]
fn implausible_hearts_and_lungs_are_no_chest() {
    let block = |x: std::ops::Range<usize>, y: std::ops::Range<usize>| {
        Mask::from_fn(256, 256, |r, c| x.contains(&c) && y.contains(&r))
    };
    let chest = Chest::plain(1);
    let is_chest = |change: fn(&mut Chest, Mask), mask| {
        let mut changed = chest.clone();
        change(&mut changed, mask);
        !changed.examine().contains(&QualityCode::NotFrontalChest)
    };
    let heart = |chest: &mut Chest, mask| chest.heart = mask;
    assert!(is_chest(heart, chest.heart.clone()));
    assert!(!is_chest(heart, block(120..130, 150..160)), "a tiny heart");
    assert!(!is_chest(heart, block(0..160, 120..190)), "a heart outside the thorax");
    assert!(!is_chest(heart, Mask::from_fn(256, 256, |r, c| r.abs_diff(c) < 8)), "a heart like a stick");
    let lung = |chest: &mut Chest, mask| chest.left_lung = mask;
    assert!(is_chest(lung, chest.left_lung.clone()));
    assert!(!is_chest(lung, chest.right_lung.clone()), "lungs on top of each other");
    assert!(!is_chest(lung, block(150..200, 225..250)), "lungs at different heights");
}

#[test]
fn an_image_without_any_finding_says_so_once() {
    let empty = Mask::empty(256, 256);
    let (left_lung, right_lung, heart) = (empty.clone(), empty.clone(), empty);
    let nothing = Chest { left_lung, right_lung, heart, ..Chest::plain(1) };
    assert_eq!(nothing.examine(), [QualityCode::NothingFound]);
}

#[test]
fn notes_do_not_depend_on_the_masks_grid_or_the_images_size() {
    let large = |mut chest: Chest| {
        let (rows, cols) = (700, 700);
        let samples = (0..rows * cols)
            .map(|i| chest.frame.samples()[(i / cols * 256 / rows) * 256 + i % cols * 256 / cols])
            .collect();
        chest.frame = PixelFrame::new(rows, cols, samples).unwrap();
        for mask in [&mut chest.left_lung, &mut chest.right_lung, &mut chest.heart] {
            *mask = mask.resize_nearest(400, 400);
        }
        chest.examine()
    };
    assert_eq!(large(Chest::plain(3)), []);
    assert_eq!(large(Chest::plain(3).mirrored()), [QualityCode::LateralitySuspicious]);
    assert_eq!(large(Chest::plain(3).toned(|v| v * 3.0)), [QualityCode::Underexposed]);
}

#[test]
fn the_smallest_images_are_examined_without_panic() {
    for (rows, cols) in [(1, 1), (1, 300), (300, 1), (2, 3)] {
        let frame = PixelFrame::new(rows, cols, vec![9; rows * cols]).unwrap();
        let full = Mask::from_fn(rows, cols, |_, _| true);
        let structures = Structures { left_lung: Some(&full), right_lung: Some(&full), heart: Some(&full) };
        let results = [ClassResult { mask: full.clone(), score: 1.0 }];
        let codes = examine(&frame, &results, &structures, &QualitySpec::default());
        assert!(codes.contains(&QualityCode::NotFrontalChest), "{rows} × {cols}: {codes:?}");
    }
}

#[test]
fn codes_on_the_wire_differ_and_every_note_says_what_to_do() {
    let mut names: Vec<&str> = QualityCode::ALL.iter().map(|code| code.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), QualityCode::ALL.len());
    for code in QualityCode::ALL {
        let note = QualityNote::from(code);
        assert_eq!(note.code, code.to_string());
        assert!(note.message.contains("check") || note.message.contains("retake"), "{code}");
    }
}
