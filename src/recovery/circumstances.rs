//! What the plan of a restore is made from.

use std::path::Path;

use crate::catalog::Catalog;
use crate::codec::WalCodec;
use crate::config::ServerConfig;

use super::options::RestoreOptions;
use super::request::Request;
use super::source::BackupSource;
use super::tablespaces::Relocation;
use super::target::Targets;

/// What a plan is made from.
#[derive(Debug)]
pub struct Circumstances<'a> {
    /// The server.
    pub config: &'a ServerConfig,
    /// Its catalog.
    pub catalog: &'a Catalog,
    /// How its WAL is read.
    pub codec: &'a WalCodec,
    /// The restore.
    pub request: &'a Request,
    /// The command line.
    pub options: &'a RestoreOptions,
    /// The targets.
    pub targets: &'a Targets,
    /// The data directory, absolute, on the destination host.
    pub data: &'a Path,
    /// Where each tablespace goes.
    pub tablespaces: &'a [Relocation],
    /// The user that Barman runs as.
    pub user: &'a str,
}

impl Circumstances<'_> {
    pub(super) fn source(&self) -> &BackupSource {
        &self.request.source
    }

    /// Whether PostgreSQL starts with a signal file (or `recovery.conf`).
    pub(super) fn configured(&self) -> bool {
        self.targets.is_pitr() || self.request.get_wal || self.options.standby_mode
    }

    /// Parallel workers.
    #[must_use]
    pub fn jobs(&self) -> u32 {
        self.options.jobs.unwrap_or(self.config.parallel_jobs).max(1)
    }

    /// The limit, in units of 1024 bytes per second.
    #[must_use]
    pub fn bandwidth(&self) -> Option<u64> {
        self.options.bandwidth_limit.or(self.config.bandwidth_limit)
    }
}
