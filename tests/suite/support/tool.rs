//! The two tools: real Barman, which is the reference, and barkeep, which is under test.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::scratch::Scratch;

/// Where `tests/setup` put what does not come from Debian 12.
pub fn cache() -> PathBuf {
    std::env::var_os("BARKEEP_TEST_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/barkeep-tests"), PathBuf::from)
}

/// One of the tools: a directory that holds `barman`, `barman-wal-archive`, `barman-wal-restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub name: &'static str,
    pub bin: PathBuf,
}

impl Tool {
    /// Real Barman 3.19.1.
    pub fn barman() -> Tool {
        let bin = cache().join("barman/bin");
        assert!(
            bin.join("barman").exists(),
            "{} is missing: run tests/setup",
            bin.join("barman").display()
        );
        Tool { name: "barman", bin }
    }

    /// The tool under test, put where every account can run it.
    ///
    /// `BARKEEP_TEST_TOOL` names another directory of programs: with real Barman's, the suites test themselves.
    pub fn barkeep(scratch: &Scratch) -> Tool {
        if let Some(bin) = std::env::var_os("BARKEEP_TEST_TOOL") {
            return Tool {
                name: "barkeep",
                bin: PathBuf::from(bin),
            };
        }
        let bin = scratch.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_barkeep"), bin.join("barkeep")).unwrap();
        std::fs::set_permissions(bin.join("barkeep"), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["barman", "barman-wal-archive", "barman-wal-restore"] {
            symlink("barkeep", bin.join(name)).unwrap();
        }
        Tool { name: "barkeep", bin }
    }

    /// One of the tool's programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Options of `barman-wal-archive` with which no connection outlives the call: trials look for what is left running.
    pub fn leaving_nothing(&self) -> &'static str {
        if self.name == "barkeep" && std::env::var_os("BARKEEP_TEST_TOOL").is_none() {
            "--persist 0"
        } else {
            ""
        }
    }

    pub fn path(&self) -> &Path {
        &self.bin
    }
}
