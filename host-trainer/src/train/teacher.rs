use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use super::{ModelFile, TrainError};

/// A network to imitate.
#[derive(Clone, Debug)]
pub struct Teacher {
    /// The network.
    pub model: ModelFile,
    /// The classes that it teaches, by label; empty: all.
    pub classes: Vec<String>,
}

/// Where a teacher lies and what it teaches: `FILE`, or `FILE=CLASS,CLASS…` for one of some classes only. The weights that
/// are best for one class are seldom best for another: what is rare overfits first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeacherFile {
    /// The model file.
    pub path: PathBuf,
    /// The classes that it teaches, by label; empty: all.
    pub classes: Vec<String>,
}

impl TeacherFile {
    /// A teacher of all classes.
    pub fn of_all(path: PathBuf) -> Self {
        Self { path, classes: Vec::new() }
    }

    /// Reads the model.
    ///
    /// # Errors
    /// If the file cannot be read or is no model.
    pub fn load(&self) -> Result<Teacher, TrainError> {
        Ok(Teacher { model: ModelFile::load(&self.path)?, classes: self.classes.clone() })
    }
}

impl FromStr for TeacherFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // A name of the file system may have the sign too; what stands behind the last one has to be labels.
        let label = |label: &str| !label.is_empty() && !label.contains(['/', '.', '\\']);
        Ok(match text.rsplit_once('=') {
            Some((path, classes)) if classes.split(',').all(label) => {
                Self { path: path.into(), classes: classes.split(',').map(str::to_owned).collect() }
            }
            _ => Self::of_all(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stand_behind_the_file() {
        let read = |text: &str| {
            let file: TeacherFile = text.parse().unwrap();
            (file.path.display().to_string(), file.classes.join(" "))
        };
        let is = |path: &str, classes: &str| (path.to_owned(), classes.to_owned());
        assert_eq!(read("runs/a/best.safetensors"), is("runs/a/best.safetensors", ""));
        assert_eq!(read("a.safetensors=heart,left_lung"), is("a.safetensors", "heart left_lung"));
        assert_eq!(read("lr=0.1/best.safetensors"), is("lr=0.1/best.safetensors", ""));
        assert_eq!(read("lr=1/a.safetensors=heart"), is("lr=1/a.safetensors", "heart"));
    }
}
