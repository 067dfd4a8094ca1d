/// A binary mask, row-major, one byte a pixel: 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    rows: usize,
    cols: usize,
    data: Vec<u8>,
}

/// The smallest upright box that holds a mask, in pixels: `[x, y, width, height]` as COCO writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BBox {
    /// Leftmost column.
    pub x: usize,
    /// Topmost row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Mask {
    /// An empty mask.
    pub fn empty(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0; rows * cols] }
    }

    /// From row-major values; any non-zero byte is foreground.
    ///
    /// # Panics
    /// If `data` does not hold `rows × cols` values.
    pub fn from_data(rows: usize, cols: usize, mut data: Vec<u8>) -> Self {
        assert_eq!(data.len(), rows * cols, "a mask of {rows} × {cols} needs as many values");
        for v in &mut data {
            *v = u8::from(*v != 0);
        }
        Self { rows, cols, data }
    }

    /// From a predicate over (row, column).
    pub fn from_fn(rows: usize, cols: usize, mut f: impl FnMut(usize, usize) -> bool) -> Self {
        let mut data = Vec::with_capacity(rows * cols);
        for r in 0..rows {
            data.extend((0..cols).map(|c| u8::from(f(r, c))));
        }
        Self { rows, cols, data }
    }

    /// From an 8-bit grey picture: foreground is above 127.
    pub fn from_gray(image: &image::GrayImage) -> Self {
        let data = image.as_raw().iter().map(|&v| u8::from(v > 127)).collect();
        Self { rows: image.height() as usize, cols: image.width() as usize, data }
    }

    /// As an 8-bit grey picture of 0 and 255.
    pub fn to_gray(&self) -> image::GrayImage {
        let data = self.data.iter().map(|&v| v * 255).collect();
        image::GrayImage::from_raw(self.cols as u32, self.rows as u32, data)
            .expect("rows × cols values by construction")
    }

    /// Rows (height).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (width).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row-major values, 0 or 1.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether the pixel is foreground.
    ///
    /// # Panics
    /// If (row, col) lies outside.
    pub fn get(&self, row: usize, col: usize) -> bool {
        assert!(col < self.cols, "column {col} outside {} columns", self.cols);
        self.data[row * self.cols + col] != 0
    }

    /// Sets one pixel.
    ///
    /// # Panics
    /// If (row, col) lies outside.
    pub fn set(&mut self, row: usize, col: usize, value: bool) {
        assert!(col < self.cols, "column {col} outside {} columns", self.cols);
        self.data[row * self.cols + col] = u8::from(value);
    }

    /// The values of one row, to be left 0 or 1.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [u8] {
        &mut self.data[row * self.cols..][..self.cols]
    }

    /// Foreground pixels.
    pub fn area(&self) -> usize {
        self.data.iter().map(|&v| usize::from(v)).sum()
    }

    /// Whether no pixel is foreground.
    pub fn is_empty(&self) -> bool {
        self.data.iter().all(|&v| v == 0)
    }

    /// Pixels in both masks.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn intersection(&self, other: &Self) -> usize {
        self.zip(other).filter(|(a, b)| *a & *b != 0).count()
    }

    /// Pixels in either mask.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn union(&self, other: &Self) -> usize {
        self.zip(other).filter(|(a, b)| *a | *b != 0).count()
    }

    /// Intersection over union; 1 when both are empty.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn iou(&self, other: &Self) -> f64 {
        match self.union(other) {
            0 => 1.0,
            union => self.intersection(other) as f64 / union as f64,
        }
    }

    /// Adds the other mask's foreground.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "masks of different size");
        for (a, b) in self.data.iter_mut().zip(&other.data) {
            *a |= b;
        }
    }

    /// Removes the other mask's foreground.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn subtract(&mut self, other: &Self) {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "masks of different size");
        for (a, b) in self.data.iter_mut().zip(&other.data) {
            *a &= 1 - b;
        }
    }

    /// Nearest-neighbour resampling at pixel centres; a mask without pixels gives background.
    pub fn resize_nearest(&self, rows: usize, cols: usize) -> Self {
        if (rows, cols) == (self.rows, self.cols) {
            return self.clone();
        }
        if self.data.is_empty() {
            return Self::empty(rows, cols);
        }
        let source = |i: usize, n: usize, from: usize| (2 * i + 1) * from / (2 * n);
        let columns: Vec<usize> = (0..cols).map(|c| source(c, cols, self.cols)).collect();
        Self::from_fn(rows, cols, |r, c| self.data[source(r, rows, self.rows) * self.cols + columns[c]] != 0)
    }

    /// The smallest box around the foreground; none if empty.
    pub fn bbox(&self) -> Option<BBox> {
        let mut bounds: Option<(usize, usize, usize, usize)> = None;
        for (r, line) in self.data.chunks_exact(self.cols.max(1)).enumerate() {
            let Some(first) = memchr::memchr(1, line) else { continue };
            let last = memchr::memrchr(1, line).unwrap_or(first);
            let (x0, y0, x1, _) = bounds.unwrap_or((first, r, last, r));
            bounds = Some((x0.min(first), y0, x1.max(last), r));
        }
        bounds.map(|(x0, y0, x1, y1)| BBox { x: x0, y: y0, width: x1 - x0 + 1, height: y1 - y0 + 1 })
    }

    fn zip<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u8, u8)> + 'a {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "masks of different size");
        self.data.iter().copied().zip(other.data.iter().copied())
    }
}

/// Runs of foreground in a line of values that are 0 or 1, each from a place to before another.
pub(super) fn each_run(line: &[u8], mut run: impl FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(skip) = memchr::memchr(1, &line[at..]) {
        let start = at + skip;
        at = memchr::memchr(0, &line[start..]).map_or(line.len(), |length| start + length);
        run(start, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_counts_pixels_and_two_empty_masks_agree() {
        let (a, b) = (Mask::from_fn(2, 4, |_, c| c < 2), Mask::from_fn(2, 4, |_, c| c == 1 || c == 2));
        assert_eq!((a.area(), a.intersection(&b), a.union(&b)), (4, 2, 6));
        assert!((a.iou(&b) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Mask::empty(2, 4).iou(&Mask::empty(2, 4)), 1.0);
    }

    #[test]
    fn the_box_is_tight() {
        let mask = Mask::from_fn(6, 9, |r, c| (r, c) == (1, 7) || (r, c) == (4, 3));
        assert_eq!(mask.bbox(), Some(BBox { x: 3, y: 1, width: 5, height: 4 }));
        assert_eq!(Mask::empty(6, 9).bbox(), None);
    }

    #[test]
    fn resampling_keeps_halves_and_takes_any_size() {
        let half = Mask::from_fn(4, 6, |_, c| c < 3);
        for (rows, cols) in [(8, 12), (2, 2), (1, 10)] {
            assert_eq!(half.resize_nearest(rows, cols), Mask::from_fn(rows, cols, |_, c| c < cols / 2));
        }
        assert_eq!(half.resize_nearest(0, 6), Mask::empty(0, 6));
        assert_eq!(Mask::empty(0, 0).resize_nearest(3, 2), Mask::empty(3, 2));
    }

    #[test]
    fn pictures_keep_the_mask() {
        let mask = Mask::from_fn(3, 5, |r, c| (r + c) % 2 == 0);
        assert_eq!(Mask::from_gray(&mask.to_gray()), mask);
    }
}
