//! The manifest of the full backup that results, without reading what did not change.
//!
//! Checksums of unchanged files are those of the full backup's manifest, of whole files those of the newer one's. The CRC of
//! a file of which few blocks changed follows from the old CRC and those blocks, since CRCs are linear: so damage that was
//! in the file before is still damage by the new manifest. Everything else is read.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;
use xxhash_rust::xxh3::xxh3_128;

use super::MergeError;
use super::parts::{LABEL, MANIFEST, MARK, RECORDS, Records, Roots, TEMPORARY};
use crate::agent::message::Attributes;
use crate::base::error::PathContext;
use crate::base::interrupt;
use crate::copy::records::{self, FileChecksum, Form, RecordIndex, RecordWriter};
use crate::copy::verify::{self, Wanted};
use crate::postgres::manifest::{self, Checksum, Layout, ManifestFile, ManifestWriter};
use crate::postgres::page::PAGE_SIZE;
use crate::postgres::page_sum::PageSum;
use crate::postgres::{label, manifest_head};

/// A file that was patched.
#[derive(Debug, Clone)]
pub(super) struct Computed {
    size: u64,
    algorithm: Checksum,
    checksum: Vec<u8>,
    /// It is not what it was when the backup was taken.
    pub(super) damaged: bool,
}

/// What the manifests and records of both backups say.
pub(super) struct Checksums {
    newest_records: Option<RecordIndex>,
    root_records: Option<RecordIndex>,
    newest: HashMap<u128, Known>,
    root: HashMap<u128, Known>,
    /// The newer backup has a manifest, so the result gets one.
    wanted: bool,
    /// That covers tablespaces.
    tablespaces: bool,
    algorithm: Checksum,
    resumed: bool,
}

struct Known {
    size: u64,
    algorithm: Checksum,
    checksum: Box<[u8]>,
}

/// The key of a file, by its path within a backup's directory.
pub(super) fn key(path: &Path) -> u128 {
    xxh3_128(path.as_os_str().as_bytes())
}

impl Checksums {
    pub(super) fn load(roots: &Roots, records: &Records, resumed: bool) -> Result<Checksums, MergeError> {
        let mut algorithm = Checksum::Crc32c;
        let mut tablespaces = false;
        let newest = roots.newest().join("data/backup_manifest");
        let wanted = newest.is_file();
        let newest = known(&newest, &mut |file| {
            algorithm = file.algorithm;
            tablespaces |= file.path.starts_with(b"pg_tblspc/");
        })?;
        let root = known(&roots.root().join("data/backup_manifest"), &mut |_| {})?;
        Ok(Checksums {
            newest_records: index(&records.newest),
            root_records: index(&records.root),
            newest,
            root,
            wanted,
            tablespaces,
            algorithm,
            resumed,
        })
    }

    /// The checksum of a file that is about to be patched, where it can be carried along.
    pub(super) fn running(
        &self,
        path: &Path,
        of_root: bool,
        old_size: u64,
        size: u64,
        changed: u64,
    ) -> Option<Running> {
        const PAGE: u64 = PAGE_SIZE as u64;
        let few = changed.saturating_mul(4) < size / PAGE;
        let fits = old_size.is_multiple_of(PAGE) && size >= old_size;
        // After an earlier attempt nobody knows which blocks have been written.
        if self.resumed || !of_root || !few || !fits {
            return None;
        }
        let known = self.root.get(&key(path))?;
        if known.algorithm != Checksum::Crc32c || known.size != old_size {
            return None;
        }
        let crc = u32::from_le_bytes(*known.checksum.first_chunk::<4>()?);
        let sum = match self.expected(path) {
            None => None,
            // With nothing to start from, the file has to be read.
            Some(_) => {
                let old = self.root_records.as_ref()?.get(path.as_os_str().as_bytes())?;
                Some(old.sum.filter(|_| old.size == old_size)?)
            }
        };
        Some(Running::new(crc, sum, old_size, size))
    }

    /// The sum that a file of the newer backup had when that was taken.
    fn expected(&self, path: &Path) -> Option<PageSum> {
        let records = self.newest_records.as_ref()?;
        records.get(path.as_os_str().as_bytes())?.sum
    }

    /// Permissions and time of a file of the newer backup at its source.
    pub(super) fn attributes(&self, path: &Path) -> Option<Attributes> {
        let known = self.newest_records.as_ref()?.get(path.as_os_str().as_bytes())?;
        Some(Attributes {
            mode: known.mode,
            modified: known.modified,
        })
    }

