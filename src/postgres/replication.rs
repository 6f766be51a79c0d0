//! Physical replication as the sending server sees it: slots, who streams, and which of them commits wait for.

use super::client::{PgError, Session};
use super::lsn::Lsn;
use super::version::PgVersion;
use crate::base::calendar::Timestamp;

use super::facts::server_time;

/// Why a replication slot could not be created or dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// There is one of this name.
    #[error("the replication slot exists already")]
    Exists,
    /// There is none of this name.
    #[error("the replication slot does not exist")]
    Missing,
    /// Somebody is streaming from it.
    #[error("the replication slot is in use")]
    InUse,
    /// The server has no room for another one (`max_replication_slots`).
    #[error("all replication slots are in use")]
    Full,
    /// Anything else.
    #[error(transparent)]
    Server(PgError),
}

impl From<PgError> for SlotError {
    fn from(error: PgError) -> SlotError {
        let PgError::Refused {
            sqlstate: Some(code), ..
        } = &error
        else {
            return SlotError::Server(error);
        };
        match code.as_str() {
            "42710" => SlotError::Exists,
            "42704" => SlotError::Missing,
            "55006" => SlotError::InUse,
            "53400" => SlotError::Full,
            _ => SlotError::Server(error),
        }
    }
}

/// Creates a physical slot over a replication connection. It keeps no WAL before it is used for the first time. The name
/// consists of lower-case letters, digits and underscores.
///
/// # Errors
/// See [`SlotError`].
pub fn create_slot(session: &mut Session, name: &str) -> Result<(), SlotError> {
    session.query(&format!("CREATE_REPLICATION_SLOT {name} PHYSICAL"), &[])?;
    Ok(())
}

/// Drops a slot over a replication connection.
///
/// # Errors
/// See [`SlotError`].
pub fn drop_slot(session: &mut Session, name: &str) -> Result<(), SlotError> {
    session.query(&format!("DROP_REPLICATION_SLOT {name}"), &[])?;
    Ok(())
}

/// The names in `synchronous_standby_names`: without the `FIRST n (…)`, `ANY n (…)` or `n (…)` around them, and without
/// quotes. An empty setting is one empty name, as Barman shows it.
#[must_use]
pub fn synchronous_names(setting: &str) -> Vec<String> {
    let mut text = setting.trim();
    if let Some(inner) = text.strip_suffix(')')
        && let Some(open) = opening_parenthesis(inner)
    {
        text = inner.get(open + 1..).unwrap_or_default();
    }
    let mut names = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            blank if !quoted && blank.is_whitespace() => {}
            other => names.last_mut().into_iter().for_each(|name| name.push(other)),
        }
    }
    names
}

/// Where the list begins, if what stands before it is not a part of a quoted name.
fn opening_parenthesis(text: &str) -> Option<usize> {
    let open = text.find('(')?;
    (!text.get(..open)?.contains('"')).then_some(open)
}

/// Whether commits may wait for a client of this name. The server compares without regard to case.
#[must_use]
pub fn is_synchronous(names: &[String], application_name: &str) -> bool {
    names
        .iter()
        .any(|name| name == "*" || (!name.is_empty() && name.eq_ignore_ascii_case(application_name)))
}

/// A row of `pg_stat_replication`, with the slot of the client. Positions are unknown while a client is not streaming.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamingClient {
    /// The server's process.
    pub pid: i64,
    /// Who logged in.
    pub user: String,
    /// What the client calls itself.
    pub application_name: String,
    /// Its address; none through a socket of the host.
    pub address: Option<String>,
    /// Its name, when the server looked it up.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<i64>,
    /// When it connected.
    pub started: Option<Timestamp>,
    /// The oldest transaction it keeps the server from forgetting.
    pub xmin: Option<String>,
    /// What it does: `streaming`, `catchup`, `backup` …
    pub state: Option<String>,
    /// How far WAL was sent.
    pub sent: Option<Lsn>,
    /// How far the client has written it.
    pub written: Option<Lsn>,
    /// How far the client has flushed it.
    pub flushed: Option<Lsn>,
    /// How far the client has replayed it: standbys do, receivers of WAL do not.
    pub replayed: Option<Lsn>,
    /// Its place among synchronous clients; 0 for asynchronous ones.
    pub priority: i64,
    /// `sync`, `quorum`, `potential`, `async`.
    pub sync_state: Option<String>,
    /// The slot it streams from.
    pub slot: Option<String>,
}

