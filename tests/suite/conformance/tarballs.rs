//! Backups in tar files of `export-backup`: those that `import-backup` is given, and what is in those that were written.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::fixture::{Fixtures, servers};
use crate::support::manager::Manager;
use crate::support::process::run;
use crate::support::tool::Tool;
use crate::support::tree;

/// What is exported: a backup of the server `main`.
const BACKUP: &str = "20240110T100000";

/// The files that stand for `{tarball}` and its kin in a command line: of Barman, of barkeep, and spoilt ones. Made when a case needs them.
#[derive(Debug, Default)]
pub struct Tarballs(Mutex<Option<[(String, PathBuf); 8]>>);

impl Tarballs {
    /// The text with the paths in it.
    pub fn filled_in(&self, text: &str, fixtures: &Fixtures) -> String {
        if !text.contains("{tarball") {
            return text.to_owned();
        }
        let mut made = self.0.lock().unwrap();
        let files = made.get_or_insert_with(|| make(fixtures));
        files.iter().fold(text.to_owned(), |text, (word, path)| {
            text.replace(word, &path.display().to_string())
        })
    }
}

fn make(fixtures: &Fixtures) -> [(String, PathBuf); 8] {
    let exported = |name, tool: &Tool, options: &[&str]| export(fixtures, name, tool, options);
    let theirs = exported("theirs", &fixtures.barman, &[]);
    let content = std::fs::read(&theirs).unwrap();
    let directory = fixtures.scratch.join("exports");
    let spoilt = |name: &str, content: &[u8]| {
        let below = directory.join(name);
        std::fs::create_dir(&below).unwrap();
        let path = below.join(theirs.file_name().unwrap());
        std::fs::write(&path, content).unwrap();
        path
    };
    let mut touched = content.clone();
    touched.extend([0; 512]);
    let renamed = directory.join("sunday.tar");
    std::fs::write(&renamed, &content).unwrap();
    [
        ("{tarball}", theirs.clone()),
        ("{tarball-of-barkeep}", exported("ours", &fixtures.barkeep, &[])),
        (
            "{tarball-gzip}",
            exported("packed", &fixtures.barman, &["--compression", "gzip"]),
        ),
        (
            "{tarball-xz-of-barkeep}",
            exported("xz", &fixtures.barkeep, &["--compression", "xz"]),
        ),
        ("{tarball-cut}", spoilt("cut", &content[..content.len() / 2])),
        ("{tarball-longer}", spoilt("longer", &touched)),
        ("{tarball-junk}", spoilt("junk", b"this is no tar file")),
        ("{tarball-renamed}", renamed),
    ]
    .map(|(word, path)| (word.to_owned(), path))
}

/// Exports from a copy of the synthetic catalog.
fn export(fixtures: &Fixtures, name: &str, tool: &Tool, options: &[&str]) -> PathBuf {
    let directory = fixtures.scratch.join("exports").join(name);
    let manager = Manager::new(&directory);
    tree::copy(&fixtures.synthetic().join("main"), &manager.server("main"));
    let main: Vec<_> = servers()
        .into_iter()
        .filter(|(name, _)| *name == "main")
        .collect();
    manager.configure("", &main);
    let output = directory.display().to_string();
    let words = [&["export-backup"], options, &["main", BACKUP, &output]].concat();
    manager.run(tool, &words).success();
    exports(&directory).pop().unwrap()
}

fn exports(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("backup-export-") && name.contains(".tar")
        })
        .collect();
    paths.sort_unstable();
    paths
}

/// The members of the exports in a directory, one a line; without those that only barkeep writes (differences.md, "members").
pub fn describe_exports(directory: &Path) -> String {
    let mut text = String::new();
    for path in exports(directory) {
        let unpacked = directory.join(".unpacked");
        std::fs::create_dir(&unpacked).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&unpacked).arg("-xf").arg(&path);
        run(tar).success();
        let note = unpacked.join("barman.json");
        let keys = keys_of(&std::fs::read_to_string(&note).unwrap());
        std::fs::remove_file(note).unwrap();
        let _ = std::fs::remove_dir_all(unpacked.join("barkeep"));
        text.push_str(&format!("\nmembers, and barman.json with {keys}\n"));
        text.push_str(&tree::describe(&unpacked));
        std::fs::remove_dir_all(unpacked).unwrap();
    }
    text
}

fn keys_of(document: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let keys = document.as_object().unwrap().keys();
    let keys: Vec<&str> = keys
        .map(String::as_str)
        .filter(|key| *key != "barkeep_ver")
        .collect();
    keys.join(" ")
}
