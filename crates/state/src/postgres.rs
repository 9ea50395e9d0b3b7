//! Owns PostgreSQL as the database of a state, for teams: one schema of a database, every row of it this state's.

use crate::db::{Database, DbError, Dialect, Row, Trouble, Val};
use bytes::BytesMut;
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};
use provision_diagnostic::Failure;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The schema when the URL names none.
const SCHEMA: &str = "provision";

/// A connection that is made again when it is lost.
pub struct Postgres {
    config: Config,
    schema: String,
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Postgres {
    /// Connects to `postgresql://user@host/database?schema=shop`; the password comes from the URL or from `password`.
    /// An environment has a schema of its own, `shop_production` for instance.
    pub fn connect(url: &str, password: Option<&str>, environment: Option<&str>) -> Result<Self, Failure> {
        let (plain, mut schema) = split_schema(url)?;
        if let Some(environment) = environment {
            schema = format!("{schema}_{}", environment.replace('-', "_"));
        }
        let wrong = |what: &str| {
            Failure::new("provision::config::invalid", format!("the address of the state is not valid: {what}"))
                .with_help("Write it as postgresql://user@host:5432/database?schema=shop.")
        };
        // The error of a URL may quote it, password and all.
        let mut config: Config = plain.parse().map_err(|_| wrong("it is not a PostgreSQL URL"))?;
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        config.connect_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(10));
        config.application_name("nu-provision");
        let client = open(&config, &schema).map_err(|error| error.failure("open"))?;
        Ok(Self { config, schema, client, statements: HashMap::new() })
    }

    fn statement(&mut self, sql: &str) -> Result<Statement, DbError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        // Values are written `?1` for every database.
        let statement = self.client.prepare(&sql.replace('?', "$")).map_err(trouble)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// Takes `schema=…` out of a URL.
fn split_schema(url: &str) -> Result<(String, String), Failure> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), SCHEMA.to_owned())) };
    let mut schema = SCHEMA.to_owned();
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("schema=") {
            Some(name) => schema = name.to_owned(),
            None => rest.push(pair),
        }
    }
    // It is written into statements, where values cannot stand.
    let valid = schema.starts_with(|c: char| c.is_ascii_lowercase())
        && schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && schema.len() <= 63;
    if !valid {
        return Err(Failure::new("provision::config::invalid", "the schema of the state's address is not valid")
            .with_help("Use lower-case letters, digits and `_`, starting with a letter."));
    }
    let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((plain, schema))
}

fn open(config: &Config, schema: &str) -> Result<Client, DbError> {
    let mut client = match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls),
        SslMode::Prefer | SslMode::Require => config.connect(tls()?),
        other => return Err(DbError::new(Trouble::Other, format!("sslmode {other:?} is not known"))),
    }
    .map_err(trouble)?;
    // Two that make the schema at once must not meet. A commit that was answered must survive a crash of the server.
    client
        .batch_execute(&format!(
            "set client_min_messages = warning; \
             begin; select pg_advisory_xact_lock(7023114208); create schema if not exists {schema}; commit; \
             set search_path to {schema}; \
             set synchronous_commit = on; set lock_timeout = '10s'; \
             set default_transaction_isolation = 'read committed';"
        ))
        .map_err(trouble)?;
    Ok(client)
}

fn tls() -> Result<MakeRustlsConnect, DbError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A certificate that cannot be read is trusted by nobody.
        let _ = roots.add(certificate);
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::new(Trouble::Other, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

impl ToSql for Val {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Val::Null => Ok(IsNull::Yes),
            Val::Int(value) if *kind == Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
            Val::Int(value) => value.to_sql(&Type::INT8, out),
            Val::Text(value) => value.as_str().to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What an error of PostgreSQL means for the state.
fn trouble(error: postgres::Error) -> DbError {
    let kind = match error.code() {
        Some(&SqlState::DISK_FULL) => Trouble::Full,
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::INSUFFICIENT_PRIVILEGE) => Trouble::ReadOnly,
        Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => Trouble::Corrupt,
        // The server is going down or coming up.
        Some(code) if code.code().starts_with("57P") || code.code().starts_with("08") => Trouble::Lost,
        Some(_) => Trouble::Other,
        None => Trouble::Lost,
    };
    // The source has the reason; the text alone says only "db error".
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    let message = if reason.is_empty() { error.to_string() } else { format!("{error}: {reason}") };
    DbError::new(kind, message)
}

impl Database for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn run(&mut self, sql: &str, values: &[Val]) -> Result<u64, DbError> {
        let statement = self.statement(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.client.execute(&statement, &values).map_err(trouble)
    }

    fn rows(&mut self, sql: &str, values: &[Val]) -> Result<Vec<Row>, DbError> {
        let statement = self.statement(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let found = self.client.query(&statement, &values).map_err(trouble)?;
        found
            .iter()
            .map(|row| {
                let cells = (0..row.len()).map(|at| match *row.columns()[at].type_() {
                    Type::INT8 => Ok(Val::from(row.try_get::<_, Option<i64>>(at).map_err(trouble)?)),
                    Type::INT4 => Ok(Val::from(row.try_get::<_, Option<i32>>(at).map_err(trouble)?.map(i64::from))),
                    _ => Ok(Val::from(row.try_get::<_, Option<String>>(at).map_err(trouble)?)),
                });
                cells.collect::<Result<_, DbError>>().map(Row)
            })
            .collect()
    }

    fn script(&mut self, sql: &str) -> Result<(), DbError> {
        self.client.batch_execute(sql).map_err(trouble)
    }

    fn revive(&mut self) -> Result<(), DbError> {
        if self.client.is_closed() {
            self.client = open(&self.config, &self.schema)?;
            self.statements.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_taken_out_of_the_url_and_must_be_a_name() {
        let split = |url: &str| split_schema(url).unwrap();
        assert_eq!(split("postgresql://h/d"), ("postgresql://h/d".into(), "provision".into()));
        assert_eq!(
            split("postgresql://h/d?schema=shop&sslmode=disable"),
            ("postgresql://h/d?sslmode=disable".into(), "shop".into())
        );
        let error = split_schema("postgresql://h/d?schema=a;drop").unwrap_err();
        assert_eq!(error.code(), "provision::config::invalid");
        let Err(error) = Postgres::connect("postgresql://u:canary@[", None, None) else { panic!() };
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
