//! `put-wal`: receives WAL files as a tar stream on standard input (behaviour reference §14).
//!
//! The stream holds files and, in a member `SHA256SUMS` or `MD5SUMS` ([`Sums`]), their checksums. Nothing is accepted unless
//! everything is: every file is written to a hidden name and synced, all checksums are compared, and only then are the
//! files renamed and the directory synced. The caller may report success only after [`put_wal`] has returned.
//!
//! A file that was received before is a success and changes nothing. One whose name is known with another content is a
//! success, too, and kept beside: see [`duplicate`].

mod duplicate;
mod error;
mod syncing;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::writeback::EarlyFile;
use crate::codec::WalCodec;
use crate::postgres::wal_name::WalKind;

use super::compare::same_content;
use super::place::Places;
use super::sums::Sums;

use syncing::Syncing;

pub use duplicate::Duplicate;
pub use error::PutWalError;

/// The longest list of checksums that is read: room for a hundred thousand files.
const LIST_LIMIT: u64 = 16 * 1024 * 1024;

/// A file that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its name.
    pub name: String,
    /// Its checksum, in hexadecimal.
    pub checksum: String,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Every file of it.
    pub received: Vec<Received>,
    /// Those that were put into the errors directory.
    pub duplicates: Vec<Duplicate>,
}

/// Receives the files of the tar stream `input` into the incoming directory. When it returns they are on disk. The list
/// will probably hold `sums`; checksums of another sort are computed from what was written.
///
/// # Errors
/// Not everything was accepted, for the reason given: all of it is to be sent again.
pub fn put_wal(
    places: &Places,
    codec: &WalCodec,
    sums: Sums,
    input: impl Read,
) -> Result<Delivered, PutWalError> {
    // WAL may be on its way before the first backup or check.
    durable::create_dir_all(&places.incoming)?;
    let mut delivery = Delivery::new(places, sums);
    delivery.unpack(input)?;
    let received = delivery.verify()?;
    let duplicates = delivery.accept(codec)?;
    for received in &received {
        log::info!(
            target: "barman.server",
            "Received file '{}' with checksum '{}' by put-wal for server '{}'",
            received.name,
            received.checksum,
            places.server
        );
    }
    Ok(Delivered { received, duplicates })
}

/// A delivery under way. Dropping it removes the temporary files.
struct Delivery<'a> {
    places: &'a Places,
    files: BTreeMap<String, Unpacked>,
    /// What the lists say: of each file its checksum, and of which sort that is.
    expected: BTreeMap<String, (Sums, String)>,
    /// The checksums that are computed while files arrive.
    sums: Sums,
    syncing: Syncing,
}

/// What is known of a name.
enum Known {
    /// Nothing, or nothing that could be compared.
    New,
    /// The same content.
    Same,
    /// Another content, in this file.
    Other(PathBuf),
}

/// A file under its temporary name, synced when everything has been unpacked.
struct Unpacked {
    temporary: PathBuf,
    checksum: String,
}

impl<'a> Delivery<'a> {
    fn new(places: &'a Places, sums: Sums) -> Self {
        Delivery {
            places,
            files: BTreeMap::new(),
            expected: BTreeMap::new(),
            sums,
            syncing: Syncing::default(),
        }
    }

    fn server(&self) -> String {
        self.places.server.clone()
    }

    fn stream_error(&self, source: io::Error) -> PutWalError {
        PutWalError::Stream {
            server: self.server(),
            source,
        }
    }

    fn unpack(&mut self, input: impl Read) -> Result<(), PutWalError> {
        let mut archive = tar::Archive::new(NotEmpty::new(input));
        let entries = archive.entries().map_err(|source| self.stream_error(source))?;
        for entry in entries {
            let mut entry = entry.map_err(|source| self.stream_error(source))?;
            self.member(&mut entry)?;
        }
        std::mem::take(&mut self.syncing).finish()?;
        Ok(())
    }

