//! Backups in tar files, as `pg_basebackup --format=tar` writes them: `base.tar` for the data directory and `{oid}.tar` for
//! each tablespace, perhaps compressed, perhaps encrypted by gpg. `backup_manifest` lies beside them in the clear.
//!
//! They are read as streams, decrypted and decompressed here: nothing is ever written but what was asked for.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crossbeam_channel::{Receiver, bounded};

use crate::agent::message::{Attributes, Time};
use crate::base::directory;
use crate::base::error::{PathContext, PathError};
use crate::codec::{CodecError, WalCodec};

/// What follows `.tar` in the names, besides `.gpg`.
const SUFFIXES: [&str; 4] = ["", ".gz", ".lz4", ".zst"];

/// How far a stream is read ahead: so many chunks of so many bytes.
const CHUNKS: usize = 8;
const CHUNK: usize = 512 << 10;

/// One of the tar files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The file.
    pub path: PathBuf,
    /// The tablespace; `None` for the data directory.
    pub oid: Option<u32>,
}

/// A tar file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// It cannot be opened, decrypted or decompressed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It cannot be read to its end.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It holds what no base backup holds.
    #[error("\"{}\" holds \"{member}\", which no base backup does", path.display())]
    Member {
        /// The tar file.
        path: PathBuf,
        /// The member.
        member: String,
    },
}

/// Something in a tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its path, as in a manifest: that of a tablespace begins with `pg_tblspc/{oid}/`.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: PackedKind,
    /// Bytes of its content.
    pub size: u64,
    /// Permissions and time of last change.
    pub attributes: Attributes,
}

/// What something in a tar file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link to a tablespace.
    Link,
}

/// The tar files in a data directory of the catalog: those of tablespaces first, that of the data directory last. None in
/// a backup of plain files.
///
/// # Errors
/// The directory cannot be read.
pub fn parts(data: &Path) -> Result<Vec<Part>, PathError> {
    let mut found: Vec<Part> = Vec::new();
    // In the order of the names, a file that is being encrypted comes before its encrypted form.
    for name in directory::names(data)? {
        if let Some(oid) = content_of(&name)
            && found.iter().all(|part| part.oid != oid)
        {
            found.push(Part {
                path: data.join(&name),
                oid,
            });
        }
    }
    found.sort_by_key(|part| (part.oid.is_none(), part.oid));
    Ok(found)
}

/// What a tar file of this name holds: a tablespace, or `Some(None)` for the data directory.
fn content_of(name: &str) -> Option<Option<u32>> {
    let clear = name.strip_suffix(".gpg").unwrap_or(name);
    let (stem, suffix) = clear.split_once(".tar")?;
    if !SUFFIXES.contains(&suffix) {
        return None;
    }
    match stem {
        "base" => Some(None),
        oid => oid.parse().ok().map(Some),
    }
}

impl Part {
    /// Reads the file from its start to its end. `each` gets everything in it, and may read the content; what it does not
    /// read is passed over. It says whether to go on.
    ///
    /// # Errors
    /// The file cannot be read, or `each` fails.
    pub fn read<E: From<PackedError>>(
        &self,
        codec: &WalCodec,
        mut each: impl FnMut(Packed, &mut dyn Read) -> Result<bool, E>,
    ) -> Result<(), E> {
        let stream = codec.open_plain(&self.path).map_err(PackedError::from)?;
        let ahead = ReadAhead::start(stream).at("start a thread for", &self.path);
        let mut archive = tar::Archive::new(ahead.map_err(PackedError::from)?);
        let broken = |error: io::Error| PackedError::from(PathError::new("read", &self.path, error));
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let packed = self.packed(&entry)?;
            if !each(packed, &mut entry)? {
                return Ok(());
            }
        }
        // Decompression and decryption tell of damage at the end of the stream.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
        Ok(())
    }

    fn packed<R: Read>(&self, entry: &tar::Entry<'_, R>) -> Result<Packed, PackedError> {
        let name = entry.path_bytes();
        let path = Path::new(OsStr::from_bytes(&name));
        let strange = || PackedError::Member {
            path: self.path.clone(),
            member: path.display().to_string(),
        };
        let mut inside = Vec::new();
        if let Some(oid) = self.oid {
            inside.extend(format!("pg_tblspc/{oid}").bytes());
        }
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(word) => {
                    if !inside.is_empty() {
                        inside.push(b'/');
                    }
                    inside.extend(word.as_bytes());
                }
                _ => return Err(strange()),
            }
        }
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => PackedKind::File,
            tar::EntryType::Directory => PackedKind::Directory,
            tar::EntryType::Symlink => PackedKind::Link,
            _ => return Err(strange()),
        };
        let seconds = header.mtime().at("read", &self.path)?;
        Ok(Packed {
            path: inside,
            kind,
            size: entry.size(),
            attributes: Attributes {
                mode: header.mode().at("read", &self.path)? & 0o7777,
                modified: Time {
                    seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
                    nanoseconds: 0,
                },
            },
        })
    }

    /// The content of one file, if it is there and has at most `limit` bytes. Reads no further than that file.
    ///
    /// # Errors
    /// The tar file cannot be read up to there.
    pub fn file(&self, codec: &WalCodec, path: &str, limit: u64) -> Result<Option<Vec<u8>>, PackedError> {
        let mut content = None;
        self.read::<PackedError>(codec, |packed, input| {
            if packed.path != path.as_bytes() || packed.kind != PackedKind::File || packed.size > limit {
                return Ok(true);
            }
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).at("read", &self.path)?;
            content = Some(bytes);
            Ok(false)
        })?;
        Ok(content)
    }
}

