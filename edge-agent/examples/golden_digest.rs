//! Analyses a bundle's golden images as the agent does and prints a SHA-256 of the logits and of the masks of each. They are
//! the same on every processor and with every `CXR_ISA`.
//!
//! ```text
//! cargo run --release -p edge-agent --example golden_digest -- models/chexseg-edge
//! ```

use std::error::Error;
use std::path::Path;

use edge_agent::infer::{Analyzer, AnalyzerOptions};
use shared::bundle::{Bundle, sha256_hex};
use shared::mask::Rle;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("which bundle?")?;
    let bundle = Bundle::open(Path::new(&dir))?;
    let mut analyzer = Analyzer::with_tract(&bundle, 1, AnalyzerOptions::default())?;
    eprintln!("{}", analyzer.engine());
    for case in bundle.golden()? {
        let name = case.input.to_string_lossy();
        let analysis = analyzer.analyze(&bundle.read(&name)?)?;
        let logits: Vec<u8> = analysis.logits.data.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        let masks: Vec<Rle> = analysis.results.iter().map(|result| Rle::encode(&result.mask)).collect();
        let masks = serde_json::to_vec(&masks)?;
        println!("{name} logits {} masks {}", sha256_hex(&logits), sha256_hex(&masks));
    }
    Ok(())
}