    fn member<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), PutWalError> {
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            return Err(PutWalError::FileType {
                kind: char::from(kind.as_byte()),
                name: name.trim_end_matches('/').to_owned(),
                server: self.server(),
            });
        }
        if let Some(sums) = Sums::of_list(&name) {
            return self.list(entry, sums);
        }
        if WalKind::of(&name).is_none() {
            return Err(PutWalError::Filename {
                name,
                server: self.server(),
            });
        }
        self.file(entry, name)
    }

    /// Reads a list of checksums: `{hex}`, two characters that are a blank and a blank or an asterisk, the name.
    fn list<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, sums: Sums) -> Result<(), PutWalError> {
        let mut text = String::new();
        entry
            .take(LIST_LIMIT)
            .read_to_string(&mut text)
            .map_err(|source| self.stream_error(source))?;
        for line in text.lines() {
            let Some((checksum, name)) = line.split_once(" *").or_else(|| line.split_once("  ")) else {
                continue;
            };
            let name = name.strip_prefix("./").unwrap_or(name);
            self.expected.insert(name.to_owned(), (sums, checksum.to_owned()));
        }
        Ok(())
    }

    fn file<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>, name: String) -> Result<(), PutWalError> {
        let temporary = self
            .places
            .incoming
            .join(format!(".{}-{name}", std::process::id()));
        let mtime = modification_time(entry);
        // The sender waits for the sync, which has less to do when the disk is at work all the while.
        let mut file = EarlyFile::new(new_file(&temporary)?);
        // Known from here on, so that it is removed whatever happens.
        let unpacked = self.files.entry(name).or_insert(Unpacked {
            temporary: temporary.clone(),
            checksum: String::new(),
        });
        let mut sum = self.sums.begin();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(PutWalError::Stream {
                        server: self.places.server.clone(),
                        source,
                    });
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            sum.update(bytes);
            file.write_all(bytes).at("write", &temporary)?;
        }
        let file = file.into_file();
        if let Some(mtime) = mtime {
            file.set_modified(mtime).at("set the time of", &temporary)?;
        }
        unpacked.checksum = sum.finish();
        self.syncing.add(file, temporary)?;
        Ok(())
    }

    /// Compares files and checksums, both ways.
    fn verify(&self) -> Result<Vec<Received>, PutWalError> {
        let mut received = Vec::new();
        for (name, (sums, expected)) in &self.expected {
            let Some(file) = self.files.get(name) else {
                return Err(PutWalError::WithoutFile {
                    name: name.clone(),
                    server: self.server(),
                });
            };
            let found = if *sums == self.sums {
                file.checksum.clone()
            } else {
                sums.of_file(&file.temporary)?
            };
            if !found.eq_ignore_ascii_case(expected) {
                return Err(PutWalError::Checksum {
                    found,
                    expected: expected.clone(),
                    name: name.clone(),
                    server: self.server(),
                });
            }
            received.push(Received {
                name: name.clone(),
                checksum: found,
            });
        }
        match self.files.keys().find(|name| !self.expected.contains_key(*name)) {
            Some(name) => Err(PutWalError::WithoutChecksum {
                name: name.clone(),
                server: self.server(),
            }),
            None => Ok(received),
        }
    }

    /// Gives the files their names. Those that were received before are dropped when they are the same, and kept beside
    /// when they are not.
    fn accept(&mut self, codec: &WalCodec) -> Result<Vec<Duplicate>, PutWalError> {
        let mut duplicates = Vec::new();
        for (name, file) in &self.files {
            if let Some(existing) = self.place(codec, name, &file.temporary)? {
                let duplicate = duplicate::keep(self.places, codec, name, &file.temporary, &existing)?;
                log::warn!(
                    target: "barman.server",
                    "{name} is known as \"{}\" with another content: the new one is \"{}\". Find out which cluster \
                     it comes from",
                    existing.display(),
                    duplicate.kept.display()
                );
                duplicates.push(duplicate);
            }
        }
        self.remove_temporaries();
        durable::sync_dir(&self.places.incoming)?;
        Ok(duplicates)
    }

    /// Gives one file its name, unless it is known. Returns the file that has the name with another content.
    fn place(&self, codec: &WalCodec, name: &str, temporary: &Path) -> Result<Option<PathBuf>, PutWalError> {
        match self.known(codec, name, temporary)? {
            Known::Same => return Ok(None),
            Known::Other(existing) => return Ok(Some(existing)),
            Known::New => {}
        }
        let target = self.places.incoming.join(name);
        loop {
            // Not over a file that another delivery has put there since it was looked for.
            match fs::hard_link(temporary, &target) {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    log::debug!("cannot link \"{}\": {error}", target.display());
                    fs::rename(temporary, &target).at("rename to", &target)?;
                    return Ok(None);
                }
            }
            // Two deliveries at once, or one that cannot be compared: never replace what was acknowledged.
            match self.known(codec, name, temporary)? {
                Known::Same => return Ok(None),
                Known::Other(existing) => return Ok(Some(existing)),
                Known::New if target.exists() => return Ok(Some(target)),
                // The archiver has taken it meanwhile.
                Known::New => {}
            }
        }
    }

    /// Whether this file waits in the incoming directory already, or another content is there or in the archive.
    ///
    /// A file that the archive holds is still let in: the archiver drops it, after it has made sure that the database of
    /// WAL files knows it.
    fn known(&self, codec: &WalCodec, name: &str, file: &Path) -> Result<Known, PutWalError> {
        let incoming = self.places.incoming.join(name);
        match compared(codec, name, file, &incoming) {
            Known::Same => {
                // An earlier delivery may have died before it had synced what it had renamed.
                match durable::sync_file(&incoming) {
                    Ok(()) => {
                        durable::sync_parent(&incoming)?;
                        return Ok(Known::Same);
                    }
                    // Archived between the two looks.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Known::Other(existing) => return Ok(Known::Other(existing)),
            Known::New => {}
        }
        if let Some(archived) = self.places.archived(name)
            && let Known::Other(existing) = compared(codec, name, file, &archived)
        {
            return Ok(Known::Other(existing));
        }
        Ok(Known::New)
    }

    fn remove_temporaries(&mut self) {
        for file in std::mem::take(&mut self.files).into_values() {
            match fs::remove_file(&file.temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::warn!("cannot remove \"{}\": {error}", file.temporary.display());
                }
                _ => {}
            }
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.remove_temporaries();
    }
}

/// Compares a file with one that may be there.
fn compared(codec: &WalCodec, name: &str, file: &Path, existing: &Path) -> Known {
    if !existing.exists() {
        return Known::New;
    }
    match same_content(codec, file, existing) {
        Ok(true) => Known::Same,
        Ok(false) => Known::Other(existing.to_path_buf()),
        Err(error) => {
            // Encrypted without a passphrase, damaged, or gone meanwhile: the archiver keeps both.
            log::warn!(target: "barman.server", "cannot compare {name} with \"{}\": {error}", existing.display());
            Known::New
        }
    }
}

/// Creates a file that was not there. One that a dead process with our pid has left is removed and never written to: it
/// may be a link to a file that has been archived since.
fn new_file(path: &Path) -> Result<File, PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(PathError::new("remove", path, error));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(durable::CATALOG_FILE_MODE)
        .open(path)
        .at("create", path)
}

