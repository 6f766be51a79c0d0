//! A backup by rsync: list, compare, directories, then the files in parallel, then what rsync does not do: sync and sums.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::command::{Rsync, near, run};
use crate::agent::filter::Filter;
use crate::agent::message::{Attributes, Entry, EntryKind, Time};
use crate::agent::tree;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::report::Reporter;
use crate::copy::plan::{CopyItem, CopyPlan, ItemContent, Reuse};
use crate::copy::records::{FileChecksum, FileRecord, Form, RecordWriter};
use crate::copy::report::{CopyReport, ItemReport, Method};
use crate::copy::{CopyError, local};
use crate::transport::Remote;

/// See [`crate::copy::pull`].
pub(in crate::copy) fn pull(
    plan: &CopyPlan,
    source: &Remote,
    reporter: &dyn Reporter,
    reason: String,
) -> Result<CopyReport, CopyError> {
    let begin = Instant::now();
    let rsync = Rsync {
        remote: source,
        compress: plan.compress,
        bandwidth_kib: plan.bandwidth_kib,
    };
    let mut report = CopyReport {
        method: Method::Rsync { reason },
        workers: plan.jobs.max(1),
        ..CopyReport::default()
    };
    for item in &plan.items {
        reporter.debug(&format!("rsync copies {}", item.source.display()));
        report.items.push(ItemReport {
            label: item.label.clone(),
            ..ItemReport::default()
        });
    }
    // pg_control follows everything else.
    let is_last = |item: &CopyItem| item.content == ItemContent::Control;
    for last in [false, true] {
        for (item, done) in plan
            .items
            .iter()
            .zip(&mut report.items)
            .filter(|(item, _)| is_last(item) == last)
        {
            let rsync = Rsync {
                bandwidth_kib: item.bandwidth_kib.or(plan.bandwidth_kib),
                ..rsync
            };
            report.vanished.extend(copy_item(plan, &rsync, item, done)?);
        }
    }
    let mut records = match &plan.records {
        Some(records) => Some(RecordWriter::create(&records.path)?),
        None => None,
    };
    for (item, done) in plan.items.iter().zip(&mut report.items) {
        account(
            plan,
            item,
            done,
            &mut records,
            &mut report.stored_bytes,
            &mut report.reused_files,
        )?;
    }
    records.map_or(Ok(()), RecordWriter::finish)?;
    report.files = report.items.iter().map(|item| item.files).sum();
    report.total_bytes = report.items.iter().map(|item| item.bytes).sum();
    report.backup_bytes = report.total_bytes;
    report.analysis_seconds = report.items.iter().filter_map(|item| item.analysis_seconds).sum();
    report.copy_seconds = report.items.iter().map(|item| item.copy_seconds).sum();
    report.total_seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

/// Copies an item; gives the files that were listed and are not there.
fn copy_item(
    plan: &CopyPlan,
    rsync: &Rsync,
    item: &CopyItem,
    done: &mut ItemReport,
) -> Result<Vec<PathBuf>, CopyError> {
    match item.content {
        ItemContent::Tablespace | ItemContent::Pgdata => copy_directory(plan, rsync, item, done),
        ItemContent::Control | ItemContent::Config { .. } => {
            let begin = Instant::now();
            if let Some(parent) = item.destination.parent() {
                durable::create_dir_all(parent)?;
            }
            let mut arguments = rsync.arguments(&Filter::default(), None);
            arguments.extend([rsync.far(&item.source, false), near(&item.destination, false)]);
            run(&item.label, &arguments)?;
            done.copy_seconds = begin.elapsed().as_secs_f64();
            done.serialized_copy_seconds = done.copy_seconds;
            let optional = item.content == ItemContent::Config { optional: true };
            if !optional && !item.destination.exists() {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(PathError::new("copy", &item.source, gone).into());
            }
            Ok(Vec::new())
        }
    }
}

fn copy_directory(
    plan: &CopyPlan,
    rsync: &Rsync,
    item: &CopyItem,
    done: &mut ItemReport,
) -> Result<Vec<PathBuf>, CopyError> {
    let begin = Instant::now();
    durable::create_dir_all(&item.destination)?;
    let lists = Lists::new()?;
    let mut arguments = rsync.arguments(&item.filter, None);
    arguments.extend(["--no-human-readable", "--list-only", "-r"].map(OsString::from));
    arguments.push(rsync.far(&item.source, true));
    let listing = run(&item.label, &arguments)?;
    let mut directories = Vec::new();
    let mut files = Vec::new();
    for line in listing.split(|byte| *byte == b'\n') {
        match parse_line(line) {
            Some(entry) if entry.kind == EntryKind::Directory => directories.push(entry.path.to_vec()),
            Some(entry) if entry.kind == EntryKind::File => files.push(entry),
            _ => {}
        }
    }
    let analysed = begin.elapsed().as_secs_f64();
    done.analysis_seconds = Some(analysed);
    // Directories first, nothing in them.
    let mut arguments = rsync.arguments(&item.filter, None);
    arguments.extend(["--recursive", "--delete", "--from0"].map(OsString::from));
    arguments.push(lists.write("directories", directories.iter().map(Vec::as_slice))?);
    arguments.extend(["--filter=+ */", "--filter=- *"].map(OsString::from));
    arguments.extend([rsync.far(&item.source, true), near(&item.destination, true)]);
    run(&item.label, &arguments)?;
    let dest = match (&item.reference, plan.reuse) {
        (Some(reference), Reuse::Link) => Some(option("--link-dest=", reference)),
        (Some(reference), Reuse::Copy) => Some(option("--copy-dest=", reference)),
        _ => None,
    };
    files.sort_by_key(|entry| entry.size);
    let jobs = plan.jobs.max(1);
    let (check, safe): (Vec<_>, Vec<_>) = files.iter().partition(|entry| must_be_read(plan, item, entry));
    for (name, list, checksum) in [("safe", safe, false), ("check", check, true)] {
        let results: Vec<Result<(), CopyError>> = std::thread::scope(|scope| {
            let buckets: Vec<_> = (0..jobs)
                .map(|bucket| {
                    let paths: Vec<&[u8]> = list
                        .iter()
                        .skip(bucket)
                        .step_by(jobs)
                        .map(|entry| &*entry.path)
                        .collect();
                    let (lists, dest) = (&lists, dest.clone());
                    scope.spawn(move || {
                        if paths.is_empty() {
                            return Ok(());
                        }
                        let mut arguments = rsync.arguments(&item.filter, dest);
                        arguments.extend([
                            rsync.far(&item.source, true),
                            near(&item.destination, true),
                            "--from0".into(),
                        ]);
                        arguments.push(lists.write(&format!("{name}{bucket}"), paths.into_iter())?);
                        if checksum {
                            arguments.push("--checksum".into());
                        }
                        run(&item.label, &arguments).map(|_| ())
                    })
                })
                .collect();
            buckets
                .into_iter()
                .map(|bucket| bucket.join().unwrap_or(Ok(())))
                .collect()
        });
        results.into_iter().collect::<Result<(), CopyError>>()?;
    }
    done.copy_seconds = begin.elapsed().as_secs_f64() - analysed;
    done.serialized_copy_seconds = done.copy_seconds;
    let paths = files.iter().map(|entry| std::ffi::OsStr::from_bytes(&entry.path));
    let vanished = paths.filter(|path| fs::symlink_metadata(item.destination.join(path)).is_err());
    Ok(vanished.map(|path| item.source.join(path)).collect())
}

/// Equal in size and time to the previous backup's file, and younger than the horizon.
fn must_be_read(plan: &CopyPlan, item: &CopyItem, entry: &Entry) -> bool {
    let modified = entry.attributes.modified.seconds;
    let horizon = plan
        .safe_horizon
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    if horizon.is_some_and(|horizon| modified < i64::try_from(horizon.as_secs()).unwrap_or(i64::MAX)) {
        return false;
    }
    let Some(reference) = item.reference.as_ref().filter(|_| plan.reuse != Reuse::Off) else {
        return false;
    };
    let path = reference.join(std::ffi::OsStr::from_bytes(&entry.path));
    fs::symlink_metadata(path)
        .is_ok_and(|old| old.is_file() && old.len() == entry.size && old.mtime() == modified)
}

/// One line of `rsync --list-only`: `-rw-------          8,192 2026/11/20 21:06:34 base/1/1247`.
fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut rest = line;
    let mut word = || -> Option<&[u8]> {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest.iter().skip(start).position(|byte| *byte == b' ')? + start;
        let word = rest.get(start..end)?;
        rest = rest.get(end..)?;
        Some(word)
    };
    let kind = match word()?.first()? {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let size = String::from_utf8_lossy(word()?)
        .replace([',', '.'], "")
        .parse()
        .ok()?;
    let stamp = format!(
        "{} {}",
        String::from_utf8_lossy(word()?),
        String::from_utf8_lossy(word()?)
    );
    let naive = chrono::NaiveDateTime::parse_from_str(&stamp, "%Y/%m/%d %H:%M:%S").ok()?;
    let seconds = crate::base::calendar::local(naive)?.timestamp();
    let attributes = crate::agent::message::Attributes {
        mode: 0,
        modified: Time {
            seconds,
            nanoseconds: 0,
        },
    };
    Some(Entry {
        path: unescape(rest.strip_prefix(b" ")?).into(),
        kind,
        size,
        attributes,
    })
}

/// rsync writes bytes that do not print as `\#ooo`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        if let (b'\\', Some((b'#', digits))) = (*first, after.split_first()) {
            let octal = digits
                .get(..3)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            if let Some(byte) = octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
                plain.push(byte);
                rest = digits.get(3..).unwrap_or_default();
                continue;
            }
        }
        plain.push(*first);
        rest = after;
    }
    plain
}

