//! Which program this executable was called as.

use std::ffi::OsString;
use std::path::Path;

/// The programs of this executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The manager, under the name it was called by: `barman` or `barkeep`.
    Manager(&'static str),
    /// `barman-wal-archive`, PostgreSQL's `archive_command`.
    WalArchive,
    /// `barman-wal-restore`, PostgreSQL's `restore_command`.
    WalRestore,
}

impl Program {
    /// The program named by the first argument. Any name that is not another program's is the manager's: an agent
    /// uploaded to another host carries its build in its name.
    #[must_use]
    pub fn of(called_as: Option<&OsString>) -> Program {
        let name = called_as
            .and_then(|path| Path::new(path).file_name())
            .and_then(|name| name.to_str());
        match name {
            Some("barman-wal-archive" | "barkeep-wal-archive") => Program::WalArchive,
            Some("barman-wal-restore" | "barkeep-wal-restore") => Program::WalRestore,
            Some("barman") => Program::Manager("barman"),
            _ => Program::Manager("barkeep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path_decides() {
        for (path, program) in [
            ("/usr/bin/barman", Program::Manager("barman")),
            ("barkeep", Program::Manager("barkeep")),
            ("./barman-wal-archive", Program::WalArchive),
            ("/usr/local/bin/barman-wal-restore", Program::WalRestore),
            ("/home/p/.cache/barkeep/agent-0.1.0", Program::Manager("barkeep")),
        ] {
            assert_eq!(Program::of(Some(&OsString::from(path))), program, "{path}");
        }
        assert_eq!(Program::of(None), Program::Manager("barkeep"));
    }
}
