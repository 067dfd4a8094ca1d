//! Writes a contact sheet of random phantoms, to judge them by eye.
//!
//! ```text
//! cargo run --release -p shared --example phantom_sheet -- OUT.png [COUNT] [FIRST_SEED] [SIDE] [--masks]
//! ```
//!
//! `COUNT` (16) phantoms from `FIRST_SEED` (0) on, each `SIDE` (420) pixels square, in rows as long as the sheet
//! is high. With `--masks` every second one carries its outlines in colour.

use std::error::Error;
use std::time::Instant;

use image::{Rgb, RgbImage};
use shared::phantom::{PhantomParams, Structure, render};

/// Colours of the outlines, in the order of [`Structure::ALL`].
const COLORS: [[u8; 3]; 9] = [
    [60, 220, 60],
    [70, 150, 255],
    [255, 60, 60],
    [255, 220, 0],
    [255, 140, 0],
    [0, 230, 230],
    [230, 80, 255],
    [255, 130, 170],
    [160, 255, 200],
];

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, values): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let number = |i: usize, default: u64| values.get(i).map_or(Ok(default), |v| v.parse());
    let out = values.first().ok_or("name the PNG file to write")?;
    let (count, first, side) = (number(1, 16)? as u32, number(2, 0)?, number(3, 420)? as u32);
    let masks = flags.iter().any(|f| f == "--masks");

    let across = f64::from(count).sqrt().ceil() as u32;
    let mut sheet = RgbImage::new(across * side, count.div_ceil(across) * side);
    let start = Instant::now();
    for i in 0..count {
        let phantom = render(&PhantomParams::random(first + u64::from(i), side as usize, side as usize))?;
        let (left, top) = (i % across * side, i / across * side);
        for (x, y, grey) in phantom.frame.to_image8().enumerate_pixels() {
            sheet.put_pixel(left + x, top + y, Rgb([grey.0[0]; 3]));
        }
        if !masks || i % 2 == 0 {
            continue;
        }
        for (structure, color) in Structure::ALL.into_iter().zip(COLORS) {
            let mask = phantom.mask(structure);
            for y in 1..side as usize {
                for x in 1..side as usize {
                    let here = mask.get(y, x);
                    if here != mask.get(y - 1, x) || here != mask.get(y, x - 1) {
                        sheet.put_pixel(left + x as u32, top + y as u32, Rgb(color));
                    }
                }
            }
        }
    }
    println!(
        "{count} phantoms of {side} px, {:.0} ms each",
        start.elapsed().as_secs_f64() * 1e3 / f64::from(count)
    );
    sheet.save(out)?;
    Ok(())
}
