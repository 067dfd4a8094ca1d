use super::*;

fn pixels(samples: &[u16]) -> StoredPixels {
    StoredPixels {
        rows: 1,
        cols: samples.len(),
        samples: samples.to_vec(),
        bits_stored: 12,
        signed: false,
        photometric: Photometric::Monochrome2,
        modality: ModalityTransform::IDENTITY,
        voi: Some(VoiTransform::Window(VoiWindow {
            center: 2048.0,
            width: 4096.0,
            function: VoiFunction::Linear,
        })),
        presentation: None,
    }
}

fn values(p: &StoredPixels) -> Vec<u16> {
    p.clone().render().unwrap().frame.samples().to_vec()
}

#[test]
fn full_window_spans_the_full_range() {
    assert_eq!(values(&pixels(&[0, 4095])), [0, 65_535]);
}

#[test]
fn linear_window_follows_the_worked_example_of_the_standard() {
    // PS3.3 C.11.2.1.2.1 note: center 2048, width 1 is a step at 2047.5.
    let mut p = pixels(&[2047, 2048]);
    p.voi =
        Some(VoiTransform::Window(VoiWindow { center: 2048.0, width: 1.0, function: VoiFunction::Linear }));
    assert_eq!(values(&p), [0, 65_535]);
    // center 0, width 100 on signed values: -50 → 0, 49 → 1.
    let mut p = pixels(&[0x0FCE, 49]);
    p.signed = true;
    p.voi =
        Some(VoiTransform::Window(VoiWindow { center: 0.0, width: 100.0, function: VoiFunction::Linear }));
    assert_eq!(values(&p), [0, 65_535]);
}

#[test]
fn sigmoid_window_is_half_at_the_center() {
    let mut p = pixels(&[2048]);
    p.voi = Some(VoiTransform::Window(VoiWindow {
        center: 2048.0,
        width: 400.0,
        function: VoiFunction::Sigmoid,
    }));
    assert_eq!(values(&p), [32_768]);
}

#[test]
fn monochrome1_is_inverted_once() {
    let mut p = pixels(&[0, 4095]);
    p.photometric = Photometric::Monochrome1;
    assert_eq!(values(&p), [65_535, 0]);
    p.presentation = Some(PresentationLutShape::Inverse);
    assert_eq!(values(&p), [65_535, 0], "shape INVERSE and MONOCHROME1 say the same thing, not twice");
}

#[test]
fn presentation_lut_shape_decides_where_present() {
    let mut p = pixels(&[0, 4095]);
    p.presentation = Some(PresentationLutShape::Inverse);
    assert_eq!(values(&p), [65_535, 0]);
    p.photometric = Photometric::Monochrome1;
    p.presentation = Some(PresentationLutShape::Identity);
    assert_eq!(values(&p), [0, 65_535]);
}

#[test]
fn negative_rescale_slope_reverses_order() {
    let mut p = pixels(&[0, 4095]);
    p.modality = ModalityTransform::Rescale { slope: -1.0, intercept: 4095.0 };
    assert_eq!(values(&p), [65_535, 0]);
}

#[test]
fn percentiles_follow_modality_order_under_a_negative_slope() {
    let mut p = pixels(&(0..1000).map(|v| 1000 + v).collect::<Vec<u16>>());
    p.voi = None;
    p.modality = ModalityTransform::Rescale { slope: -2.0, intercept: 0.0 };
    let rendered = p.render().unwrap();
    assert_eq!(rendered.voi, VoiApplied::Percentile);
    let out = rendered.frame.samples();
    assert_eq!((out[0], out[999]), (65_535, 0));
    assert!(out.windows(2).all(|w| w[0] >= w[1]));
}

#[test]
fn look_up_tables_clamp_at_their_ends() {
    let mut p = pixels(&[0, 10, 11, 12, 4095]);
    p.voi = Some(VoiTransform::Lut(LutTable { first: 10, bits: 8, entries: vec![0, 128, 255] }));
    assert_eq!(values(&p), [0, 0, 32_896, 65_535, 65_535]);
    p.modality = ModalityTransform::Rescale { slope: -1e300, intercept: 0.0 };
    assert_eq!(values(&p), [0; 5]);
    p.modality = ModalityTransform::Lut(LutTable { first: 0, bits: 16, entries: vec![12] });
    assert_eq!(values(&p), [65_535; 5]);
}

#[test]
fn bits_above_bits_stored_are_ignored() {
    assert_eq!(values(&pixels(&[0xF000, 0xFFFF])), [0, 65_535]);
}

#[test]
fn impossible_attributes_are_named() {
    let mut p = pixels(&[0]);
    p.bits_stored = 0;
    assert!(p.render().unwrap_err().to_string().contains("Bits Stored"));
    let mut p = pixels(&[0]);
    p.modality = ModalityTransform::Rescale { slope: 0.0, intercept: 0.0 };
    assert!(p.render().unwrap_err().to_string().contains("Rescale Slope"));
    let mut p = pixels(&[0]);
    p.voi = Some(VoiTransform::Window(VoiWindow { center: 0.0, width: 0.0, function: VoiFunction::Linear }));
    assert!(p.render().unwrap_err().to_string().contains("Window Width"));
    let mut p = pixels(&[0]);
    p.voi = Some(VoiTransform::Lut(LutTable { first: 0, bits: 8, entries: vec![] }));
    assert!(p.render().unwrap_err().to_string().contains("look-up table"));
    let mut p = pixels(&[0]);
    p.rows = 2;
    assert!(p.render().unwrap_err().to_string().contains("2 rows"));
}
