//! A configuration that changes another one: `base = "other.toml"`, beside it, is read first, and what stands in the file
//! itself goes over that. Tables are joined key by key, everything else (lists too) is replaced.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::variants::merge;
use super::{Config, ConfigError};

const KEY: &str = "base";

/// Reads a configuration with what it builds on; nothing is validated yet.
pub(super) fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = read_text(path)?;
    let wrong = |source: toml::de::Error| ConfigError::Parse { path: path.to_owned(), source: source.into() };
    // A file on its own is read from its text, so that messages show the line.
    let table: Table = toml::from_str(&text).map_err(wrong)?;
    if !table.contains_key(KEY) {
        return toml::from_str(&text).map_err(wrong);
    }
    joined(path, table, &mut Vec::new())?.try_into().map_err(wrong)
}

fn joined(path: &Path, mut table: Table, above: &mut Vec<PathBuf>) -> Result<Table, ConfigError> {
    let Some(base) = table.remove(KEY) else { return Ok(table) };
    let bad = |reason: String| ConfigError::Field { field: KEY.to_owned(), reason };
    let Value::String(base) = base else { return Err(bad("must be the name of a file".into())) };
    above.push(path.to_owned());
    let base = path.with_file_name(base);
    if above.contains(&base) {
        return Err(bad(format!("{} builds on itself", base.display())));
    }
    let below = toml::from_str(&read_text(&base)?)
        .map_err(|source| ConfigError::Parse { path: base.clone(), source: Box::new(source) })?;
    let mut whole = joined(&base, below, above)?;
    merge(&mut whole, &table);
    Ok(whole)
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::MINIMAL;

    #[test]
    fn what_a_file_says_goes_over_what_it_builds_on() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let load = |name: &str| Config::load(&dir.path().join(name)).map_err(|error| error.to_string());
        write("a.toml", &format!("{MINIMAL}[train]\nsteps = 7\nbatch = 4\n"));
        write("b.toml", "base = \"a.toml\"\nname = \"b\"\n[train]\nsteps = 9\n");
        write("c.toml", "base = \"b.toml\"\nseed = 3\n");
        let (a, c) = (load("a.toml").unwrap(), load("c.toml").unwrap());
        assert_eq!((c.name.as_str(), c.seed, c.train.steps, c.train.batch), ("b", 3, 9, 4));
        assert_eq!((a.train.steps, &c.classes), (7, &a.classes));

        for (text, part) in [
            ("base = \"none.toml\"", "none.toml"),
            ("base = 3", "base: must be the name of a file"),
            ("base = \"d.toml\"", "d.toml builds on itself"),
            ("base = \"a.toml\"\nnamee = \"x\"", "namee"),
            ("base = \"a.toml\"\n[train]\nsteps = 0", "train.steps"),
        ] {
            write("d.toml", text);
            let error = load("d.toml").unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
