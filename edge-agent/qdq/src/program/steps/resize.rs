//! Resizes. A row of the input is stretched once, and rows of the output lie between two stretched ones.

use std::ops::Range;

use super::{Build, Frame, SCRATCH_BANDS, Step, band_bytes};
use crate::Isa;
use crate::graph::{Interpolation, Quant, Resize, Tap};
use crate::kernels::rows;
use crate::kernels::stretch::{self, Columns};
use crate::program::place::{Grid, Image, Place, Reals};

/// Sources of the output's rows and columns.
#[derive(Debug)]
struct Taps {
    rows: Vec<Tap>,
    columns: Columns,
}

impl Taps {
    fn of(resize: &Resize, from: Grid, to: Grid) -> Self {
        Self { rows: resize.taps(0, from.h, to.h), columns: Columns::new(resize.taps(1, from.w, to.w)) }
    }
}

pub(super) fn build(build: &Build<'_>, resize: &Resize) -> Result<Box<dyn Step>, String> {
    let linear = resize.interpolation == Interpolation::Linear;
    let isa = build.isa;
    let scratch = |to: Grid| (build.scratch, band_bytes(scratch_bytes(to)));
    match (build.input()?, build.output) {
        (Place::Bytes(from), Place::Bytes(to)) => {
            let (from, to, taps) = (from.clone(), to.clone(), Taps::of(resize, from.grid, to.grid));
            if !linear {
                return Ok(Box::new(Nearest { from, to, taps }));
            }
            let ratio = build.from()?.scale / build.to()?.scale;
            Ok(Box::new(Bytes { isa, scratch: scratch(to.grid), from, to, taps, ratio }))
        }
        (from, Place::Reals(to)) => {
            let (source, scale, grid) = match from {
                Place::Bytes(image) => {
                    let quant = build.from()?;
                    (Source::Bytes(image.clone(), quant), quant.scale, image.grid)
                }
                Place::Reals(reals) => (Source::Reals(reals.clone()), 1.0, Grid::of(&reals.shape)),
            };
            let target = Grid::of(&to.shape);
            let taps = Taps::of(resize, grid, target);
            Ok(Box::new(Planes { isa, source, to: to.clone(), taps, scale, scratch: scratch(target) }))
        }
        _ => Err("it makes bytes of real numbers".into()),
    }
}

/// Two stretched rows: of all channels for bytes, of one for real numbers, which are as many at least.
pub(super) fn scratch_bytes(to: Grid) -> usize {
    2 * size_of::<f32>() * to.w * to.c
}

/// Every pixel is one of the input's.
#[derive(Debug)]
struct Nearest {
    from: Image,
    to: Image,
    taps: Taps,
}

impl Step for Nearest {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.to.shape.iter().product::<usize>() / 8
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, _: usize) {
        let grid = self.to.grid;
        for line in lines {
            let (n, y) = (line / grid.h, line % grid.h);
            let start = self.from.row_start(n, self.taps.rows[y].first) - self.from.span.start;
            // SAFETY: a step does not write what it reads, and the lines are this band's.
            unsafe {
                let (input, output) = (&frame.bytes(&self.from)[start..], frame.row_mut(&self.to, n, y));
                for (x, tap) in self.taps.columns.taps().iter().enumerate() {
                    let pixel = &input[tap.first * self.from.pixel..][..grid.c];
                    output[x * self.to.pixel..][..grid.c].copy_from_slice(pixel);
                }
                frame.fill_margins(&self.to, n, y);
            }
        }
    }
}

/// Which row of the input each of the two stretched ones is.
#[derive(Default)]
struct Stretched([Option<(usize, usize)>; 2]);

impl Stretched {
    /// The places of two rows, which `stretch` fills where they are not there yet.
    fn pair(&mut self, n: usize, tap: Tap, mut stretch: impl FnMut(usize, usize)) -> [usize; 2] {
        let wanted = [(n, tap.first), (n, tap.second)];
        let mut places = [0; 2];
        for (i, row) in wanted.into_iter().enumerate() {
            places[i] = self.0.iter().position(|have| *have == Some(row)).unwrap_or_else(|| {
                let keep = wanted[1 - i];
                let place = usize::from(self.0[0] == Some(keep));
                stretch(place, row.1);
                self.0[place] = Some(row);
                place
            });
        }
        places
    }
}

/// Bytes to bytes.
#[derive(Debug)]
struct Bytes {
    isa: Isa,
    from: Image,
    to: Image,
    taps: Taps,
    ratio: f32,
    /// Where it begins, and bytes of a band.
    scratch: (usize, usize),
}

