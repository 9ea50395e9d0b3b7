//! Owns PostgreSQL as the database of a state, for teams: one schema of a database, every row of it this state's.

use crate::db::{Database, DbError, Dialect, Row, Trouble, Val};
use bytes::BytesMut;
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};
use provision_diagnostic::{Code, Failure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The schema when the URL names none.
const SCHEMA: &str = "provision";

/// Where the schema and the encryption are written, and the rest of the address.
#[derive(Debug, PartialEq)]
struct Address {
    plain: String,
    schema: String,
    /// Switched off in words.
    clear: bool,
    /// A file with the certificates that are trusted; the machine's own where there is none.
    roots: Option<PathBuf>,
}

/// A connection that is made again when it is lost.
pub struct Postgres {
    config: Config,
    schema: String,
    /// How a connection is encrypted; `None` where the address says `sslmode=disable`.
    tls: Option<MakeRustlsConnect>,
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Postgres {
    /// Connects to `postgresql://user@host/database?schema=shop`; the password comes from the URL or from `password`.
    /// An environment has a schema of its own, `shop_production` for instance.
    pub fn connect(url: &str, password: Option<&str>, environment: Option<&str>) -> Result<Self, Failure> {
        let Address { plain, mut schema, clear, roots } = Address::of(url)?;
        if let Some(environment) = environment {
            schema = format!("{schema}_{}", environment.replace('-', "_"));
        }
        let wrong = |what: &str| {
            Failure::new(Code::ConfigInvalid, format!("the address of the state is not valid: {what}"))
                .with_help("Write it as postgresql://user@host:5432/database?schema=shop.")
        };
        // The error of a URL may quote it, password and all.
        let mut config: Config = plain.parse().map_err(|_| wrong("it is not a PostgreSQL URL"))?;
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        config.connect_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(10));
        config.application_name("nu-provision");
        // Nobody in between may talk the two out of it.
        config.ssl_mode(if clear { SslMode::Disable } else { SslMode::Require });
        let opened = if clear { Ok(None) } else { tls(roots.as_deref()).map(Some) };
        let opened = opened.and_then(|tls| Ok((open(&config, &schema, tls.as_ref())?, tls)));
        let (client, tls) = opened.map_err(|error| error.failure("open"))?;
        Ok(Self { config, schema, tls, client, statements: HashMap::new() })
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

impl Address {
    /// Takes `schema`, `sslmode` and `sslrootcert` out of a URL: the server's certificate and its name are checked unless the
    /// URL says `sslmode=disable`.
    fn of(url: &str) -> Result<Address, Failure> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut found = Address { plain: base.to_owned(), schema: SCHEMA.to_owned(), clear: false, roots: None };
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", name)) => found.schema = name.to_owned(),
                Some(("sslmode", mode)) => found.clear = is_clear(mode)?,
                Some(("sslrootcert", "system")) => found.roots = None,
                Some(("sslrootcert", path)) => found.roots = Some(root_file(path)?),
                _ => rest.push(pair),
            }
        }
        // It is written into statements, where values cannot stand.
        let schema = &found.schema;
        let valid = schema.starts_with(|c: char| c.is_ascii_lowercase())
            && schema.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && schema.len() <= 63;
        if !valid {
            return Err(Failure::new(Code::ConfigInvalid, "the schema of the state's address is not valid")
                .with_help("Use lower-case letters, digits and `_`, starting with a letter."));
        }
        if !rest.is_empty() {
            found.plain = format!("{base}?{}", rest.join("&"));
        }
        Ok(found)
    }
}

/// Whether a mode switches encryption off. What would fall back to clear text is refused; what would check less than the
/// certificate and the name checks them all the same.
fn is_clear(mode: &str) -> Result<bool, Failure> {
    match mode {
        "disable" => Ok(true),
        "require" | "verify-ca" | "verify-full" => Ok(false),
        _ => {
            let message = format!("the state's address says `sslmode={mode}`, which does not keep the password safe");
            Err(Failure::new(Code::ConfigInvalid, message)
                .with_help("Leave sslmode out, which is verify-full, or write `sslmode=disable` for no encryption."))
        }
    }
}

fn root_file(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path.replace("%2F", "/").replace("%2f", "/"));
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Failure::new(Code::ConfigInvalid, "the sslrootcert of the state's address is not valid")
            .with_help("Give the absolute path of a file with certificates in PEM, or `system`.")),
    }
}

fn open(config: &Config, schema: &str, tls: Option<&MakeRustlsConnect>) -> Result<Client, DbError> {
    let mut client = match tls {
        None => config.connect(NoTls),
        Some(tls) => config.connect(tls.clone()),
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

/// Checks the server's certificate against these roots, or the machine's own, and its name against the address.
fn tls(file: Option<&Path>) -> Result<MakeRustlsConnect, DbError> {
    let mut roots = rustls::RootCertStore::empty();
    match file {
        Some(file) => {
            let wrong =
                |error: &dyn std::fmt::Display| DbError::new(Trouble::Insecure, format!("{}: {error}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
            }
        }
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A certificate that cannot be read is trusted by nobody.
                let _ = roots.add(certificate);
            }
        }
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
        // Said by the client itself: it comes back no other way when it is tried again.
        None if error.to_string().starts_with("error performing TLS handshake") => Trouble::Insecure,
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
            self.client = open(&self.config, &self.schema, self.tls.as_ref())?;
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
        let of = |url: &str| Address::of(url).unwrap();
        let plain = Address { plain: "postgresql://h/d".into(), schema: "provision".into(), clear: false, roots: None };
        assert_eq!(of("postgresql://h/d"), plain);
        let url = "postgresql://h/d?schema=shop&sslmode=disable&connect_timeout=3";
        let more = "postgresql://h/d?connect_timeout=3".to_owned();
        assert_eq!(of(url), Address { plain: more, schema: "shop".into(), clear: true, roots: None });
        let error = Address::of("postgresql://h/d?schema=a;drop").unwrap_err();
        assert_eq!(error.code(), Code::ConfigInvalid);
        let Err(error) = Postgres::connect("postgresql://u:canary@[", None, None) else { panic!() };
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn encryption_is_switched_off_in_words_and_in_no_other_way() {
        for url in ["h", "h?sslmode=require", "h?sslmode=verify-ca", "h?sslmode=verify-full", "h?sslrootcert=%2Fa.pem"]
        {
            assert!(!Address::of(url).unwrap().clear, "{url}");
        }
        assert!(Address::of("h?sslmode=disable").unwrap().clear);
        for url in ["h?sslmode=prefer", "h?sslmode=allow", "h?sslmode=", "h?sslrootcert=a.pem"] {
            assert_eq!(Address::of(url).unwrap_err().code(), Code::ConfigInvalid, "{url}");
        }
    }
}
