//! Every form of a network that an export considers, with what each is worth.

mod climb;
mod finetune;
mod rung;

use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

pub use climb::Climb;
pub use rung::Rung;

/// Arithmetic of the shipped graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum QuantizeChoice {
    /// 32-bit floats.
    None,
    /// 8-bit activations and weights, in the form that is best on validation.
    #[default]
    Int8,
}

/// The network in f32 and in 8 bits, rung by rung: by each calibration method, then what helps the best of them.
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Rung>,
    chosen: usize,
    /// What the validation images are.
    pub validation_name: &'static str,
    /// The units that suffer most from 8 bits, by name, the worst first: mean squared error of the logits when the unit
    /// alone is quantized.
    pub sensitive: Vec<(String, f64)>,
    /// What was left out, and why.
    pub remarks: Vec<String>,
}

impl Ladder {
    /// The f32 form.
    pub fn reference(&self) -> &Rung {
        &self.rungs[0]
    }

    /// The form to ship.
    pub fn chosen(&self) -> &Rung {
        &self.rungs[self.chosen]
    }

    /// What a rung keeps of f32's mean IoU: [`Rung::kept`].
    fn kept(&self, rung: usize) -> f64 {
        self.rungs[rung].kept(self.reference())
    }

    /// All forms; the first is f32.
    pub fn rungs_mut(&mut self) -> &mut [Rung] {
        &mut self.rungs
    }

    /// For people: validation IoU of every form, what it loses against f32, its size and, if `timed`, its speed on the
    /// device's engine. Times differ from run to run, which a bundle must not.
    pub fn table(&self, labels: &[String], timed: bool) -> Table {
        let mut header = vec!["form"];
        header.extend(labels.iter().map(String::as_str));
        header.extend(["mean IoU", "points lost", "MB"]);
        header.extend(if timed { &["ms", "× f32"][..] } else { &[] });
        header.push("");
        let mut table = crate::report::table(&header, 1);
        let slowest = self.reference().latency_ms;
        for (i, rung) in self.rungs.iter().enumerate() {
            let iou = |iou: &Option<f64>| iou.map_or_else(|| "–".into(), |iou| format!("{iou:.4}"));
            let time = |value: Option<f64>, digits: usize| match value {
                Some(value) => format!("{value:.digits$}"),
                None => "–".into(),
            };
            let mut cells = vec![rung.name.clone()];
            cells.extend(rung.iou().iter().map(iou));
            cells.push(format!("{:.4}", rung.mean()));
            cells.push(format!("{:.2}", 100.0 * (self.reference().mean() - self.kept(i))));
            cells.push(format!("{:.2}", rung.bytes.len() as f64 / 1e6));
            if timed {
                cells.push(time(rung.latency_ms, 1));
                cells.push(time(rung.latency_ms.zip(slowest).map(|(own, f32)| own / f32), 2));
            }
            cells.push(if i == self.chosen { "shipped".into() } else { String::new() });
            table.add_row(cells);
        }
        if let Some(last) = table.column_mut(header.len() - 1) {
            last.set_cell_alignment(CellAlignment::Left);
        }
        table
    }
}
