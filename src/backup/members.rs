//! What PostgreSQL's own programs need in the members of a chain: manifests of their layout, and links to tablespaces.
//!
//! `pg_verifybackup` and `pg_combinebackup` find tablespaces behind links in `data/pg_tblspc`, where Barman's copies have
//! none. Members of PostgreSQL 17 and newer get them, as `pg_basebackup` makes them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::catalog::BackupInfo;
use crate::copy::Checksum;
use crate::postgres::manifest::{Layout, WalRange};
use crate::postgres::version::PgVersion;

use super::error::BackupError;
use super::manifest;
use super::run::Run;

impl Run<'_> {
    /// Writes the manifest: of members of a chain always, for the programs that combine and verify them.
    pub(super) fn write_manifest(&self, data: &Path) -> Result<(), BackupError> {
        if let Some(parent) = &self.parent {
            if let Some(root) = parent.root() {
                self.prepare_root(root)?;
            }
            return self.write_as_member(&self.info);
        }
        if self.config.autogenerate_manifest {
            let records = self.catalog.layout().records_path(&self.info.id);
            manifest::write(data, &records, Layout::Barman, Checksum::Sha256, &[])?;
        }
        Ok(())
    }

    /// Gives the full backup of a chain what PostgreSQL 17 and newer need to build on it. One that Barman took stays as it
    /// is.
    fn prepare_root(&self, root: &BackupInfo) -> Result<(), BackupError> {
        let recorded = self.catalog.layout().records_path(&root.id).is_file();
        let data = self.catalog.layout().data_dir(&root.id);
        if is_newer(root) && recorded && !manifest::is_of_member(&data) {
            self.write_as_member(root)?;
        }
        Ok(())
    }

    fn write_as_member(&self, info: &BackupInfo) -> Result<(), BackupError> {
        let layout = self.catalog.layout();
        let records = layout.records_path(&info.id);
        let linked = if is_newer(info) {
            self.link_tablespaces(info)?
        } else {
            Vec::new()
        };
        let data = layout.data_dir(&info.id);
        manifest::write(&data, &records, layout_of_member(info), Checksum::Crc32c, &linked)?;
        Ok(())
    }

    /// Links the tablespaces of a backup; returns their oids.
    fn link_tablespaces(&self, info: &BackupInfo) -> Result<Vec<u32>, PathError> {
        let layout = self.catalog.layout();
        let links = layout.data_dir(&info.id).join("pg_tblspc");
        let mut linked = Vec::new();
        for tablespace in info.tablespaces.iter().flatten() {
            let directory = layout.tablespace_dir(&info.id, tablespace.oid);
            if !tablespace.location.starts_with('/') || !directory.is_dir() {
                continue;
            }
            // PostgreSQL refuses relative links.
            let directory = fs::canonicalize(&directory).at("look at", &directory)?;
            let link = links.join(tablespace.oid.to_string());
            match symlink(&directory, &link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(PathError::new("create link", link, error));
                }
                _ => linked.push(tablespace.oid),
            }
        }
        if !linked.is_empty() {
            durable::sync_dir(&links)?;
        }
        Ok(linked)
    }
}

fn is_newer(info: &BackupInfo) -> bool {
    info.version
        .is_some_and(|version| PgVersion(version).at_least(17))
}

/// The layout of PostgreSQL's own manifests: version 2 since 17.
fn layout_of_member(info: &BackupInfo) -> Layout {
    let systemid = info.systemid.as_deref().and_then(|id| id.parse().ok());
    let range = info.begin_xlog.zip(info.end_xlog).map(|(start, end)| WalRange {
        timeline: info.timeline.unwrap_or_default(),
        start,
        end,
    });
    Layout::PostgreSql {
        ranges: range.into_iter().collect(),
        system_identifier: systemid.filter(|_| is_newer(info)),
    }
}
