use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::super::{DatasetError, Template};

/// A CSV file with a header.
pub(super) struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

/// One line under the header.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table,
    values: &'a csv::StringRecord,
}

impl Table {
    pub(super) fn read(path: &Path) -> Result<Self, DatasetError> {
        let unreadable = |source| DatasetError::Labels { path: path.to_owned(), source };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(unreadable)?;
        // Spreadsheets put a byte order mark before the first column's name.
        let name = |name: &str| name.trim_start_matches('\u{feff}').to_owned();
        let columns = reader.headers().map_err(unreadable)?.iter().map(name).collect();
        let rows = reader.records().collect::<Result<_, _>>().map_err(unreadable)?;
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// An error that names the columns there are, unless `column` is one of them.
    pub(super) fn require(&self, column: &str, wanted_by: impl Display) -> Result<(), DatasetError> {
        if self.columns.iter().any(|name| name == column) {
            return Ok(());
        }
        Err(DatasetError::NoColumn {
            path: self.path.clone(),
            column: column.to_owned(),
            wanted_by: wanted_by.to_string(),
            columns: self.columns.join(", "),
        })
    }

    /// As [`Table::require`] for every placeholder but `given`.
    pub(super) fn require_fields(&self, template: &Template, given: &str) -> Result<(), DatasetError> {
        template
            .fields()
            .filter(|&field| field != given)
            .try_for_each(|field| self.require(field, format_args!("the template \"{template}\"")))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { table: self, values })
    }
}

impl<'a> Row<'a> {
    /// The value in a column; none if there is no such column.
    pub(super) fn get(&self, column: &str) -> Option<&'a str> {
        let at = self.table.columns.iter().position(|name| name == column)?;
        self.values.get(at)
    }

    pub(super) fn fill(&self, template: &Template) -> String {
        template.fill(|field| self.get(field))
    }

    /// The line's name in messages.
    pub(super) fn place(&self) -> String {
        let line = self.values.position().map_or(0, csv::Position::line);
        format!("{} line {line}", self.table.path.display())
    }
}
