//! Where everything of a server lies (catalog reference §1). No I/O here.

use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::config::{NotLocal, ServerConfig};
use crate::postgres::wal_name;

use super::BackupId;

/// The paths of one server's catalog.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The name of the server.
    pub server: String,
    /// `{barman_home}/{server}`
    pub home: PathBuf,
    /// Base backups: `base`.
    pub base: PathBuf,
    /// Archived WAL: `wals`.
    pub wals: PathBuf,
    /// WAL delivered by `archive_command`: `incoming`.
    pub incoming: PathBuf,
    /// WAL received by streaming: `streaming`.
    pub streaming: PathBuf,
    /// WAL that could not be archived: `errors`.
    pub errors: PathBuf,
    /// Metadata: `meta`. Its place cannot be configured.
    pub meta: PathBuf,
    /// The directory of the WAL database.
    pub xlogdb_directory: PathBuf,
    /// The directory of the lock files.
    pub locks: PathBuf,
}

impl Layout {
    /// The paths that a configuration says.
    ///
    /// # Errors
    /// Base backups or WAL are kept in an object store.
    pub fn of(config: &ServerConfig) -> Result<Layout, NotLocal> {
        Ok(Layout {
            server: config.name.clone(),
            home: config.backup_directory.clone(),
            base: config.basebackups_directory.local()?.to_path_buf(),
            wals: config.wals_directory.local()?.to_path_buf(),
            incoming: config.incoming_wals_directory.clone(),
            streaming: config.streaming_wals_directory.clone(),
            errors: config.errors_directory.clone(),
            meta: config.backup_directory.join("meta"),
            xlogdb_directory: config.xlogdb_directory.clone(),
            locks: config.barman_lock_directory.clone(),
        })
    }

    /// The paths of a server all of whose options have their defaults.
    #[must_use]
    pub fn under(barman_home: &Path, server: &str) -> Layout {
        let home = barman_home.join(server);
        Layout {
            server: server.to_owned(),
            base: home.join("base"),
            wals: home.join("wals"),
            incoming: home.join("incoming"),
            streaming: home.join("streaming"),
            errors: home.join("errors"),
            meta: home.join("meta"),
            xlogdb_directory: home.join("wals"),
            locks: barman_home.to_path_buf(),
            home,
        }
    }

    /// The directory of a backup: `base/{id}`.
    #[must_use]
    pub fn base_dir(&self, id: &BackupId) -> PathBuf {
        self.base.join(id.as_str())
    }

    /// The copy of PGDATA in the current layout: `base/{id}/data`. See [`super::Catalog::data_dir`] for old backups.
    #[must_use]
    pub fn data_dir(&self, id: &BackupId) -> PathBuf {
        self.base_dir(id).join("data")
    }

    /// The copy of a tablespace in the current layout: `base/{id}/{oid}`.
    #[must_use]
    pub fn tablespace_dir(&self, id: &BackupId, oid: u32) -> PathBuf {
        self.base_dir(id).join(oid.to_string())
    }

    /// What an attempt to copy a backup from the primary node has left, of use for the next one: `base/.syncing-{id}`.
    #[must_use]
    pub fn syncing_dir(&self, id: &BackupId) -> PathBuf {
        self.base.join(format!(".syncing-{id}"))
    }

    /// The metadata of a backup: `meta/{id}-backup.info`.
    #[must_use]
    pub fn info_path(&self, id: &BackupId) -> PathBuf {
        self.meta.join(format!("{id}-backup.info"))
    }

    /// Where Barman before 3.13 kept the metadata: `base/{id}/backup.info`. Read, never written.
    #[must_use]
    pub fn legacy_info_path(&self, id: &BackupId) -> PathBuf {
        self.base_dir(id).join("backup.info")
    }

    /// An annotation: `meta/{id}-{key}`.
    #[must_use]
    pub fn annotation_path(&self, id: &BackupId, key: &str) -> PathBuf {
        self.meta.join(format!("{id}-{key}"))
    }

    /// Where Barman before 3.13 kept an annotation.
    #[must_use]
    pub fn legacy_annotation_path(&self, id: &BackupId, key: &str) -> PathBuf {
        self.base_dir(id).join("annotations").join(key)
    }

    /// What barkeep knows of a backup beyond Barman's metadata: `meta/{id}-barkeep.json`.
    #[must_use]
    pub fn sidecar_path(&self, id: &BackupId) -> PathBuf {
        self.annotation_path(id, "barkeep.json")
    }

    /// What barkeep knows of every file of a backup: `meta/{id}-barkeep-files.zst`.
    #[must_use]
    pub fn records_path(&self, id: &BackupId) -> PathBuf {
        self.annotation_path(id, "barkeep-files.zst")
    }

    /// The hashes of the pages of a backup's larger files: `meta/{id}-barkeep-pages`.
    #[must_use]
    pub fn page_hashes_path(&self, id: &BackupId) -> PathBuf {
        self.annotation_path(id, "barkeep-pages")
    }

    /// Every file beside the metadata that barkeep writes when it takes a backup, and what one that was killed left of it.
    #[must_use]
    pub fn sidecars(&self, id: &BackupId) -> Vec<PathBuf> {
        let complete = [
            self.sidecar_path(id),
            self.records_path(id),
            self.page_hashes_path(id),
        ];
        let partial = complete.clone().map(|path| durable::sibling(&path, ".tmp"));
        complete.into_iter().chain(partial).collect()
    }

    /// The journal of a merge into this backup: `meta/{id}-barkeep-merge.json`.
    #[must_use]
    pub fn merge_path(&self, id: &BackupId) -> PathBuf {
        self.annotation_path(id, "barkeep-merge.json")
    }

    /// The WAL database.
    #[must_use]
    pub fn xlogdb_path(&self) -> PathBuf {
        self.xlogdb_directory.join(format!("{}-xlog.db", self.server))
    }

    /// The WAL database of Barman before 3.x.
    #[must_use]
    pub fn legacy_xlogdb_path(&self) -> PathBuf {
        self.wals.join("xlog.db")
    }

    /// Which PostgreSQL the server's backups are of.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.home.join("identity.json")
    }

    /// What the primary node said last (passive nodes).
    #[must_use]
    pub fn primary_info_path(&self) -> PathBuf {
        self.home.join("primary.info")
    }

    /// How far the WAL archive of the primary node has been copied (passive nodes).
    #[must_use]
    pub fn sync_wals_info_path(&self) -> PathBuf {
        self.wals.join("sync-wals.info")
    }

    /// The model that is applied to the server.
    #[must_use]
    pub fn active_model_path(&self) -> PathBuf {
        self.home.join(".active-model.auto")
    }

    /// Where a WAL file belongs in the archive. `None` when the name is not of the WAL.
    #[must_use]
    pub fn wal_path(&self, name: &str) -> Option<PathBuf> {
        let directory = wal_name::hash_directory(name)?;
        Some(if directory.is_empty() {
            self.wals.join(name)
        } else {
            self.wals.join(directory).join(name)
        })
    }

    /// The directories that `check` and `backup` create when they are missing.
    #[must_use]
    pub fn directories(&self) -> [&Path; 8] {
        [
            &self.home,
            &self.base,
            &self.wals,
            &self.incoming,
            &self.streaming,
            &self.errors,
            &self.meta,
            &self.xlogdb_directory,
        ]
    }
}
