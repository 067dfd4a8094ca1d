//! Writes the JSON Schemas and the AsyncAPI document of the messages into `shared/contract/`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
    std::fs::create_dir_all(&folder)?;
    for (name, document) in shared::message::contract::documents() {
        std::fs::write(folder.join(name), format!("{document:#}\n"))?;
    }
    Ok(())
}