/// Goes through what arrived: sizes, links, sums, and everything synced.
fn account(
    plan: &CopyPlan,
    item: &CopyItem,
    done: &mut ItemReport,
    records: &mut Option<RecordWriter>,
    stored: &mut u64,
    reused: &mut u64,
) -> Result<(), CopyError> {
    // The other items lie in the data directory, and are met there.
    let is_directory = matches!(item.content, ItemContent::Pgdata | ItemContent::Tablespace);
    let mut files = Vec::new();
    let mut directories = Vec::new();
    if item.destination.is_dir() {
        tree::walk::<PathError>(&item.destination, &Filter::default(), false, &mut |entry| {
            let path = item.destination.join(std::ffi::OsStr::from_bytes(&entry.path));
            if entry.kind == EntryKind::Directory {
                directories.push(path)
            } else {
                files.push(path)
            }
            Ok(())
        })?;
    } else if item.destination.exists() {
        files.push(item.destination.clone());
    }
    for path in files {
        let metadata = fs::symlink_metadata(&path).at("look at", &path)?;
        done.files += 1;
        done.bytes += metadata.len();
        if metadata.nlink() == 1 {
            *stored += metadata.len();
            durable::sync_file(&path)?;
        } else {
            *reused += 1;
        }
        if let (true, Some(records)) = (is_directory, records.as_mut()) {
            record(plan, &path, &metadata, records)?;
        }
    }
    for directory in directories {
        durable::sync_dir(&directory)?;
    }
    durable::sync_parent(&item.destination)?;
    Ok(())
}

