//! A server's directories in a temporary place, for the tests of this module.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{Location, ServerConfig};
use crate::postgres::wal_header::sample_header;

use super::place::Places;

/// The segment size of the sandbox: the smallest PostgreSQL allows.
pub(super) const SEGMENT_SIZE: usize = 1 << 20;

/// A directory that is removed at the end of the test.
pub(super) struct Sandbox {
    pub(super) root: PathBuf,
    pub(super) config: ServerConfig,
}

impl Sandbox {
    pub(super) fn new() -> Sandbox {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("barkeep-archive-{}-{number}", std::process::id()));
        for directory in ["incoming", "streaming", "wals", "errors", "meta", "base", "locks"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let config = ServerConfig {
            name: "main".to_owned(),
            active: true,
            archiver: true,
            barman_home: root.clone(),
            barman_lock_directory: root.join("locks"),
            backup_directory: root.clone(),
            basebackups_directory: Location::Local(root.join("base")),
            incoming_wals_directory: root.join("incoming"),
            streaming_wals_directory: root.join("streaming"),
            wals_directory: Location::Local(root.join("wals")),
            xlogdb_directory: root.join("wals"),
            errors_directory: root.join("errors"),
            ..ServerConfig::default()
        };
        Sandbox { root, config }
    }

    pub(super) fn places(&self) -> Places {
        Places::of(&self.config).unwrap()
    }

    /// Writes a file below the root.
    pub(super) fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes an executable script below the root. Another process writes it: had this one the file open for writing
    /// while another test starts a process, that process would inherit it and the script could not be run.
    pub(super) fn script(&self, path: &str, script: &str) -> PathBuf {
        let path = self.root.join(path);
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(&path);
        let text = format!("#!/bin/sh\n{script}\n");
        let written = crate::base::process::output_with_input(&mut command, text.as_bytes()).unwrap();
        assert!(written.status.success());
        path
    }

    /// The names in a directory below the root, sorted.
    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root.join(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// A segment: a true header, then bytes made from `seed`.
pub(super) fn segment(name: &str, seed: u32) -> Vec<u8> {
    let mut content = sample_header(name, u32::try_from(SEGMENT_SIZE).unwrap(), 42);
    let mut state = seed;
    while content.len() < SEGMENT_SIZE {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        content.extend((state >> 20).to_le_bytes());
    }
    content.truncate(SEGMENT_SIZE);
    content
}
