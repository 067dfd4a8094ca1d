use std::path::PathBuf;

use super::DatasetError;

/// The folder that holds the data sets: `CHEXSEG_DATA`, else `shared/data` beside the working folder or the
/// nearest of its parents that has one (the workspace keeps its data next to itself, never inside).
pub fn data_root() -> Result<PathBuf, DatasetError> {
    if let Some(path) = std::env::var_os("CHEXSEG_DATA") {
        let path = PathBuf::from(path);
        return if path.is_dir() { Ok(path) } else { Err(DatasetError::RootAbsent(path)) };
    }
    let start = std::env::current_dir().unwrap_or_default();
    start
        .ancestors()
        .map(|dir| dir.join("shared").join("data"))
        .find(|dir| dir.is_dir())
        .ok_or(DatasetError::NoRoot { start })
}
