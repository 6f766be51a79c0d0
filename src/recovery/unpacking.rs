//! The restore of backups in tar files: what is unpacked where, and what follows (behaviour reference §12, §18).
//!
//! Barman needs a staging area for the decrypted, the decompressed and the combined files; here nothing is staged, so that
//! `staging_path`, `staging_location`, `combine_mode` and the older options have nothing to decide.

use std::path::Path;

use crate::base::size;
use crate::catalog::codec_of_base_backups;
use crate::copy::unpack::{self, Kept, Root, UnpackPlan};
use crate::postgres::label;

use super::apply::{Applier, Done};
use super::circumstances::Circumstances;
use super::configuration::Written;
use super::data;
use super::error::RestoreError;
use super::originals::Originals;

const LABEL: &str = "backup_label";
const CONTROL: &str = "global/pg_control";

impl Circumstances<'_> {
    /// How the backup is unpacked; `None` for one in plain files.
    pub(super) fn unpack_plan(&self) -> Option<UnpackPlan> {
        let source = &self.request.source;
        if !source.packed {
            return None;
        }
        let own = self.catalog.layout().base_dir(&self.request.info.id);
        let older = source.older.iter();
        let members = std::iter::once((source.data_directory.clone(), own))
            .chain(older.map(|member| (member.data_directory.clone(), member.base.clone())));
        let tablespaces = self.tablespaces.iter().map(|relocation| Root {
            oid: Some(relocation.tablespace.oid),
            destination: relocation.location.clone(),
            filter: Default::default(),
            bandwidth_kib: self.config.tablespace_limit(&relocation.tablespace.name),
        });
        let own_root = Root {
            oid: None,
            destination: self.data.to_path_buf(),
            filter: data::left_out(self.data, self.tablespaces).exclude(["/backup_manifest"]),
            bandwidth_kib: None,
        };
        Some(UnpackPlan {
            members: members.collect(),
            roots: tablespaces.chain([own_root]).collect(),
            // A server that has no label would take the control file for that of a server that was stopped.
            held_back: vec![LABEL, CONTROL],
            jobs: usize::try_from(self.jobs()).unwrap_or(1),
            bandwidth_kib: self.bandwidth(),
            compress: self.request.compress,
            codec: codec_of_base_backups(self.config),
        })
    }
}

impl Applier<'_> {
    /// Unpacks the backup, and edits its configuration files.
    pub(super) fn unpack(&self, plan: &UnpackPlan) -> Result<Done, RestoreError> {
        let unpacked = unpack::unpack(plan, self.destination.remote(), &data::is_foreign, self.reporter)?;
        let held_back = |name: &str| {
            unpacked.kept.get(Path::new(name)).ok_or_else(|| {
                RestoreError::Argument(format!(
                    "Backup {} is not complete: its tar files do not hold \"{name}\"",
                    self.source.id
                ))
            })
        };
        let (text, control) = (held_back(LABEL)?, held_back(CONTROL)?);
        let edits = self.plan.wish.edits(Originals::Kept(&unpacked.kept))?;
        self.link_tablespaces()?;
        self.put_last(LABEL, text, label::as_full(&text.content))?;
        self.put_last(CONTROL, control, control.content.clone())?;
        self.write(".barman-recover.info", &self.source.info)?;
        self.tell_of_damage(&unpacked.damaged);
        Ok(Done {
            bytes: unpacked.bytes,
            damaged: unpacked.damaged,
            wal_files: 0,
            edits,
        })
    }

    fn put_last(&self, name: &str, kept: &Kept, content: Vec<u8>) -> Result<(), RestoreError> {
        let file = Written {
            path: name.into(),
            content,
            mode: Some(kept.attributes.mode),
            modified: Some(kept.attributes.modified.into()),
        };
        self.destination.write(&self.plan.data, &file)
    }

    /// Says what would be done.
    pub(super) fn describe_unpacking(&self, plan: &UnpackPlan) {
        self.reporter
            .info("Nothing is written (--dry-run). The restore would do this:");
        for (data, _) in plan.members.iter().rev() {
            self.reporter
                .info(&format!("\tunpack the backup in {}", data.display()));
        }
        for root in &plan.roots {
            self.reporter
                .info(&format!("\tfill {}", root.destination.display()));
        }
        if let Some(wal) = &self.plan.wal {
            let files = wal.selection.files.len() + wal.selection.partials.len();
            let bytes: u64 = wal.selection.files.iter().map(|file| file.file.size).sum();
            self.reporter.info(&format!(
                "\tdeliver {files} WAL files ({}) to {}",
                size::pretty_bytes(bytes),
                wal.directory.display()
            ));
        }
        self.reporter
            .info("\tedit the configuration files that come out of the backup");
    }
}
