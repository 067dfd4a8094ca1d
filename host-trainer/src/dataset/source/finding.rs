use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::Finding;
use super::table::Row;

/// How a column says whether a finding is there.
///
/// ```toml
/// [data.covid-weak.findings]
/// lung_opacity = { column = "finding", present = ["*"], absent = ["No Finding"] }
/// ```
///
/// Numbers are compared as numbers. `*` is any value that no list names. A blank, or a value in none of the
/// lists, says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingSpec {
    /// The column.
    pub column: String,
    /// Values that say it is there.
    #[serde(default = "one")]
    pub present: Vec<String>,
    /// Values that say it is not.
    #[serde(default = "zero")]
    pub absent: Vec<String>,
    /// Values that say the reader could not tell.
    #[serde(default = "minus_one")]
    pub uncertain: Vec<String>,
}

fn one() -> Vec<String> {
    vec!["1".into()]
}

fn zero() -> Vec<String> {
    vec!["0".into()]
}

fn minus_one() -> Vec<String> {
    vec!["-1".into()]
}

impl FindingSpec {
    /// What `value` says; nothing if unknown.
    pub fn read(&self, value: &str) -> Option<Finding> {
        let value = value.trim();
        if value.is_empty() {
            return None;
        }
        let lists = self.lists();
        let named = lists.iter().find(|(list, _)| list.iter().any(|item| same(item, value)));
        let rest = || lists.iter().find(|(list, _)| list.iter().any(|item| item == "*"));
        named.or_else(rest).map(|(_, finding)| *finding)
    }

    /// A value that two lists claim.
    pub(super) fn ambiguous(&self) -> Option<&str> {
        let lists = self.lists();
        let items =
            lists.iter().enumerate().flat_map(|(i, (list, _))| list.iter().map(move |item| (i, item)));
        items
            .filter(|(i, item)| {
                lists[..*i].iter().any(|(list, _)| list.iter().any(|other| same(other, item)))
            })
            .map(|(_, item)| item.as_str())
            .next()
    }

    fn lists(&self) -> [(&[String], Finding); 3] {
        [
            (&self.present, Finding::Present),
            (&self.absent, Finding::Absent),
            (&self.uncertain, Finding::Uncertain),
        ]
    }
}

/// Equal as text, or as numbers: CheXpert writes 1.0, others 1.
fn same(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

/// The findings of a row.
pub(super) fn read_findings(
    specs: &BTreeMap<String, FindingSpec>,
    row: Row<'_>,
) -> BTreeMap<String, Finding> {
    let read =
        |(label, spec): (&String, &FindingSpec)| Some((label.clone(), spec.read(row.get(&spec.column)?)?));
    specs.iter().filter_map(read).collect()
}

/// The first five values of a column that has values, but none that the finding knows.
pub(super) fn unrecognised(spec: &FindingSpec, rows: &[Row<'_>]) -> Option<String> {
    const SHOWN: usize = 5;
    let mut seen: Vec<&str> = Vec::new();
    for value in rows.iter().filter_map(|row| row.get(&spec.column)) {
        let value = value.trim();
        if spec.read(value).is_some() {
            return None;
        }
        if !value.is_empty() && seen.len() < SHOWN && !seen.contains(&value) {
            seen.push(value);
        }
    }
    (!seen.is_empty()).then(|| seen.join(", "))
}

/// The attributes of a row: name → column. A blank is left out.
pub(super) fn read_attributes(columns: &BTreeMap<String, String>, row: Row<'_>) -> BTreeMap<String, String> {
    let read = |(name, column): (&String, &String)| {
        Some((name.clone(), row.get(column).filter(|value| !value.is_empty())?.to_owned()))
    };
    columns.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> FindingSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn numbers_blanks_and_other_values() {
        let spec = spec("column = \"a\"");
        for (value, finding) in [
            ("1", Some(Finding::Present)),
            ("1.0", Some(Finding::Present)),
            ("0.0", Some(Finding::Absent)),
            ("-1.0", Some(Finding::Uncertain)),
            ("", None),
            ("  ", None),
            ("2", None),
            ("yes", None),
        ] {
            assert_eq!(spec.read(value), finding, "{value:?}");
        }
    }

    #[test]
    fn a_star_takes_what_no_list_names_but_never_a_blank() {
        let spec = spec("column = \"a\"\npresent = [\"*\"]\nabsent = [\"No Finding\"]");
        assert_eq!(spec.read("COVID-19, ARDS"), Some(Finding::Present));
        assert_eq!(spec.read("No Finding"), Some(Finding::Absent));
        assert_eq!(spec.read("-1"), Some(Finding::Uncertain));
        assert_eq!(spec.read(""), None);
    }

    #[test]
    fn a_value_in_two_lists_is_found() {
        assert_eq!(spec("column = \"a\"\npresent = [\"Y\", \"0.0\"]").ambiguous(), Some("0"));
        assert_eq!(spec("column = \"a\"").ambiguous(), None);
    }
}
