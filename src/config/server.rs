//! What can be asked of a server's configuration.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::choices::BackupMethod;
use super::conninfo;
use super::kinds::NotLocal;
use super::options::{SERVER_OPTIONS, ServerConfig};
use super::shown::Shown;
use super::source::Source;
use crate::base::report::Reporter;
use crate::postgres::conninfo as pg_conninfo;

impl ServerConfig {
    /// Whether the server mirrors another Barman host instead of taking backups itself.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.primary_ssh_command.is_some()
    }

    /// The limit that a tablespace has for itself, in units of 1024 bytes per second; 0 for none.
    #[must_use]
    pub fn tablespace_limit(&self, tablespace: &str) -> Option<u64> {
        let limits = &self.tablespace_bandwidth_limit.as_ref()?.0;
        let (_, limit) = limits.iter().find(|(name, _)| name == tablespace)?;
        Some(*limit)
    }

    /// How to connect to PostgreSQL; `None` for a server that this host does not talk to, or cannot for want of a
    /// well-formed connection string.
    #[must_use]
    pub fn usable_conninfo(&self) -> Option<&str> {
        let primary = self.primary_conninfo.as_deref();
        let talks = self.active && !self.is_passive() && primary.is_none_or(conninfo::is_well_formed);
        self.conninfo
            .as_deref()
            .filter(|conninfo| talks && conninfo::is_well_formed(conninfo))
    }

    /// How to connect for replication; `None` also where nothing needs it.
    #[must_use]
    pub fn usable_streaming_conninfo(&self) -> Option<&str> {
        let talks = self.active && !self.is_passive();
        let needed = self.streaming_archiver || self.backup_method == BackupMethod::Postgres;
        self.streaming_conninfo
            .as_deref()
            .filter(|conninfo| talks && needed && conninfo::is_well_formed(conninfo))
    }

    /// The server as the commands that stream WAL see it, where WAL comes from another host than backups do
    /// (`wal_streaming_conninfo`, `wal_conninfo`), and the line that says so.
    #[must_use]
    pub fn seen_from_wal_host(&self) -> (ServerConfig, Option<String>) {
        let mut config = self.clone();
        let streaming = self.wal_streaming_conninfo.as_deref();
        let Some(plain) = self.wal_conninfo.as_deref().or(streaming) else {
            return (config, None);
        };
        let mut overrides = Vec::new();
        if let Some(streaming) = streaming {
            config.streaming_conninfo = Some(streaming.to_owned());
            overrides.push(("streaming_conninfo", streaming));
        }
        config.conninfo = Some(plain.to_owned());
        overrides.push(("conninfo", plain));
        let overrides: Vec<String> = overrides
            .into_iter()
            .map(|(option, value)| format!("'{option}' overridden with '{}'", pg_conninfo::redacted(value)))
            .collect();
        let line = format!("Configuration overrides applied: {}", overrides.join(" and "));
        (config, Some(line))
    }

    /// Where metadata of backups are kept. Not configurable.
    #[must_use]
    pub fn metadata_directory(&self) -> PathBuf {
        self.backup_directory.join("meta")
    }

    /// `basebackups_directory` as a directory.
    ///
    /// # Errors
    /// It is an object store.
    pub fn local_basebackups(&self) -> Result<&Path, NotLocal> {
        self.basebackups_directory.local()
    }

    /// `wals_directory` as a directory.
    ///
    /// # Errors
    /// It is an object store.
    pub fn local_wals(&self) -> Result<&Path, NotLocal> {
        self.wals_directory.local()
    }

    /// The file that names the active model.
    #[must_use]
    pub fn active_model_file(&self) -> PathBuf {
        self.backup_directory.join(".active-model.auto")
    }

    /// The path of a lock file of this server: `.{name}-{kind}.lock` in the lock directory.
    #[must_use]
    pub fn lock_file(&self, kind: &str) -> PathBuf {
        self.barman_lock_directory
            .join(format!(".{}-{kind}.lock", self.name))
    }

    /// Takes the server out of use because of a mistake in its configuration.
    pub fn disable(&mut self, message: String) {
        self.disabled = true;
        self.msg_list.push(message);
    }

    /// Tells the operator and the log what there is to say about this server, once it is used.
    pub fn announce(&self, reporter: &dyn Reporter) {
        for warning in &self.warnings {
            reporter.warning(warning);
        }
        for warning in &self.log_warnings {
            log::warn!(target: "barman.server", "{warning}");
        }
    }

    /// The value of an option as the commands show it.
    #[must_use]
    pub fn shown(&self, option: &str) -> Shown {
        if self.emptied.contains(option) {
            Shown::Null
        } else {
            self.held(option)
        }
    }

    /// Every option with its value, in alphabetical order, and `name` among them. Options that Barman does not have are
    /// there when they are set: nobody who does not use them sees a difference.
    #[must_use]
    pub fn all_shown(&self) -> Vec<(&'static str, Shown)> {
        let mut all: Vec<_> = SERVER_OPTIONS
            .iter()
            .filter(|spec| spec.own.is_none() || self.sources.contains_key(spec.name))
            .map(|spec| (spec.name, self.shown(spec.name)))
            .collect();
        all.push(("name", Shown::Text(self.name.clone())));
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// Where the value of an option was written; `None` for a default.
    #[must_use]
    pub fn source(&self, option: &str) -> Option<&Source> {
        self.sources.get(option)
    }

    /// The object `config` of `diagnose`; with sources, each value becomes `{"source": file, "value": value}`.
    #[must_use]
    pub fn diagnose(&self, with_sources: bool) -> Map<String, Value> {
        self.all_shown()
            .into_iter()
            .map(|(name, shown)| {
                let value = with_source(shown.diagnose(), self.source(name), with_sources);
                (name.to_owned(), value)
            })
            .collect()
    }
}

/// A value of `diagnose`, with its source if that is wanted.
pub(super) fn with_source(value: Value, source: Option<&Source>, wanted: bool) -> Value {
    if !wanted {
        return value;
    }
    let file = source.map_or_else(
        || "default".to_owned(),
        |source| source.file.display().to_string(),
    );
    json!({"source": file, "value": value})
}
