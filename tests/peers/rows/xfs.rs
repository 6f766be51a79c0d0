//! Linked backups on a file system whose files can share blocks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::pages::changes;
use super::{Bench, Outcome, PAGE, remove};
use crate::meter::{Cost, unmeasured};
use crate::support::manager::Manager;
use crate::support::process::run;
use crate::support::scratch::make_directory;
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
                if server == "linked" {
                    self.table
                        .note(ON_XFS, "reflinks, pages, fsync", patched(manager, server));
                }
                for id in manager.backup_ids(server).iter().skip(1) {
                    run(manager.command(tool, &["delete", server, id]));
                }
            }
        }
        Ok(())
    }
}

/// The least that can be done: a file that shares the blocks of the old one, its changed pages written over it, synced.
fn patched(manager: &Manager, server: &str) -> Result<Cost, String> {
    let ids = manager.backup_ids(server);
    let [new, old] = [0, 1].map(|n| {
        let id = ids.get(n).cloned().unwrap_or_default();
        manager.server(server).join("base").join(id).join("data")
    });
    let changes = changes(&old, &new);
    let place = manager.home().join("patched");
    make_directory(&place, &manager.account);
    let begin = Instant::now();
    for (number, (relative, pages)) in changes.iter().enumerate() {
        let target = place.join(number.to_string());
        let mut copy = Command::new("cp");
        copy.arg("--reflink=always").arg(old.join(relative)).arg(&target);
        unmeasured(run(copy), "cp --reflink")?;
        patch(&new.join(relative), &target, pages).map_err(|e| format!("{}: {e}", target.display()))?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    remove(&place);
    Ok(Cost {
        seconds,
        ..Cost::default()
    })
}

fn patch(source: &Path, target: &Path, pages: &[u64]) -> std::io::Result<()> {
    let (source, target) = (File::open(source)?, File::options().write(true).open(target)?);
    let mut page = vec![0; PAGE];
    for number in pages {
        source.read_exact_at(&mut page, number * PAGE as u64)?;
        target.write_all_at(&page, number * PAGE as u64)?;
    }
    target.sync_all()
}

/// Bytes that a file system has in use.
fn used(path: &Path) -> u64 {
    let Ok(figures) = nix::sys::statvfs::statvfs(path) else {
        return 0;
    };
    (figures.blocks() - figures.blocks_free()) * figures.fragment_size()
}
