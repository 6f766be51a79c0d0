//! WAL that was put aside as another cluster's and turns out to be the server's own.
//!
//! `pg_upgrade` and `initdb` make another cluster, with another system identifier, of the same server. Until the operator has
//! said so (by removing `identity.json`, which the next backup writes anew) its WAL looks like a stranger's and is put aside. Then
//! it is taken back to where it arrived, and archived like any other.

use std::fs;
use std::io;
use std::path::Path;

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::postgres::wal_name::WalKind;

use super::Run;
use super::arrivals::Source;
use super::errors_directory::{REASON, header, original_name};

impl Run<'_> {
    /// Takes back what is of the cluster that the server's backups are of now.
    pub(super) fn take_back(&self, source: Source) {
        let entries = match fs::read_dir(&self.places.errors) {
            Ok(entries) => entries,
            Err(error) => {
                // Whoever has something to put aside complains.
                log::debug!("cannot read \"{}\": {error}", self.places.errors.display());
                return;
            }
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut foreign: Vec<String> = names.filter(|name| name.ends_with(".foreign")).collect();
        foreign.sort_unstable();
        let directory = source.directory(&self.places);
        for name in foreign {
            let aside = self.places.errors.join(&name);
            let original = original_name(&name);
            if !self.is_own(original, &aside) {
                continue;
            }
            match move_to_new(&aside, &directory.join(original)) {
                Ok(true) => log::info!(
                    target: "barman.wal_archiver",
                    "\"{}\" is of server {}: it is archived now",
                    aside.display(),
                    self.places.server
                ),
                // That one is archived first.
                Ok(false) => {}
                Err(error) => log::warn!(target: "barman.wal_archiver", "{error}"),
            }
        }
    }

    fn is_own(&self, name: &str, aside: &Path) -> bool {
        matches!(WalKind::of(name), Some(WalKind::Segment(_) | WalKind::Partial(_)))
            && header(&self.workshop.codec, aside)
                .is_some_and(|header| self.workshop.validator.is_own(&header))
    }
}

/// Moves a file, durably and with the note beside it, to a name that must be free. False when it is taken.
fn move_to_new(file: &Path, name: &Path) -> Result<bool, PathError> {
    if !link_to_new(file, name)? {
        return Ok(false);
    }
    durable::sync_parent(name)?;
    durable::remove(file)?;
    durable::remove(&durable::sibling(file, REASON))?;
    Ok(true)
}

/// Gives a file a second name where there is none. False when the name is taken.
fn link_to_new(file: &Path, name: &Path) -> Result<bool, PathError> {
    match fs::hard_link(file, name) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => log::debug!("cannot link \"{}\": {error}", name.display()),
    }
    // Another file system. The ending keeps everybody away from it meanwhile.
    let copy = durable::sibling(name, ".tmp");
    fs::copy(file, &copy).at("copy to", &copy)?;
    durable::sync_file(&copy)?;
    let linked = fs::hard_link(&copy, name);
    fs::remove_file(&copy).at("remove", &copy)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        linked => linked.map(|()| true).at("link", name),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{identify, names, run, wal};
    use crate::archive::sandbox::{Sandbox, segment};
    use std::fs;

    /// A segment of the cluster that `pg_upgrade` made.
    fn upgraded(number: u32) -> Vec<u8> {
        let mut content = segment(&wal(number), number);
        content[24] = 43;
        content
    }

    #[test]
    fn what_an_upgraded_server_sent_is_archived_when_that_is_known() {
        let sandbox = Sandbox::new();
        identify(&sandbox, "42", "15");
        for number in [1, 3, 4] {
            sandbox.write(&format!("incoming/{}", wal(number)), &upgraded(number));
        }
        sandbox.write(&format!("incoming/{}", wal(2)), &segment(&wal(2), 2));
        let (report, lines) = run(&sandbox);
        assert_eq!(report.rejected, [wal(1), wal(3), wal(4)]);
        let explained = lines
            .iter()
            .filter(|line| line.contains("identity.json\" and take a backup"));
        assert_eq!(explained.count(), 1, "{lines:#?}");
        assert_eq!(sandbox.list("errors").len(), 6);
        // The operator has removed the identity: nothing tells whose these are, and what arrives is archived.
        fs::remove_file(sandbox.root.join("identity.json")).unwrap();
        sandbox.write(&format!("incoming/{}", wal(5)), &upgraded(5));
        run(&sandbox);
        assert_eq!(names(&sandbox), [wal(2), wal(5)]);
        assert_eq!(sandbox.list("errors").len(), 6);
        // The backup has written it anew. One of the segments was delivered again meanwhile.
        identify(&sandbox, "43", "15");
        sandbox.write(&format!("incoming/{}", wal(3)), &upgraded(3));
        sandbox.write(
            "errors/000000010000000000000009.20260101T000000Z.foreign",
            &segment(&wal(9), 9),
        );
        let (report, lines) = run(&sandbox);
        assert_eq!((report.archived, report.rejected.len()), (3, 0), "{lines:#?}");
        let (report, _) = run(&sandbox);
        assert_eq!(
            (report.archived, report.matching),
            (0, 1),
            "the one that had come again"
        );
        assert_eq!(
            sandbox.list("errors"),
            ["000000010000000000000009.20260101T000000Z.foreign"]
        );
        assert_eq!(sandbox.list("incoming"), [""; 0]);
        let archived = sandbox.places().archived(&wal(4)).unwrap();
        assert!(fs::read(archived).unwrap() == upgraded(4));
    }
}