    /// The checksum of a file that has been patched.
    pub(super) fn finish(
        &self,
        running: Option<Running>,
        path: &Path,
        target: &Path,
    ) -> Result<Computed, MergeError> {
        let expected = self.expected(path);
        if let Some(running) = running {
            return Ok(Computed {
                size: running.size,
                algorithm: Checksum::Crc32c,
                checksum: running.crc.to_le_bytes().to_vec(),
                damaged: running.sum != expected,
            });
        }
        let wanted = Wanted {
            checksum: self.wanted.then_some(self.algorithm),
            sum: expected.is_some(),
            pages: None,
        };
        let found = verify::file(target, path.as_os_str().as_bytes(), wanted)?;
        Ok(Computed {
            size: found.size,
            algorithm: self.algorithm,
            checksum: found.checksum,
            damaged: expected.is_some_and(|expected| expected != found.sum),
        })
    }
}

/// The CRC-32C and the sum of a file whose blocks are being exchanged.
pub(super) struct Running {
    crc: u32,
    sum: Option<PageSum>,
    size: u64,
}

impl Running {
    fn new(crc: u32, sum: Option<PageSum>, old_size: u64, size: u64) -> Running {
        let mut running = Running { crc, sum, size };
        // What it grows by are zeros at first.
        let zeros = vec![0; PAGE_SIZE];
        for number in old_size / PAGE_SIZE as u64..size / PAGE_SIZE as u64 {
            running.crc = crc32c::crc32c_append(running.crc, &zeros);
            running.sum = running.sum.map(|sum| sum.plus(PageSum::of_page(number, &zeros)));
        }
        running
    }

    /// The block with this number is `new` and no longer `old`.
    pub(super) fn exchange(&mut self, block: u32, old: &[u8], new: &[u8]) {
        let difference = crc32c::crc32c(old) ^ crc32c::crc32c(new);
        let end = (u64::from(block) + 1) * PAGE_SIZE as u64;
        let behind = usize::try_from(self.size.saturating_sub(end)).unwrap_or(usize::MAX);
        self.crc ^= crc32c::crc32c_combine(difference, 0, behind);
        let number = u64::from(block);
        self.sum = self.sum.map(|sum| {
            sum.minus(PageSum::of_page(number, old))
                .plus(PageSum::of_page(number, new))
        });
    }
}

/// A manifest by the paths within the backup's directory; empty where there is none.
fn known(path: &Path, each: &mut dyn FnMut(&ManifestFile)) -> Result<HashMap<u128, Known>, MergeError> {
    let mut files = HashMap::new();
    if !path.is_file() {
        return Ok(files);
    }
    manifest::read(path, &mut |file| {
        each(&file);
        let place = match file.path.strip_prefix(b"pg_tblspc/") {
            Some(tablespace) => tablespace.to_vec(),
            None => [b"data/", &*file.path].concat(),
        };
        let known = Known {
            size: file.size,
            algorithm: file.algorithm,
            checksum: file.checksum.into(),
        };
        files.insert(xxh3_128(&place), known);
    })?;
    Ok(files)
}

fn index(path: &Path) -> Option<RecordIndex> {
    if !path.exists() {
        return None;
    }
    // Without them more is read, and less is proved.
    RecordIndex::load(path)
        .inspect_err(|error| log::warn!("{error}"))
        .ok()
}

/// Writes the records of the result: those of the newer backup, whose files are all whole now.
pub(super) fn write_records(
    roots: &Roots,
    records: &Records,
    known: &Checksums,
    computed: &HashMap<u128, Computed>,
) -> Result<(), MergeError> {
    if known.newest_records.is_none() {
        return Ok(());
    }
    let mut writer = RecordWriter::create(&roots.root().join(RECORDS))?;
    records::read::<MergeError>(&records.newest, &mut |mut record| {
        if record.form != Form::Whole {
            record.form = Form::Whole;
            record.stored = record.size;
            let old = || {
                let index = known.root_records.as_ref()?;
                let old = index
                    .get(&record.path)
                    .filter(|old| old.is_whole() && old.size == record.size)?;
                index.checksum(old)
            };
            record.checksum = match computed.get(&xxh3_128(&record.path)) {
                Some(computed) if computed.checksum.is_empty() => None,
                Some(computed) => Some(FileChecksum {
                    algorithm: computed.algorithm,
                    value: computed.checksum.clone(),
                }),
                None => old(),
            };
        }
        Ok(writer.add(&record)?)
    })?;
    Ok(writer.finish()?)
}

