//! Directory trees: copied with their links, described in text for comparison.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::process::run;

/// Copies a tree with owners, modes, times and hard links. `to` must not exist.
#[track_caller]
pub fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("/bin/cp");
    cp.arg("-a").arg(from).arg(to);
    run(cp).success();
}

/// One line per file and directory below `root`, sorted: kind, mode, size, a digest, path.
///
/// Lock files are left out (both tools leave them behind, with a pid inside), and so is the content of files for
/// which `opaque` answers true.
pub fn describe(root: &Path, opaque: impl Fn(&str) -> bool) -> String {
    let mut lines = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let name = entry
            .path()
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let base = entry.file_name().to_string_lossy();
        if name.is_empty() || (base.starts_with('.') && base.ends_with(".lock")) {
            continue;
        }
        let metadata = entry.path().symlink_metadata().unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        let line = if metadata.is_dir() {
            format!("d {mode:04o} {name}")
        } else if metadata.is_symlink() {
            format!(
                "l {name} -> {}",
                std::fs::read_link(entry.path()).unwrap().display()
            )
        } else if opaque(&name) {
            format!("f {mode:04o} {name} (content not compared)")
        } else {
            let digest = Sha256::digest(std::fs::read(entry.path()).unwrap());
            let short: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
            format!("f {mode:04o} {name} {} {short}", metadata.size())
        };
        lines.push(line);
    }
    lines.join("\n")
}
