//! What all plots share: colours, a legend, and SVG with text as text.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::ReportError;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type DrawResult = Result<(), Box<dyn std::error::Error>>;

/// Height of a legend's line, pixels.
const LEGEND_LINE: i32 = 22;
/// Height of a letter of a legend, pixels.
const LEGEND_FONT: i32 = 13;

/// Colours that people of any colour vision tell apart (Okabe & Ito 2008), without the yellow, which is too pale for
/// lines on white.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x20, 0x20, 0x20),
    RGBColor(0x8c, 0x6d, 0x46),
];

/// An entry of a legend.
pub(super) struct Key {
    pub label: String,
    pub color: RGBColor,
    pub dashed: bool,
}

/// The colour of the `i`th thing: from the ninth on the same colours darker, and after sixteen all over again.
pub(super) fn color(i: usize) -> RGBColor {
    let RGBColor(r, g, b) = COLORS[i % COLORS.len()];
    match i / COLORS.len() % 2 {
        0 => RGBColor(r, g, b),
        _ => RGBColor(r / 2, g / 2, b / 2),
    }
}

/// Draws onto white; `what` is for the error message.
pub(super) fn draw_svg(
    what: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> DrawResult,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let drawn = area.fill(&WHITE).map_err(Into::into).and_then(|()| {
            draw(&area)?;
            Ok(area.present()?)
        });
        drawn.map_err(|error: Box<dyn std::error::Error>| ReportError::Draw {
            what: what.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(svg)
}

/// Height of the legend of these keys in a picture of this width.
pub(super) fn legend_height(keys: &[Key], width: u32) -> u32 {
    let lines = places(keys, width as i32).last().map_or(0, |(_, y)| y / LEGEND_LINE + 1);
    (lines * LEGEND_LINE + 8) as u32
}

/// Draws a legend, in as many lines as it needs.
pub(super) fn draw_legend(keys: &[Key], area: &Area<'_>) -> DrawResult {
    let width = area.dim_in_pixel().0 as i32;
    for (key, (x, y)) in keys.iter().zip(places(keys, width)) {
        let middle = y + LEGEND_LINE / 2;
        let style = key.color.stroke_width(3);
        let parts: &[(i32, i32)] = if key.dashed { &[(0, 8), (14, 22)] } else { &[(0, 22)] };
        for (from, to) in parts {
            area.draw(&PathElement::new([(x + from, middle), (x + to, middle)], style))?;
        }
        let font = ("sans-serif", LEGEND_FONT).into_font();
        area.draw(&Text::new(key.label.clone(), (x + 28, middle - LEGEND_FONT / 2), font))?;
    }
    Ok(())
}

/// Upper left corner of each entry.
fn places(keys: &[Key], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (14, 0);
    keys.iter()
        .map(|key| {
            // Letters are narrower than high; the rest is the sample of the line and the gap to the next entry.
            let own = key.label.chars().count() as i32 * 8 + 52;
            if x > 14 && x + own > width {
                (x, y) = (14, y + LEGEND_LINE);
            }
            let place = (x, y);
            x += own;
            place
        })
        .collect()
}

/// A range around values, with room, within `bounds`.
pub(super) fn around(values: impl Iterator<Item = f64>, bounds: (f64, f64)) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let room = ((high - low) * 0.08).max(0.02);
    (low - room).max(bounds.0)..(high + room).min(bounds.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(n: usize) -> Vec<Key> {
        (0..n).map(|i| Key { label: format!("arm-{i}"), color: color(i), dashed: i == 1 }).collect()
    }

    #[test]
    fn legends_wrap_and_their_text_is_text() {
        assert!(legend_height(&keys(20), 300) > legend_height(&keys(2), 300));
        let svg = draw_svg("legend", (300, 60), |area| draw_legend(&keys(2), area)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("arm-1") && svg.contains("<text"), "{svg}");
    }

    #[test]
    fn ranges_have_room_and_stay_in_bounds() {
        assert_eq!(around([].into_iter(), (0.0, 1.0)), 0.0..1.0);
        let range = around([0.5, 0.995].into_iter(), (0.0, 1.0));
        assert!(range.start < 0.5 && range.end == 1.0);
    }
}
