//! Linked backups on a file system whose files can share blocks.

use std::path::Path;

use super::{Bench, Outcome};
use crate::support::manager::Manager;
use crate::support::process::run;
use crate::support::tool::Tool;

const ON_XFS: &str = "linked on XFS";

impl Bench<'_> {
    /// Linked backups where files can share blocks. What is stored is what the file system has less.
    pub(super) fn linked_on_xfs(&mut self, rounds: usize) -> Outcome {
        let field = self.field;
        let (manager, _mount) = match field.on_xfs() {
            Ok(ground) => ground,
            Err(reason) => {
                self.table
                    .note(ON_XFS, "barkeep", Err(format!("no XFS can be mounted: {reason}")));
                return Ok(());
            }
        };
        let tools = [
            (&field.barkeep, "linked", "barkeep"),
            (&field.barman, "main", "Barman"),
        ];
        let measured = self.linked_rounds(rounds, &manager, tools);
        // Else PostgreSQL would wait for an archive that is about to be unmounted.
        field.ship_wal(&[&field.manager]);
        measured
    }

    pub(super) fn linked_rounds(
        &mut self,
        rounds: usize,
        manager: &Manager,
        tools: [(&Tool, &'static str, &'static str); 2],
    ) -> Outcome {
        let field = self.field;
        for (tool, server, _) in tools {
            self.backup_with(manager, tool, server, &["--reuse-backup=off"])?;
        }
        for _ in 0..rounds {
            field.workload()?;
            self.next_second();
            for (tool, server, who) in tools {
                nix::unistd::sync();
                let before = used(&manager.home());
                let mut outcome = self.backup_with(manager, tool, server, &[]);
                nix::unistd::sync();
                if let Ok(cost) = &mut outcome {
                    cost.stored = Some(used(&manager.home()).saturating_sub(before));
                }
                self.table.note(ON_XFS, who, outcome);
                for id in manager.backup_ids(server).iter().skip(1) {
                    run(manager.command(tool, &["delete", server, id]));
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a file system has in use.
fn used(path: &Path) -> u64 {
    let Ok(figures) = nix::sys::statvfs::statvfs(path) else {
        return 0;
    };
    (figures.blocks() - figures.blocks_free()) * figures.fragment_size()
}