/// Writes the label and the manifest of the result beside those that are still in place.
pub(super) fn write_manifest(
    roots: &Roots,
    known: &Checksums,
    computed: &HashMap<u128, Computed>,
) -> Result<(), MergeError> {
    let theirs = roots.newest().join("data/backup_label");
    let label = label::as_full(&fs::read(&theirs).at("read", &theirs)?);
    let path = roots.root().join(LABEL);
    fs::write(&path, &label).at("write", &path)?;
    let metadata = fs::metadata(&theirs).at("look at", &theirs)?;
    fs::set_permissions(&path, metadata.permissions()).at("set the permissions of", &path)?;
    File::open(&path)
        .and_then(|file| file.sync_all())
        .at("sync", &path)?;
    if !known.wanted {
        return Ok(());
    }
    let head = manifest_head::read(&roots.newest().join("data/backup_manifest"))?;
    let layout = Layout::PostgreSql {
        ranges: head.ranges,
        system_identifier: head.system_identifier,
    };
    let path = roots.root().join(MANIFEST);
    let output = BufWriter::new(File::create(&path).at("create", &path)?);
    let mut writer = ManifestWriter::new(output, layout).at("write", &path)?;
    let root = roots.root();
    for entry in WalkDir::new(root).min_depth(2).sort_by_file_name() {
        interrupt::check()?;
        let entry = entry.map_err(std::io::Error::from).at("read directory", root)?;
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if entry.file_type().is_file()
            && let Some(file) = describe(roots, relative, known, computed)?
        {
            writer.file(&file).at("write", &path)?;
        }
    }
    let output = writer.finish().at("write", &path)?;
    let file = output
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .at("write", &path)?;
    file.sync_all().at("sync", &path)?;
    Ok(())
}

/// A file of the result as the manifest lists it; `None` for what manifests leave out.
fn describe(
    roots: &Roots,
    relative: &Path,
    known: &Checksums,
    computed: &HashMap<u128, Computed>,
) -> Result<Option<ManifestFile>, MergeError> {
    let mut relative = PathBuf::from(relative);
    let mut full = roots.root().join(&relative);
    let name = relative.file_name().unwrap_or_default().as_bytes();
    if relative == Path::new(LABEL) {
        relative = PathBuf::from("data/backup_label");
    } else if name.starts_with(TEMPORARY.as_bytes())
        || name == MARK.as_bytes()
        || relative == Path::new("data/backup_label")
        || relative == Path::new("data/backup_manifest")
        || relative.starts_with("data/pg_wal")
    {
        return Ok(None);
    }
    let listed = match relative.strip_prefix("data") {
        Ok(inside) => inside.to_path_buf(),
        Err(_) if known.tablespaces => Path::new("pg_tblspc").join(&relative),
        Err(_) => return Ok(None),
    };
    let metadata = fs::metadata(&full).at("look at", &full)?;
    let mut file = ManifestFile {
        path: listed.into_os_string().into_encoded_bytes(),
        size: metadata.len(),
        modified: metadata.mtime(),
        algorithm: known.algorithm,
        checksum: Vec::new(),
    };
    let key = key(&relative);
    // A file that the newer backup has whole is that one, whatever the older one had by its name.
    let whole = roots.newest().join(&relative).symlink_metadata().is_ok();
    let taken_over = if whole {
        known.newest.get(&key)
    } else {
        known.root.get(&key)
    };
    if let Some(computed) = computed.get(&key).filter(|computed| computed.size == file.size) {
        file.algorithm = computed.algorithm;
        file.checksum.clone_from(&computed.checksum);
    } else if let Some(theirs) = taken_over.filter(|theirs| theirs.size == file.size)
        && relative != Path::new("data/backup_label")
    {
        file.algorithm = theirs.algorithm;
        file.checksum = theirs.checksum.to_vec();
    } else {
        let wanted = Wanted {
            checksum: Some(known.algorithm),
            ..Wanted::default()
        };
        full = full.clone();
        file.checksum = verify::file(&full, b"", wanted)?.checksum;
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::page_sum::PageSummer;

    #[test]
    fn a_crc_follows_from_the_blocks_that_change() {
        let mut content: Vec<u8> = (0..5 * PAGE_SIZE).map(|n| (n % 251) as u8).collect();
        let sum = |content: &[u8]| {
            let mut summer = PageSummer::default();
            summer.update(content);
            summer.finish()
        };
        let mut running = Running::new(
            crc32c::crc32c(&content),
            Some(sum(&content)),
            content.len() as u64,
            7 * PAGE_SIZE as u64,
        );
        content.resize(7 * PAGE_SIZE, 0);
        for (block, fill) in [(0, 9), (3, 0), (6, 77), (3, 12)] {
            let place = block * PAGE_SIZE..(block + 1) * PAGE_SIZE;
            let new = vec![fill; PAGE_SIZE];
            let old = content.get(place.clone()).unwrap_or_default().to_vec();
            running.exchange(u32::try_from(block).unwrap_or_default(), &old, &new);
            content.splice(place, new);
            assert_eq!(running.crc, crc32c::crc32c(&content));
            assert_eq!(running.sum, Some(sum(&content)));
        }
    }
}