/// Records a file. It is read only if its checksum is needed.
fn record(
    plan: &CopyPlan,
    path: &Path,
    metadata: &fs::Metadata,
    records: &mut RecordWriter,
) -> Result<(), CopyError> {
    let directory = plan.records.as_ref().map(|records| &records.directory);
    let Some(relative) = directory.and_then(|directory| path.strip_prefix(directory).ok()) else {
        return Ok(());
    };
    let known = match plan.manifest {
        Some(algorithm) => {
            let found = local::hash(path, Some(algorithm), &|| {
                crate::base::interrupt::check().map_err(std::io::Error::other)
            })?;
            let value = found.checksum;
            Some((found.sum, FileChecksum { algorithm, value }))
        }
        None => None,
    };
    let attributes = Attributes::of(metadata);
    let (sum, checksum) = known.unzip();
    records.add(&FileRecord {
        path: relative.as_os_str().as_bytes().into(),
        mode: attributes.mode,
        size: metadata.len(),
        modified: attributes.modified,
        sum,
        form: Form::Whole,
        stored: metadata.len(),
        checksum,
    })?;
    Ok(())
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Files with names for `--files-from`, removed in the end.
struct Lists(PathBuf);

impl Lists {
    fn new() -> Result<Lists, PathError> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(".barkeep-lists-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).at("create directory", &path)?;
        Ok(Lists(path))
    }

    fn write<'a>(&self, name: &str, paths: impl Iterator<Item = &'a [u8]>) -> Result<OsString, PathError> {
        let path = self.0.join(name);
        let mut file = std::io::BufWriter::new(File::create(&path).at("create", &path)?);
        for name in paths {
            file.write_all(name)
                .and_then(|()| file.write_all(&[0]))
                .at("write", &path)?;
        }
        file.flush().at("write", &path)?;
        Ok(option("--files-from=", &path))
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove \"{}\": {error}", self.0.display());
        }
    }
}

/// The name of a path that rsync reports, as a path.
pub(super) fn named(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_of_the_listing() {
        let entry =
            parse_line(b"-rw-------          8,192 2026/11/20 21:06:34 base/1/a name\\#012x").unwrap();
        assert_eq!((entry.kind, entry.size), (EntryKind::File, 8192));
        assert_eq!(&*entry.path, b"base/1/a name\nx");
        assert_eq!(
            parse_line(b"drwx------ 4096 2026/11/20 21:06:34 .").unwrap().kind,
            EntryKind::Directory
        );
        assert!(parse_line(b"sent 20 bytes  received 30 bytes").is_none());
        assert!(parse_line(b"").is_none());
    }
}
