//! What the PostgreSQL that called us is doing, read from its data directory (its `restore_command` runs there).
//!
//! PostgreSQL takes every exit code up to 125 for "there is no such file". For a standby that is right whatever went
//! wrong: it keeps asking. In a recovery that is to end, it means "this was the last one": PostgreSQL opens for writing
//! on a new timeline, and the transactions in the files it did not get are gone. Exit codes above 125 stop it instead.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::postgres::wal_header::{HEADER_SIZE, SegmentHeader};
use crate::postgres::wal_name::WalKind;

/// What a missing file means to PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It asks again.
    Standby,
    /// The recovery is over.
    Ending,
    /// There is no recovery, or this is no data directory.
    None,
}

/// In which recovery the cluster in `data_directory` is.
#[must_use]
pub fn recovery(data_directory: &Path) -> Recovery {
    if data_directory.join("standby.signal").exists() {
        return Recovery::Standby;
    }
    if data_directory.join("recovery.signal").exists() {
        return Recovery::Ending;
    }
    // PostgreSQL 11 and older.
    match fs::read_to_string(data_directory.join("recovery.conf")) {
        Ok(text) if standby_mode(&text) => Recovery::Standby,
        Ok(_) => Recovery::Ending,
        Err(_) => Recovery::None,
    }
}

/// Whether nobody will ask for WAL any more: the server has stopped, or its recovery has ended.
#[must_use]
pub fn is_over(data_directory: &Path) -> bool {
    let is_cluster = data_directory.join("PG_VERSION").exists();
    let runs = data_directory.join("postmaster.pid").exists();
    is_cluster && (!runs || recovery(data_directory) == Recovery::None)
}

fn standby_mode(recovery_conf: &str) -> bool {
    recovery_conf.lines().any(|line| {
        let line = line.trim();
        line.strip_prefix("standby_mode").is_some_and(|value| {
            let value = value.trim_start_matches(['=', ' ', '\t', '\'']);
            ["on", "true", "yes", "1"]
                .iter()
                .any(|word| value.starts_with(word))
        })
    })
}

/// The cluster's identifier, from the first bytes of its control file.
#[must_use]
pub fn system_identifier(data_directory: &Path) -> Option<u64> {
    let mut file = fs::File::open(data_directory.join("global/pg_control")).ok()?;
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes)).filter(|identifier| *identifier != 0)
}

/// Why a file that was received must not be handed to PostgreSQL.
///
/// # Errors
/// It is empty, or its first page says that it is another segment, of another cluster, or longer or shorter than this.
/// A file without a segment's header is PostgreSQL's to judge.
pub fn check_segment(path: &Path, name: &str, cluster: Option<u64>) -> Result<(), String> {
    let Some(WalKind::Segment(segment)) = WalKind::of(name) else {
        return Ok(());
    };
    let failed = |error: std::io::Error| format!("cannot read \"{}\": {error}", path.display());
    let file = fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.take(HEADER_SIZE as u64)
        .read_to_end(&mut head)
        .map_err(failed)?;
    if size == 0 {
        return Err(format!("{name} is empty"));
    }
    let Some(header) = SegmentHeader::parse(&head) else {
        return Ok(());
    };
    if u64::from(header.segment_size) != size {
        return Err(format!(
            "{name} has {size} bytes instead of {}",
            header.segment_size
        ));
    }
    if !header.belongs_to(segment) {
        return Err(format!("{name} holds another segment"));
    }
    match cluster {
        Some(cluster) if cluster != header.system_identifier => Err(format!(
            "{name} is from the cluster {}, not from this one, {cluster}",
            header.system_identifier
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::{Sandbox, segment};

    #[test]
    fn standbys_ask_again() {
        let sandbox = Sandbox::new();
        assert_eq!(recovery(&sandbox.root), Recovery::None);
        sandbox.write("recovery.signal", b"");
        assert_eq!(recovery(&sandbox.root), Recovery::Ending);
        sandbox.write("standby.signal", b"");
        assert_eq!(recovery(&sandbox.root), Recovery::Standby);
        let old = Sandbox::new();
        old.write("recovery.conf", b"restore_command = 'x'\n");
        assert_eq!(recovery(&old.root), Recovery::Ending);
        old.write("recovery.conf", b"restore_command = 'x'\nstandby_mode = 'on'\n");
        assert_eq!(recovery(&old.root), Recovery::Standby);
    }

    #[test]
    fn a_server_that_has_stopped_or_opened_asks_no_more() {
        let sandbox = Sandbox::new();
        assert!(!is_over(&sandbox.root), "not a cluster: nothing is known");
        for name in ["PG_VERSION", "postmaster.pid", "standby.signal"] {
            sandbox.write(name, b"");
        }
        assert!(!is_over(&sandbox.root));
        fs::remove_file(sandbox.root.join("standby.signal")).unwrap();
        assert!(is_over(&sandbox.root), "promoted");
        sandbox.write("recovery.signal", b"");
        assert!(!is_over(&sandbox.root));
        fs::remove_file(sandbox.root.join("postmaster.pid")).unwrap();
        assert!(is_over(&sandbox.root), "stopped");
    }

    #[test]
    fn segments_are_checked_by_their_header() {
        let sandbox = Sandbox::new();
        let name = "000000010000000000000007";
        let good = segment(name, 1);
        let check = |content: &[u8], name: &str, cluster| {
            check_segment(&sandbox.write("file", content), name, cluster).is_ok()
        };
        assert!(check(&good, name, Some(42)));
        assert!(check(&good, name, None));
        assert!(!check(&good, name, Some(43)), "another cluster");
        assert!(!check(&good, "000000010000000000000008", None), "another segment");
        assert!(!check(&good[..good.len() / 2], name, None), "truncated");
        assert!(!check(b"", name, None), "empty");
        assert!(check(b"no segment at all", name, None), "left to PostgreSQL");
        assert!(check(b"", "00000002.history", None));
    }
}
