//! Islands as operators of tract.

mod expansion;
mod operator;
mod shapes;

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

pub(crate) use expansion::Expand;

use crate::graph::{Island, Kind};
use crate::{Isa, Pool};

/// An island, and what it is run with.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) island: Arc<Island>,
    pub(crate) isa: Isa,
    pub(crate) pool: Arc<Pool>,
}

/// How tract calls what a value holds.
fn datum_type(kind: &Kind) -> DatumType {
    match kind {
        Kind::Real => DatumType::F32,
        Kind::Bytes { signed: false, .. } => DatumType::U8,
        Kind::Bytes { signed: true, .. } => DatumType::I8,
    }
}

impl Runner {
    fn inputs(&self) -> impl Iterator<Item = DatumType> + '_ {
        self.island.inputs.iter().map(|value| datum_type(&self.island.values[*value].kind))
    }

    fn outputs(&self) -> impl Iterator<Item = DatumType> + '_ {
        self.island.outputs.iter().map(|value| datum_type(&self.island.values[*value].kind))
    }
}
