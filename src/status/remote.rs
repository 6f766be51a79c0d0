//! What the PostgreSQL server of a configuration says about itself (behaviour reference §3).

use crate::config::{BackupMethod, ServerConfig};
use crate::postgres::client::{PgError, Session};
use crate::postgres::facts::Facts;
use crate::postgres::shown::Fact;
use crate::postgres::streaming::StreamingFacts;

use super::client_tools;

/// The state of a server's PostgreSQL.
#[derive(Debug, Default)]
pub struct Remote {
    /// What it answered; `None` when it could not be reached or was not asked.
    pub facts: Option<Facts>,
    /// What it answered on a replication connection, for servers that need one.
    pub streaming: Option<StreamingFacts>,
    /// The same and more, under Barman's names.
    pub shown: Vec<(&'static str, Fact)>,
}

impl Remote {
    /// Asks the server. An inactive or passive server is not asked.
    ///
    /// # Errors
    /// The program was asked to stop.
    pub fn gather(config: &ServerConfig) -> Result<Remote, PgError> {
        let mut remote = Remote::default();
        if !config.active || config.is_passive() {
            return Ok(remote);
        }
        remote.ask(config)?;
        remote.ask_streaming(config)?;
        remote.list_tools(config);
        Ok(remote)
    }

    fn ask(&mut self, config: &ServerConfig) -> Result<(), PgError> {
        let slot = config.slot_name.as_ref().map(|slot| slot.0.as_str());
        let archiver_names = ["archive_mode", "archive_command"];
        let Some(conninfo) = config.usable_conninfo() else {
            if config.archiver {
                self.shown.extend(archiver_names.map(|name| (name, Fact::Null)));
            }
            return Ok(());
        };
        let answer = Session::connect(conninfo).and_then(|mut session| Facts::gather(&mut session, slot));
        match answer {
            Ok(facts) => {
                self.shown.extend(facts.shown());
                if config.archiver {
                    self.shown.extend(facts.shown_archiver());
                }
                self.facts = Some(facts);
            }
            Err(error @ PgError::Interrupted(_)) => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                log::warn!(
                    target: "barman.postgres",
                    "Error retrieving PostgreSQL status: {}",
                    first_line(&reason)
                );
                let names = Facts::UNREACHABLE.into_iter();
                self.shown.extend(
                    names
                        .filter(|name| config.archiver || !archiver_names.contains(name))
                        .map(|name| (name, Fact::Null)),
                );
            }
        }
        Ok(())
    }

    fn ask_streaming(&mut self, config: &ServerConfig) -> Result<(), PgError> {
        let Some(conninfo) = config.usable_streaming_conninfo() else {
            return Ok(());
        };
        let facts = StreamingFacts::gather(conninfo, &config.streaming_backup_name)?;
        self.shown
            .extend(facts.shown().into_iter().map(|(name, fact)| match fact {
                // libpq adds advice in further lines.
                Fact::Text(text) => (name, Fact::Text(first_line(&text).to_owned())),
                other => (name, other),
            }));
        self.streaming = Some(facts);
        Ok(())
    }

    fn list_tools(&mut self, config: &ServerConfig) {
        if config.backup_method == BackupMethod::Postgres {
            self.shown
                .extend(client_tools::base_backup(config, self.facts.as_ref()));
        }
        if config.streaming_archiver {
            self.shown
                .extend(client_tools::receive_wal(config, self.facts.as_ref()));
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