/// Who streams from a server, and where the server is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Streams {
    /// The server's own position: written by a primary, received by a standby.
    pub current: Option<Lsn>,
    /// The clients, synchronous ones first.
    pub clients: Vec<StreamingClient>,
}

impl Streams {
    /// Asks the server.
    ///
    /// # Errors
    /// The user may not see the statistics of others, or the connection broke.
    pub fn gather(session: &mut Session) -> Result<Streams, PgError> {
        let version = session.version();
        let (wal, lsn) = (version.wal_word(), version.lsn_word());
        let position = if session.is_in_recovery()? {
            format!(
                "SELECT coalesce(pg_catalog.pg_last_{wal}_receive_{lsn}(), pg_catalog.pg_last_{wal}_replay_{lsn}())::text"
            )
        } else {
            format!("SELECT pg_catalog.pg_current_{wal}_{lsn}()::text")
        };
        let current = session.value(&position, &[])?.and_then(|text| text.parse().ok());
        let rows = session.query(&clients_query(version), &[])?;
        let clients = (0..rows.len())
            .map(|row| {
                let text = |column| rows.get(row, column).map(str::to_owned);
                let number = |column| rows.get(row, column).and_then(|text| text.parse().ok());
                let position = |column| rows.get(row, column).and_then(|text| text.parse().ok());
                StreamingClient {
                    pid: number("pid").unwrap_or_default(),
                    user: text("usename").unwrap_or_default(),
                    application_name: text("application_name").unwrap_or_default(),
                    address: text("address"),
                    host: text("client_hostname"),
                    port: number("client_port"),
                    started: rows.get(row, "started").and_then(server_time),
                    xmin: text("xmin"),
                    state: text("state"),
                    sent: position("sent"),
                    written: position("written"),
                    flushed: position("flushed"),
                    replayed: position("replayed"),
                    priority: number("sync_priority").unwrap_or_default(),
                    sync_state: text("sync_state"),
                    slot: text("slot_name"),
                }
            })
            .collect();
        Ok(Streams { current, clients })
    }
}

fn clients_query(version: PgVersion) -> String {
    let lsn = version.lsn_word();
    format!(
        "SELECT r.pid, r.usename, r.application_name, pg_catalog.host(r.client_addr) AS address, r.client_hostname, \
         r.client_port, r.backend_start::text AS started, r.backend_xmin::text AS xmin, r.state, \
         r.sent_{lsn}::text AS sent, r.write_{lsn}::text AS written, r.flush_{lsn}::text AS flushed, \
         r.replay_{lsn}::text AS replayed, r.sync_priority, r.sync_state, s.slot_name \
         FROM pg_catalog.pg_stat_replication r \
         LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid \
         ORDER BY r.sync_state DESC, r.sync_priority"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_form_of_the_setting() {
        for (setting, names) in [
            ("", vec![""]),
            ("*", vec!["*"]),
            ("a, b", vec!["a", "b"]),
            ("first 1 (barman_receive_wal)", vec!["barman_receive_wal"]),
            ("ANY 2 (a, \"b c\",d)", vec!["a", "b c", "d"]),
            ("1(zz,stand)", vec!["zz", "stand"]),
            ("\"odd (name)\"", vec!["odd (name)"]),
            ("\"a,b\"", vec!["a,b"]),
        ] {
            assert_eq!(synchronous_names(setting), names, "{setting}");
        }
        let names = synchronous_names("FIRST 1 (Barman_Receive_WAL)");
        assert!(is_synchronous(&names, "barman_receive_wal"));
        assert!(!is_synchronous(&names, "other"));
        assert!(is_synchronous(&synchronous_names("2 (x, *)"), "other"));
        assert!(!is_synchronous(&synchronous_names(""), ""));
    }
}
