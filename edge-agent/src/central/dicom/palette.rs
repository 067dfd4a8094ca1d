use shared::mask::Rgb;

/// Colours that stay apart for most people with colour vision deficiency (after Okabe and Ito, without black).
const COLORS: [[u8; 3]; 7] = [
    [86, 180, 233],
    [0, 158, 115],
    [213, 94, 0],
    [230, 159, 0],
    [204, 121, 167],
    [240, 228, 66],
    [0, 114, 178],
];

/// The colour of a result's finding by its place: results do not carry the manifest's colours.
pub fn color(finding: usize) -> Rgb {
    Rgb(COLORS[finding % COLORS.len()])
}

/// Recommended Display CIELab Value (PS3.3 C.10.7.1.1): sRGB to CIELab at D50, each in 0..=65535.
pub(super) fn cielab(Rgb(rgb): Rgb) -> [u16; 3] {
    let [r, g, b] = rgb.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    // Bradford-adapted from D65, divided by the white of D50.
    let x = (0.436_074_7 * r + 0.385_064_9 * g + 0.143_080_4 * b) / 0.964_22;
    let y = 0.222_504_5 * r + 0.716_878_6 * g + 0.060_616_9 * b;
    let z = (0.013_932_2 * r + 0.097_104_5 * g + 0.714_173_3 * b) / 0.825_21;
    let f = |t: f64| if t > 216.0 / 24_389.0 { t.cbrt() } else { (24_389.0 / 27.0 * t + 16.0) / 116.0 };
    let (lightness, a, b) = (116.0 * f(y) - 16.0, 500.0 * (f(x) - f(y)), 200.0 * (f(y) - f(z)));
    let scale = |share: f64| (share.clamp(0.0, 1.0) * 65_535.0).round() as u16;
    [scale(lightness / 100.0), scale((a + 128.0) / 255.0), scale((b + 128.0) / 255.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_and_black_are_neutral_and_red_is_red() {
        assert_eq!(cielab(Rgb([0; 3])), [0, 32_896, 32_896]);
        let [l, a, b] = cielab(Rgb([255; 3]));
        assert!(l >= 65_530 && a.abs_diff(32_896) < 10 && b.abs_diff(32_896) < 10, "{l} {a} {b}");
        // CIELab (D50) of sRGB red: 54.29, 80.81, 69.89.
        let [l, a, b] = cielab(Rgb([255, 0, 0]));
        assert!(
            l.abs_diff(35_579) < 100 && a.abs_diff(53_664) < 100 && b.abs_diff(50_858) < 100,
            "{l} {a} {b}"
        );
    }
}