impl Step for Bytes {
    fn lines(&self) -> usize {
        self.to.grid.rows()
    }

    fn work(&self) -> usize {
        self.to.shape.iter().product::<usize>()
    }

    fn most_bands(&self) -> usize {
        SCRATCH_BANDS
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, band: usize) {
        let Grid { h, w, c, .. } = self.to.grid;
        let own = self.scratch.0 + band * self.scratch.1;
        // SAFETY: a step does not write what it reads, and the memory is this band's.
        let (input, own) = unsafe { (frame.bytes(&self.from), frame.numbers_mut::<f32>(own, 2 * w * c)) };
        let mut stretched = Stretched::default();
        for line in lines {
            let (n, y) = (line / h, line % h);
            let tap = self.taps.rows[y];
            let places = stretched.pair(n, tap, |place, row| {
                let start = self.from.row_start(n, row) - self.from.span.start;
                let to = &mut own[place * w * c..][..w * c];
                let (pixel, zero) = (self.from.pixel, self.from.zero);
                rows::widen_bytes(self.isa, to, &input[start..], pixel, c, zero, self.taps.columns.taps());
            });
            let [first, second] = places.map(|place| &own[place * w * c..][..w * c]);
            // SAFETY: the lines are this band's.
            let output = unsafe { frame.row_mut(&self.to, n, y) };
            if self.to.pixel == c {
                rows::blend_bytes(
                    self.isa,
                    &mut output[..w * c],
                    first,
                    second,
                    tap.weight,
                    self.ratio,
                    self.to.zero,
                );
            } else {
                for x in 0..w {
                    let [first, second] = [first, second].map(|row| &row[x * c..][..c]);
                    let to = &mut output[x * self.to.pixel..][..c];
                    rows::blend_bytes(self.isa, to, first, second, tap.weight, self.ratio, self.to.zero);
                }
            }
            // SAFETY: as above.
            unsafe { frame.fill_margins(&self.to, n, y) };
        }
    }
}

#[derive(Debug)]
enum Source {
    Bytes(Image, Quant),
    Reals(Reals),
}

/// To real numbers, plane by plane.
#[derive(Debug)]
struct Planes {
    isa: Isa,
    source: Source,
    to: Reals,
    taps: Taps,
    scale: f32,
    scratch: (usize, usize),
}

impl Planes {
    fn stretch(&self, frame: &Frame<'_>, to: &mut [f32], n: usize, channel: usize, row: usize) {
        match &self.source {
            Source::Bytes(image, quant) => {
                // SAFETY: a step does not write what it reads.
                let bytes = unsafe { frame.bytes(image) };
                let start = image.row_start(n, row) - image.span.start + channel;
                let zero = f32::from(quant.zero);
                stretch::widen(to, self.taps.columns.taps(), |column| {
                    f32::from(bytes[start + column * image.pixel]) - zero
                });
            }
            Source::Reals(reals) => {
                let [by_n, by_row, _, by_channel] = reals.steps();
                let start = n * by_n + channel * by_channel + row * by_row;
                let columns = Grid::of(&reals.shape).w;
                // SAFETY: a step does not write what it reads.
                let values = unsafe { &frame.reals(reals)[start..start + columns] };
                stretch::widen_reals(self.isa, to, values, &self.taps.columns);
            }
        }
    }
}

impl Step for Planes {
    /// Planes' rows, so that threads share few planes too.
    fn lines(&self) -> usize {
        let grid = Grid::of(&self.to.shape);
        grid.n * grid.c * grid.h
    }

    fn work(&self) -> usize {
        self.to.len() / 2
    }

    fn most_bands(&self) -> usize {
        SCRATCH_BANDS
    }

    fn run(&self, frame: &Frame<'_>, lines: Range<usize>, band: usize) {
        let Grid { h, w, c, .. } = Grid::of(&self.to.shape);
        let own = self.scratch.0 + band * self.scratch.1;
        // SAFETY: the memory is this band's.
        let own = unsafe { frame.numbers_mut::<f32>(own, 2 * w) };
        let mut stretched = Stretched::default();
        for line in lines {
            let (plane, y) = (line / h, line % h);
            let tap = self.taps.rows[y];
            let places = stretched.pair(plane, tap, |place, row| {
                self.stretch(frame, &mut own[place * w..][..w], plane / c, plane % c, row);
            });
            let [first, second] = places.map(|place| &own[place * w..][..w]);
            // SAFETY: the lines are this band's.
            let to = unsafe { frame.reals_mut(&self.to, line * w..(line + 1) * w) };
            rows::blend_reals(self.isa, to, first, second, tap.weight, self.scale);
        }
    }
}
