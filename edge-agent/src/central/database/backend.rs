use std::future::Future;
use std::pin::Pin;

use super::DatabaseError;

/// What a statement is given and what a row holds: all that the tables need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// No value.
    Null,
    /// A number: times are milliseconds since 1970, UTC.
    Int(i64),
    /// Text.
    Text(String),
}

/// One row of an answer.
pub(super) type Row = Vec<Value>;

/// A future of a backend.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, DatabaseError>> + Send + 'a>>;

/// One connection to a database. SQL is what SQLite and PostgreSQL have in common, with parameters `$1`, `$2`, …
/// that first occur in this order (SQLite numbers them so).
pub(super) trait Backend: Send {
    /// Makes the connection usable, if it is not, with the tables in place and no transaction open.
    fn prepare(&mut self) -> Answer<'_, ()>;

    /// Runs statements without parameters.
    fn batch<'a>(&'a mut self, sql: &'a str) -> Answer<'a, ()>;

    /// Runs a statement and gives the number of rows that it changed.
    fn execute<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, u64>;

    /// Runs a query.
    fn query<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, Vec<Row>>;
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
