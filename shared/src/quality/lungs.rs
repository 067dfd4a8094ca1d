use super::scene::Scene;
use crate::anatomy::Structures;
use crate::mask::{BBox, Mask};

/// Both lungs and the heart on the scene's grid. The sides are those of the image, not of the labels.
pub(super) struct Lungs {
    /// At the image's left, where the patient's right belongs.
    pub(super) left: Region,
    /// At the image's right.
    pub(super) right: Region,
    /// Whether the labels say the opposite of the sides.
    pub(super) swapped: bool,
    /// None if the model does not segment it or it was not found.
    pub(super) heart: Option<Region>,
    /// The smallest box around both lungs.
    pub(super) thorax: BBox,
    /// Rows in which both lungs are, from the top.
    pub(super) shared: Vec<SharedRow>,
}

/// A mask with its shape.
pub(super) struct Region {
    pub(super) mask: Mask,
    pub(super) bbox: BBox,
    pub(super) area: f64,
    /// Centroid, in pixels.
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A row in which both lungs are: columns from the first to behind the last, and pixels of each.
pub(super) struct SharedRow {
    pub(super) row: usize,
    pub(super) left: std::ops::Range<usize>,
    pub(super) right: std::ops::Range<usize>,
    pub(super) left_area: usize,
    pub(super) right_area: usize,
}

impl Region {
    fn new(mask: &Mask, scene: &Scene) -> Option<Self> {
        let mask = mask.resize_nearest(scene.rows, scene.cols);
        let bbox = mask.bbox()?;
        let (mut x, mut y) = (0.0, 0.0);
        for (row, col) in pixels(&mask) {
            x += col as f64 + 0.5;
            y += row as f64 + 0.5;
        }
        let area = mask.area() as f64;
        Some(Self { mask, bbox, area, x: x / area, y: y / area })
    }

    /// Angle of the longest axis against the image's columns, degrees, −90..=90, positive if its upper end
    /// leans to the image's left.
    pub(super) fn lean(&self) -> f64 {
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (row, col) in pixels(&self.mask) {
            let (x, y) = (col as f64 + 0.5 - self.x, row as f64 + 0.5 - self.y);
            xx += x * x;
            xy += x * y;
            yy += y * y;
        }
        0.5 * (2.0 * xy).atan2(yy - xx).to_degrees()
    }

    /// Share of the box that is filled, above 0 to 1.
    pub(super) fn fill(&self) -> f64 {
        self.area / (self.bbox.width * self.bbox.height) as f64
    }

    /// Mean width in pixels over the rows that it spans.
    pub(super) fn mean_width(&self) -> f64 {
        self.area / self.bbox.height as f64
    }
}

impl Lungs {
    /// None if a lung is not segmented or not found.
    pub(super) fn of(structures: &Structures<'_>, scene: &Scene) -> Option<Self> {
        let left = Region::new(structures.right_lung?, scene)?;
        let right = Region::new(structures.left_lung?, scene)?;
        let swapped = right.x < left.x;
        let (left, right) = if swapped { (right, left) } else { (left, right) };
        let heart = structures.heart.and_then(|mask| Region::new(mask, scene));
        let (thorax, shared) = (join(left.bbox, right.bbox), shared_rows(&left.mask, &right.mask));
        Some(Self { left, right, swapped, heart, thorax, shared })
    }

    /// The middle between the outer borders, in columns.
    pub(super) fn midline(&self) -> f64 {
        self.thorax.x as f64 + 0.5 * self.thorax.width as f64
    }

    /// Height of the taller lung.
    pub(super) fn height(&self) -> usize {
        self.left.bbox.height.max(self.right.bbox.height)
    }

    /// Grey values of both lungs.
    pub(super) fn grey(&self, scene: &Scene) -> Vec<f32> {
        let lungs = self.left.mask.data().iter().zip(self.right.mask.data());
        lungs.zip(&scene.grey).filter(|((a, b), _)| **a | **b != 0).map(|(_, &grey)| grey).collect()
    }

    /// Grey values between the lungs: the mediastinum with the heart.
    pub(super) fn grey_between(&self, scene: &Scene) -> Vec<f32> {
        let between = |row: &SharedRow| {
            let line = &scene.grey[row.row * scene.cols..][..scene.cols];
            line.get(row.left.end..row.right.start).unwrap_or_default()
        };
        self.shared.iter().flat_map(between).copied().collect()
    }
}

fn shared_rows(left: &Mask, right: &Mask) -> Vec<SharedRow> {
    let extent = |mask: &Mask, row: usize| {
        let line = &mask.data()[row * mask.cols()..][..mask.cols()];
        let first = line.iter().position(|&v| v != 0)?;
        let last = line.iter().rposition(|&v| v != 0)?;
        Some((first..last + 1, line.iter().filter(|&&v| v != 0).count()))
    };
    let row = |row| {
        let ((left, left_area), (right, right_area)) = (extent(left, row)?, extent(right, row)?);
        Some(SharedRow { row, left, right, left_area, right_area })
    };
    (0..left.rows()).filter_map(row).collect()
}

fn pixels(mask: &Mask) -> impl Iterator<Item = (usize, usize)> {
    let cols = mask.cols();
    mask.data().iter().enumerate().filter(|(_, v)| **v != 0).map(move |(i, _)| (i / cols, i % cols))
}

fn join(a: BBox, b: BBox) -> BBox {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    BBox {
        x,
        y,
        width: (a.x + a.width).max(b.x + b.width) - x,
        height: (a.y + a.height).max(b.y + b.height) - y,
    }
}