/// The time in the header, with the fraction of a PAX record if there is one.
fn modification_time<R: Read>(entry: &mut tar::Entry<'_, R>) -> Option<SystemTime> {
    let precise = entry.pax_extensions().ok().flatten().and_then(|records| {
        records
            .flatten()
            .find(|record| record.key_bytes() == b"mtime")
            .and_then(|record| record.value().ok()?.parse::<f64>().ok())
    });
    let seconds = match precise {
        Some(seconds) if seconds.is_finite() && (0.0..1e11).contains(&seconds) => {
            Duration::from_secs_f64(seconds)
        }
        _ => Duration::from_secs(entry.header().mtime().ok()?),
    };
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}

/// A reader that treats an empty stream as an error: a client that died before it sent anything has sent nothing that
/// could be acknowledged.
struct NotEmpty<R> {
    inner: R,
    seen: bool,
}

impl<R> NotEmpty<R> {
    fn new(inner: R) -> Self {
        NotEmpty { inner, seen: false }
    }
}

impl<R: Read> Read for NotEmpty<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !self.seen && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "empty file"));
        }
        self.seen |= count > 0;
        Ok(count)
    }
}

/// The last part of a path, as text.
pub(super) fn base_name(path: &Path) -> String {
    String::from_utf8_lossy(path.file_name().map(OsStrExt::as_bytes).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