/// A stream that a thread of its own reads ahead: decryption and decompression go on while what was read before is put in
/// its place.
struct ReadAhead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    taken: usize,
}

impl ReadAhead {
    fn start(mut stream: impl Read + Send + 'static) -> io::Result<ReadAhead> {
        let (sender, chunks) = bounded(CHUNKS);
        let read = move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                let outcome = stream.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
                let ended = !matches!(outcome, Ok(count) if count > 0);
                // Whoever has enough hangs up.
                if sender.send(outcome.map(|_| chunk)).is_err() || ended {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(read)?;
        Ok(ReadAhead {
            chunks,
            current: Vec::new(),
            taken: 0,
        })
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() {
            match self.chunks.recv() {
                Ok(chunk) => {
                    self.current = chunk?;
                    self.taken = 0;
                    if self.current.is_empty() {
                        return Ok(0);
                    }
                }
                // The end was told before.
                Err(_) => return Ok(0),
            }
        }
        let rest = self.current.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..count), rest.get(..count)) {
            target.copy_from_slice(source);
        }
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o640);
            header.set_mtime(1_000_000_000);
            if name.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            // Not `set_path`, which refuses what a forger would write.
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn scratch(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!(".barkeep-packed-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    #[test]
    fn parts_are_told_by_their_names() {
        assert_eq!(content_of("base.tar"), Some(None));
        assert_eq!(content_of("base.tar.zst.gpg"), Some(None));
        assert_eq!(content_of("16400.tar.lz4"), Some(Some(16400)));
        for other in [
            "backup_manifest",
            "base.tar.gz.tmp",
            "pg_wal.tar",
            "x16.tar",
            "base",
        ] {
            assert_eq!(content_of(other), None, "{other}");
        }
        let scratch = scratch("parts");
        for name in [
            "base.tar.gz",
            "base.tar.gz.gpg",
            "9.tar.gz.gpg",
            "10.tar.gz",
            "backup_manifest",
        ] {
            fs::write(scratch.0.join(name), "").unwrap();
        }
        let found = parts(&scratch.0).unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|part| part.path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["9.tar.gz.gpg", "10.tar.gz", "base.tar.gz"]);
    }

    #[test]
    fn members_have_the_paths_of_the_manifest() {
        let scratch = scratch("members");
        let path = scratch.0.join("16400.tar");
        fs::write(&path, tar_of(&[("./PG_15/", b""), ("PG_15/5/1", b"page")])).unwrap();
        let part = Part {
            path,
            oid: Some(16400),
        };
        let mut found = Vec::new();
        part.read::<PackedError>(&WalCodec::default(), |packed, input| {
            let mut content = String::new();
            input.read_to_string(&mut content).unwrap();
            found.push((String::from_utf8(packed.path).unwrap(), packed.kind, content));
            assert_eq!(
                (packed.attributes.mode, packed.attributes.modified.seconds),
                (0o640, 1_000_000_000)
            );
            Ok(true)
        })
        .unwrap();
        assert_eq!(
            found,
            [
                (
                    "pg_tblspc/16400/PG_15".to_owned(),
                    PackedKind::Directory,
                    String::new()
                ),
                (
                    "pg_tblspc/16400/PG_15/5/1".to_owned(),
                    PackedKind::File,
                    "page".to_owned()
                ),
            ]
        );
        assert_eq!(
            part.file(&WalCodec::default(), "pg_tblspc/16400/PG_15/5/1", 4)
                .unwrap()
                .unwrap(),
            b"page"
        );
        assert_eq!(
            part.file(&WalCodec::default(), "pg_tblspc/16400/PG_15/5/1", 3)
                .unwrap(),
            None
        );
    }

    #[test]
    fn nothing_leads_out_and_no_end_is_missed() {
        let scratch = scratch("strange");
        let path = scratch.0.join("base.tar");
        let part = Part {
            path: path.clone(),
            oid: None,
        };
        let read = || part.read::<PackedError>(&WalCodec::default(), |_, _| Ok(true));
        for name in ["../x", "/etc/passwd", "base/../../x"] {
            fs::write(&path, tar_of(&[(name, b"x")])).unwrap();
            assert!(matches!(read(), Err(PackedError::Member { .. })), "{name}");
        }
        let whole = tar_of(&[("a", &[7; 4000]), ("b", &[8; 4000])]);
        let packed = zstd::encode_all(whole.as_slice(), 1).unwrap();
        fs::write(&path, &packed[..packed.len() - 3]).unwrap();
        assert!(read().is_err());
        fs::write(&path, &packed).unwrap();
        assert!(read().is_ok());
    }
}
