//! Directory trees: copied with their links, described in text for comparison.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

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

/// What a tree looked like, lock files too, with the last change of everything in it.
pub struct Traces(BTreeMap<PathBuf, (i64, i64, u64)>);

impl Traces {
    pub fn of(root: &Path) -> Traces {
        let entries = WalkDir::new(root).into_iter().map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let change = (metadata.ctime(), metadata.ctime_nsec(), metadata.len());
            (entry.into_path(), change)
        });
        Traces(entries.collect())
    }

    /// What has changed since, even if only the time of a directory.
    pub fn changed(&self, root: &Path) -> Vec<PathBuf> {
        let now = Traces::of(root).0;
        let paths = self.0.keys().chain(now.keys());
        paths
            .filter(|path| self.0.get(*path) != now.get(*path))
            .cloned()
            .collect()
    }
}

/// One line per file and directory below `root`, sorted: kind, mode, path, size, time, a digest.
///
/// * Lock files are left out: both tools leave them behind, with a pid inside.
/// * A compressed WAL file is described by its decompressed content: no two compressors write the same bytes.
/// * `xlog.db` is described line by line, the size as "the file's size" when it is.
/// * Times of the last hour are all the same time: now.
pub fn describe(root: &Path) -> String {
    let mut lines = Vec::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        // A file may go away while its tree is described: PostgreSQL ships WAL whenever it likes.
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let base = entry.file_name().to_string_lossy();
        if name.is_empty() || (base.starts_with('.') && base.ends_with(".lock")) {
            continue;
        }
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            lines.push(format!("d {mode:04o} {name}"));
        } else if metadata.is_symlink() {
            lines.push(format!(
                "l {name} -> {}",
                std::fs::read_link(path).unwrap().display()
            ));
        } else if base.ends_with("-xlog.db") {
            lines.push(format!("f {mode:04o} {name}"));
            lines.extend(describe_xlogdb(path));
        } else {
            lines.push(format!(
                "f {mode:04o} {name} {} {}",
                describe_content(path),
                time_of(path)
            ));
            if base.ends_with("-backup.info") {
                let text = std::fs::read_to_string(path).unwrap();
                lines.extend(text.lines().map(|line| format!("  | {line}")));
            }
        }
    }
    lines.join("\n")
}

/// Kind, mode and path of what `is_wanted` of a tree, sorted, and the lines of the information files of backups. No file is
/// looked into besides these.
pub fn outline(root: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let name_of = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    let mut lines = Vec::new();
    let entries = WalkDir::new(root).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| is_wanted(&name_of(entry.path()))) {
        let Ok(entry) = entry else { continue };
        let (path, name) = (entry.path(), name_of(entry.path()));
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        if name.is_empty() {
            continue;
        } else if metadata.is_dir() {
            lines.push(format!("d {mode:04o} {name}"));
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(path).unwrap();
            lines.push(format!("l {name} -> {}", target.display()));
        } else {
            lines.push(format!("f {mode:04o} {name}"));
        }
        if name.ends_with("-backup.info") {
            let text = std::fs::read_to_string(path).unwrap();
            lines.extend(text.lines().map(|line| format!("  | {line}")));
        }
    }
    lines
}

/// Full seconds since 1970, or `now`.
fn time_of(path: &Path) -> String {
    let Ok(metadata) = path.metadata() else {
        return "gone".to_owned();
    };
    let seconds = metadata.mtime();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    if now - seconds < 3600 {
        "now".to_owned()
    } else {
        seconds.to_string()
    }
}

fn describe_content(path: &Path) -> String {
    let Ok(content) = std::fs::read(path) else {
        return "gone".to_owned();
    };
    match decompressed(path, &content) {
        Some((algorithm, plain)) => format!("{algorithm} of {} {}", plain.len(), digest(&plain)),
        None => format!("{} {}", content.len(), digest(&content)),
    }
}

/// Twelve hexadecimal digits of SHA-256.
pub fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(6)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The module's own command line cannot decompress.
const SNAPPY: &str = "import sys\nfrom snappy.snappy import StreamDecompressor as D\n\
                      sys.stdout.buffer.write(D().decompress(sys.stdin.buffer.read()))";

/// Decompresses with the stock programs when the content starts with a known magic.
pub fn decompressed(path: &Path, content: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let python = super::tool::cache()
        .join("barman/bin/python")
        .display()
        .to_string();
    let formats: [(&[u8], &str, Vec<&str>); 6] = [
        (b"\x1f\x8b\x08", "gzip", vec!["gzip", "-dc"]),
        (b"BZh", "bzip2", vec!["bzip2", "-dc"]),
        (b"\xfd7zXZ\0", "xz", vec!["xz", "-dc"]),
        (b"\x28\xb5\x2f\xfd", "zstd", vec!["zstd", "-qdc"]),
        (b"\x04\x22\x4d\x18", "lz4", vec!["lz4", "-qdc"]),
        (b"\xff\x06\0\0sNaPpY", "snappy", vec![&python, "-c", SNAPPY]),
    ];
    // The same file is described again and again: two runs of every case.
    static SEEN: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let key = digest(content);
    let (_, name, command) = formats
        .into_iter()
        .find(|(magic, ..)| content.starts_with(magic))?;
    if let Some(plain) = SEEN.lock().unwrap().get(&key) {
        return Some((name, plain.clone()));
    }
    let mut child = Command::new(command[0]);
    child
        .args(&command[1..])
        .stdin(std::fs::File::open(path).unwrap());
    let output = child.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} cannot read {}",
        path.display()
    );
    SEEN.lock().unwrap().insert(key, output.stdout.clone());
    Some((name, output.stdout))
}

/// The lines of a WAL database, each compared with the file that it records.
fn describe_xlogdb(path: &Path) -> Vec<String> {
    let server = path.parent().unwrap().parent().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let describe_line = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let file = super::catalog::archive_path(server, columns[0]);
        let real = file.metadata().map(|m| m.len()).ok();
        let size = columns.get(1).and_then(|size| size.parse::<u64>().ok());
        let size = match (size, real) {
            (Some(recorded), Some(real)) if recorded == real => "size-of-file".to_owned(),
            (recorded, real) => format!("size {recorded:?} but the file has {real:?}"),
        };
        let time = columns.get(2).map(|t| recent_or(t)).unwrap_or_default();
        format!(
            "  | {} {size} {time} {}",
            columns[0],
            columns.get(3..).unwrap_or_default().join(" ")
        )
    };
    text.lines().map(describe_line).collect()
}

/// The time column as written, or `now`.
fn recent_or(text: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    match text.parse::<f64>() {
        Ok(seconds) if now - seconds < 3600.0 => "now".to_owned(),
        _ => text.to_owned(),
    }
}

/// A copy of a tree at a path that does not exist yet, which it returns.
pub fn copy_of(from: &Path, to: &Path) -> PathBuf {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
    to.to_path_buf()
}

/// The files below a directory, with the content of those that are text.
pub fn files(root: &Path) -> BTreeMap<String, String> {
    files_with_text(root, |path| {
        let name = path.to_string_lossy();
        name.ends_with(".info") || name.ends_with("xlog.db")
    })
}

/// The files below a directory, with the content of those that `is_text` names.
pub fn files_with_text(root: &Path, is_text: impl Fn(&Path) -> bool) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(root).into_iter().map(Result::unwrap) {
        let name = entry.path().strip_prefix(root).unwrap().display().to_string();
        let content = if is_text(entry.path()) {
            std::fs::read_to_string(entry.path()).unwrap()
        } else {
            String::new()
        };
        files.insert(name, content);
    }
    files
}
