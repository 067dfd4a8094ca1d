use shared::pixel::PixelFrame;

use super::super::tests::{JPEG_2000_TILES, jpeg_2000_file};
use super::*;
use crate::decode::fixtures::{COLOUR, Fixture, GREY, OFFSET, PHANTOM, SHALLOW, SIGNED, UNEVEN};
use crate::decode::{DecodeLimits, Decoded, decode_bytes, decode_bytes_at};

const UID: &str = "1.2.840.99.7";

fn at_least(side: usize, file: &[u8]) -> Decoded {
    decode_bytes_at(Detail::AtLeast(side), file, &DecodeLimits::default()).unwrap()
}

fn full(file: &[u8]) -> Decoded {
    decode_bytes(file, &DecodeLimits::default()).unwrap()
}

fn size(frame: &PixelFrame) -> (usize, usize) {
    (frame.rows(), frame.cols())
}

/// The mean distance between a reduced picture and the average of the pixels around each that it has.
fn distance(reduced: &Decoded, full: &PixelFrame) -> f64 {
    let around = |at: usize, side: usize| {
        let (middle, half) = (at * reduced.step, reduced.step / 2);
        middle.saturating_sub(half)..(middle + half + 1).min(side)
    };
    let average = |row: usize, col: usize| {
        let (rows, cols) = (around(row, full.rows()), around(col, full.cols()));
        let count = rows.len() * cols.len();
        let block = rows.flat_map(|r| &full.samples()[r * full.cols()..][cols.clone()]);
        block.map(|v| f64::from(*v)).sum::<f64>() / count as f64
    };
    let (cols, samples) = (reduced.frame.cols(), reduced.frame.samples());
    let off = |(i, v): (usize, &u16)| (f64::from(*v) - average(i / cols, i % cols)).abs();
    samples.iter().enumerate().map(off).sum::<f64>() / samples.len() as f64
}

#[test]
fn no_more_resolutions_are_left_out_than_detail_and_levels_allow() {
    let file = GREY.file(UID);
    let all = full(&file);
    for (side, expected) in [(102, (101, 77)), (52, (101, 77)), (51, (51, 39)), (26, (26, 20)), (1, (13, 10))]
    {
        let decoded = at_least(side, &file);
        assert_eq!(size(&decoded.frame), expected, "{side}");
        assert_eq!(decoded.image, all.image, "{side}");
        if expected == (101, 77) {
            assert_eq!(decoded.frame, all.frame, "{side}");
        }
    }
}

#[test]
fn a_reduced_picture_is_the_average_of_its_pixels_grey_colour_or_signed() {
    let check = |fixture: Fixture, reduce: u32, expected: (usize, usize)| {
        let file = fixture.file(UID);
        let all = full(&file);
        assert_eq!(size(&all.frame), (fixture.rows, fixture.cols));
        let decoded = at_least(expected.0.max(expected.1), &file);
        assert_eq!(size(&decoded.frame), expected);
        assert_eq!(decoded.image, all.image);
        assert_eq!(decoded.step, 1 << reduce);
        let off = distance(&decoded, &all.frame);
        assert!(off < 0.01 * f64::from(reduce * u32::from(u16::MAX)), "{expected:?}: {off}");
    };
    check(GREY, 1, (51, 39));
    check(GREY, 2, (26, 20));
    check(COLOUR, 1, (23, 32));
    check(SIGNED, 1, (30, 25));
    check(SIGNED, 2, (15, 13));
    check(PHANTOM, 1, (216, 256));
}

#[test]
fn what_cannot_be_reduced_is_decoded_fully() {
    let file = jpeg_2000_file(&JPEG_2000_TILES);
    assert_eq!(at_least(1, &file), full(&file), "no levels");
    let file = OFFSET.file(UID);
    assert_eq!(at_least(50, &file), full(&file), "not from the grid's origin");
    let file = SHALLOW.file(UID);
    assert_eq!(at_least(50, &file), full(&file), "edges overshoot into bits that are not stored");
    let file = UNEVEN.file(UID);
    assert_eq!(at_least(32, &file), full(&file), "a tile without levels");
    assert!(full(&file).frame.samples().iter().all(|v| *v > 10_000), "both tiles are there");
}

/// As a whole one is: whether some of it is wanted or all.
#[test]
fn an_image_that_is_cut_off_is_refused_whatever_detail_is_wanted() {
    const END: [u8; 2] = [0xFF, 0xD9];
    let refused = |stream: &[u8], detail| {
        decode_bytes_at(detail, &GREY.file_of(stream, UID), &DecodeLimits::default()).is_err()
    };
    let whole = &GREY.stream[..GREY.stream.len() - 2];
    assert!(!refused(GREY.stream, Detail::AtLeast(26)));
    for kept in (100..whole.len()).step_by(97) {
        for detail in [Detail::Full, Detail::AtLeast(51), Detail::AtLeast(26)] {
            assert!(refused(&whole[..kept], detail), "{kept} bytes, {detail:?}");
            assert!(refused(&[&whole[..kept], &END].concat(), detail), "{kept} bytes and an end, {detail:?}");
        }
    }
}
