use std::fmt;

use serde::{Deserialize, Serialize};

use super::DatasetError;

/// Text with `{column}` placeholders, filled from a row of `labels.csv`; `{class}` is the data set's own
/// name of a mask. Example: `{source}/mask/{class}/{filename}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(String),
}

impl Template {
    /// Parses `text`.
    pub fn new(text: impl Into<String>) -> Result<Self, DatasetError> {
        let text = text.into();
        let bad = |reason| DatasetError::Template { template: text.clone(), reason };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('{') {
            let (literal, after) = (&rest[..open], &rest[open + 1..]);
            if literal.contains('}') {
                return Err(bad("a } without {"));
            }
            let close = after.find('}').ok_or_else(|| bad("a { without }"))?;
            if after[..close].is_empty() || after[..close].contains('{') {
                return Err(bad("a placeholder is {column}"));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Field(after[..close].to_owned()));
            rest = &after[close + 1..];
        }
        if rest.contains('}') {
            return Err(bad("a } without {"));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts, text })
    }

    /// The columns it needs.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Fills the placeholders; a field that `value` does not know stays empty (columns are checked once,
    /// when the table is opened).
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Field(name) => value(name).unwrap_or_default(),
            })
            .collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Template {
    type Error = DatasetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_order() {
        let template = Template::new("{source}/mask/{class}/{filename}").unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["source", "class", "filename"]);
        let filled = template.fill(|name| match name {
            "source" => Some("jsrt"),
            "class" => Some("heart"),
            "filename" => Some("a.png"),
            _ => None,
        });
        assert_eq!(filled, "jsrt/mask/heart/a.png");
    }

    #[test]
    fn text_without_placeholders_is_itself() {
        assert_eq!(Template::new("jsrt").unwrap().fill(|_| None), "jsrt");
    }

    #[test]
    fn unbalanced_braces_are_refused() {
        for text in ["{a", "a}", "{}", "{a{b}", "{a}}"] {
            assert!(Template::new(text).is_err(), "{text}");
        }
    }
}
