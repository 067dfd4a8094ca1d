use super::lungs::{Lungs, Region};
use super::spec::QualitySpec;

/// Whether a lung touches the upper border with a good part of its width: a whole apex ends in a narrow dome.
pub(super) fn apex(lungs: &Lungs, spec: &QualitySpec) -> bool {
    let touches = |lung: &Region| {
        let (rows, cols) = (lung.mask.rows(), lung.mask.cols());
        let margin = margin(rows, spec);
        let columns = (0..cols).filter(|&col| (0..margin).any(|row| lung.mask.get(row, col)));
        columns.count() as f64 / lung.bbox.width as f64 >= spec.apex_contact
    };
    touches(&lungs.left) || touches(&lungs.right)
}

/// Whether a lung comes to the lower border at all: costophrenic angles are narrow, and a field that ends at
/// one has cut it off more often than not.
pub(super) fn base(lungs: &Lungs, spec: &QualitySpec) -> bool {
    let rows = lungs.left.mask.rows();
    lungs.thorax.y + lungs.thorax.height > rows - margin(rows, spec)
}

/// Rows that count as the border.
fn margin(rows: usize, spec: &QualitySpec) -> usize {
    ((spec.border_margin * rows as f64).round() as usize).clamp(1, rows)
}
