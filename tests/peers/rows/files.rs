//! Clusters of many files, and of large ones.

use std::os::unix::fs::FileExt;

use super::{Bench, Outcome, PAGE, remove};
use crate::support::scratch::make_directory;

/// So many.
const MANY: u32 = 50_000;
/// Files of a large relation, 1 GiB each.
const SEGMENTS: u32 = 100;
const SEGMENT: u64 = 1 << 30;

impl Bench<'_> {
    /// One-page relations of a database that PostgreSQL does not know.
    pub(super) fn many_files(&mut self) -> Outcome {
        let field = self.field;
        let directory = field.cluster.data.join("base/999999");
        make_directory(&directory, &field.cluster.owner);
        // A first page of some catalog: its checksum is right at the same place of any file.
        let mut page = vec![0_u8; PAGE];
        let sample = field
            .cluster
            .data
            .join(field.cluster.sql("SELECT pg_relation_filepath('pg_class')"));
        let read = std::fs::File::open(&sample).and_then(|file| file.read_exact_at(&mut page, 0));
        read.map_err(|e| format!("{}: {e}", sample.display()))?;
        for number in 0..MANY {
            let file = directory.join((16_384 + number).to_string());
            std::fs::write(&file, &page).map_err(|e| e.to_string())?;
            field.cluster.owner.own(&file);
        }
        // Younger than the beginning of a backup is not old enough to be taken over unseen.
        self.next_second();
        let rows = ["50,000 files", "50,000 files, linked"];
        for (row, more) in rows.into_iter().zip([&["--reuse-backup=off"][..], &[]]) {
            self.next_second();
            let ours = self.tool_backup(&field.barkeep, "linked", more);
            self.table.note(row, "barkeep", ours);
            let theirs = self.tool_backup(&field.barman, "main", more);
            self.table.note(row, "Barman", theirs);
        }
        remove(&directory);
        Ok(())
    }

    /// A relation of 100 GiB that is nearly all holes: what does it cost in memory? Barman would write every zero of it.
    pub(super) fn sparse(&mut self) -> Outcome {
        let field = self.field;
        let directory = field.cluster.data.join("base/999998");
        make_directory(&directory, &field.cluster.owner);
        for number in 0..SEGMENTS {
            let name = if number == 0 {
                "16384".to_owned()
            } else {
                format!("16384.{number}")
            };
            let file = std::fs::File::create(directory.join(&name)).map_err(|e| e.to_string())?;
            file.set_len(SEGMENT).map_err(|e| e.to_string())?;
            field.cluster.owner.own(&directory.join(&name));
        }
        self.next_second();
        for (row, server, more) in [
            ("100 GB, sparse", "chain", &["--reuse-backup=off"][..]),
            (
                "100 GB, sparse, incremental",
                "chain",
                &["--incremental", "latest"],
            ),
            ("100 GB, sparse, linked", "linked", &[]),
        ] {
            self.next_second();
            let ours = self.tool_backup(&field.barkeep, server, more);
            self.table.note(row, "barkeep", ours);
        }
        remove(&directory);
        Ok(())
    }
}
