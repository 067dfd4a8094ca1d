use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backend::{Answer, Backend, Row, Value};
use super::{DatabaseError, schema};
use crate::central::config::DatabaseConfig;
use crate::tls::{client_config, secret};

/// For a server to answer anything at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// Key of the lock under which tables are made, so that two instances do not both try.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(7310589043)";

/// A server, connected to again when the connection was lost.
pub(super) struct Postgres {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    connection: Option<Connection>,
}

struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Whether a transaction may be open.
    dirty: bool,
}

impl Postgres {
    pub(super) fn new(url: &str, settings: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let mut config: Config = url.parse().map_err(|_| {
            // The message of the library may quote the password.
            DatabaseError::Url("it is no PostgreSQL URL: write postgresql://USER@HOST:PORT/NAME".into())
        })?;
        config.connect_timeout(Duration::from_secs(10)).application_name("cxr-central");
        if let Some(path) = &settings.password_file {
            let password = secret("database.password_file", path);
            config.password(password.map_err(|e| DatabaseError::Url(e.to_string()))?);
        }
        let tls = match &settings.tls {
            Some(files) => {
                config.ssl_mode(SslMode::Require);
                let client = client_config("database.tls", files)
                    .map_err(|error| DatabaseError::Url(error.to_string()))?;
                Some(MakeRustlsConnect::new((*client).clone()))
            }
            None if config.get_ssl_mode() == SslMode::Require => {
                let remedy = "it asks for TLS: name the authority in `[database.tls] ca`";
                return Err(DatabaseError::Url(remedy.into()));
            }
            None => None,
        };
        Ok(Self { config, tls, connection: None })
    }

    async fn connect(&mut self) -> Result<(), DatabaseError> {
        let client = match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(connection);
                client
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(connection);
                client
            }
        };
        // The default, said all the same: a commit is on the server's disk.
        client.batch_execute("SET synchronous_commit = on").await?;
        ensure_tables(&client).await?;
        self.connection = Some(Connection { client, statements: HashMap::new(), dirty: false });
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut Connection, DatabaseError> {
        self.connection.as_mut().ok_or(DatabaseError::Silent)
    }

    /// A connection on which something failed or timed out is not used again.
    fn settle<T>(
        &mut self,
        outcome: Result<Result<T, DatabaseError>, tokio::time::error::Elapsed>,
    ) -> Result<T, DatabaseError> {
        let outcome = outcome.unwrap_or(Err(DatabaseError::Silent));
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }
}

async fn ensure_tables(client: &Client) -> Result<(), DatabaseError> {
    client.batch_execute("BEGIN").await?;
    client.batch_execute(SCHEMA_LOCK).await?;
    let there = client.query_one("SELECT to_regclass('central_format') IS NOT NULL", &[]).await?;
    if there.try_get::<_, bool>(0)? {
        let found =
            client.query_one("SELECT version FROM central_format", &[]).await?.try_get::<_, i64>(0)?;
        if found != schema::FORMAT {
            return Err(DatabaseError::Format { place: "PostgreSQL".into(), found });
        }
    } else {
        client.batch_execute(&schema::postgres()).await?;
        client.execute("INSERT INTO central_format VALUES ($1)", &[&schema::FORMAT]).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

impl Connection {
    async fn statement(&mut self, sql: &'static str) -> Result<Statement, DatabaseError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Backend for Postgres {
    fn prepare(&mut self) -> Answer<'_, ()> {
        Box::pin(async move {
            // An abandoned transaction ends with its connection.
            self.connection = self.connection.take().filter(|c| !c.client.is_closed() && !c.dirty);
            if self.connection.is_some() {
                return Ok(());
            }
            let outcome = timeout(PATIENCE, self.connect()).await;
            self.settle(outcome)
        })
    }

    fn batch<'a>(&'a mut self, sql: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let work = async {
                let connection = self.connection()?;
                connection.dirty = true;
                connection.client.batch_execute(sql).await?;
                connection.dirty = sql == "BEGIN";
                Ok(())
            };
            let outcome = timeout(PATIENCE, work).await;
            self.settle(outcome)
        })
    }

    fn execute<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, u64> {
        Box::pin(async move {
            let work = async {
                let connection = self.connection()?;
                let statement = connection.statement(sql).await?;
                Ok(connection.client.execute_raw(&statement, values).await?)
            };
            let outcome = timeout(PATIENCE, work).await;
            self.settle(outcome)
        })
    }

    fn query<'a>(&'a mut self, sql: &'static str, values: &'a [Value]) -> Answer<'a, Vec<Row>> {
        Box::pin(async move {
            let work = async {
                let connection = self.connection()?;
                let statement = connection.statement(sql).await?;
                let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as _).collect();
                let rows = connection.client.query(&statement, &values).await?;
                rows.iter().map(row).collect()
            };
            let outcome = timeout(PATIENCE, work).await;
            self.settle(outcome)
        })
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, DatabaseError> {
    let value = |i: usize| -> Result<Value, DatabaseError> {
        Ok(match row.columns()[i].type_() {
            &Type::INT8 => row.try_get::<_, Option<i64>>(i)?.into(),
            _ => row.try_get::<_, Option<String>>(i)?.into(),
        })
    };
    (0..row.len()).map(value).collect()
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql_checked(kind, out),
            Self::Text(text) => text.to_sql_checked(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as ToSql>::accepts(kind) || <&str as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}
