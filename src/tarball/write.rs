//! Writing a tarball: members, compression, and the checksum of the file on its way to the disk.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::error::ExportError;
use crate::base::error::{PathContext, PathError};
use crate::base::interrupt;
use crate::codec::Compression;
use crate::codec::encode::Encoder;

/// The compression and its level; `None` for a plain tarball.
pub(super) type Packing = Option<(Compression, u32)>;

/// How much is written at a time.
const BUFFER: usize = 1 << 20;

/// The digits of a digest.
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A writer that computes the SHA-256 of what goes through.
pub(super) struct Summing<W> {
    writer: W,
    sum: Sha256,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(buffer)?;
        self.sum.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The stream of the tar format: plain, or compressed on the way.
enum Packed<W: Write> {
    Plain(W),
    Compressed(Box<Encoder<W>>),
}

impl<W: Write> Write for Packed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Packed::Plain(writer) => writer.write(buffer),
            Packed::Compressed(encoder) => encoder.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packed::Plain(writer) => writer.flush(),
            Packed::Compressed(encoder) => encoder.flush(),
        }
    }
}

/// A tarball that is being written.
pub(super) struct Tarball<'a> {
    path: &'a Path,
    builder: tar::Builder<Packed<Summing<BufWriter<File>>>>,
}

impl<'a> Tarball<'a> {
    /// Begins a tarball at `path`, which must not exist.
    pub(super) fn create(path: &'a Path, packing: Packing) -> Result<Tarball<'a>, ExportError> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .at("create", path)?;
        let writer = Summing {
            writer: BufWriter::with_capacity(BUFFER, file),
            sum: Sha256::new(),
        };
        let packed = match packing {
            None => Packed::Plain(writer),
            Some((compression, level)) => Packed::Compressed(Box::new(match compression {
                Compression::Bzip2 => Encoder::Bzip2(bzip2::write::BzEncoder::new(
                    writer,
                    bzip2::Compression::new(level),
                )),
                Compression::Xz => Encoder::Xz(liblzma::write::XzEncoder::new(writer, level)),
                _ => Encoder::Gzip(flate2::write::GzEncoder::new(
                    writer,
                    flate2::Compression::new(level),
                )),
            })),
        };
        let mut builder = tar::Builder::new(packed);
        builder.sparse(false);
        builder.follow_symlinks(false);
        Ok(Tarball { path, builder })
    }

    /// Adds a small member that is no file. Its time is `time`, in seconds since the epoch.
    pub(super) fn text(&mut self, name: &str, text: &[u8], mode: u32, time: u64) -> Result<(), ExportError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(mode);
        header.set_mtime(time);
        header.set_size(text.len() as u64);
        Ok(self
            .builder
            .append_data(&mut header, name, text)
            .at("write", self.path)?)
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &Path, name: &Path) -> Result<(), ExportError> {
        interrupt::check()?;
        let file = File::open(path).at("open", path)?;
        let metadata = file.metadata().at("examine", path)?;
        let mut reader = Exact {
            file,
            left: metadata.len(),
            error: None,
        };
        let written = self
            .builder
            .append_data(&mut header(&metadata), name, &mut reader);
        // Which of the two sides failed is known to the reader.
        if let Some(error) = reader.error.take() {
            interrupt::check()?;
            return Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => ExportError::Changed(path.to_path_buf()),
                _ => PathError::new("read", path, error).into(),
            });
        }
        written.at("write", self.path)?;
        if reader.file.metadata().at("examine", path)?.len() != metadata.len() {
            return Err(ExportError::Changed(path.to_path_buf()));
        }
        Ok(())
    }

    /// Adds a directory with all that is in it, in the order of the names. Links are added as links.
    pub(super) fn tree(&mut self, directory: &Path, name: &str) -> Result<(), ExportError> {
        for entry in WalkDir::new(directory).sort_by_file_name() {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(directory).to_path_buf();
                PathError::new("read directory", path, error.into())
            })?;
            let path = entry.path();
            let inner = path.strip_prefix(directory).unwrap_or(path);
            let member = if inner.as_os_str().is_empty() {
                name.into()
            } else {
                Path::new(name).join(inner)
            };
            let metadata = fs::symlink_metadata(path).at("examine", path)?;
            if metadata.is_file() {
                self.file(path, &member)?;
            } else if metadata.is_dir() {
                let mut header = header(&metadata);
                header.set_size(0);
                // Directories are told by their slash as well.
                self.builder
                    .append_data(&mut header, member.join(""), io::empty())
                    .at("write", self.path)?;
            } else if metadata.is_symlink() && is_tablespace_link(inner) {
                let target = fs::read_link(path).at("read link", path)?;
                let mut header = header(&metadata);
                header.set_size(0);
                self.builder
                    .append_link(&mut header, &member, target)
                    .at("write", self.path)?;
            } else {
                return Err(ExportError::Unsuitable(path.to_path_buf()));
            }
        }
        Ok(())
    }

    /// Ends the tarball, durably, and gives the SHA-256 of the file.
    pub(super) fn finish(self) -> Result<String, ExportError> {
        let path = self.path;
        let packed = self.builder.into_inner().at("write", path)?;
        let mut writer = match packed {
            Packed::Plain(writer) => writer,
            Packed::Compressed(encoder) => encoder.finish().at("write", path)?,
        };
        writer.flush().at("write", path)?;
        writer.writer.get_ref().sync_all().at("sync", path)?;
        Ok(hex(&writer.sum.finalize()))
    }
}

/// `data/pg_tblspc/16400`, below the directory of a backup.
pub(super) fn is_tablespace_link(inner: &Path) -> bool {
    inner
        .strip_prefix("data/pg_tblspc")
        .or_else(|_| inner.strip_prefix("pgdata/pg_tblspc"))
        .is_ok_and(|rest| rest.components().count() == 1)
}

fn header(metadata: &Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header
}

/// A file that is read as far as it was long when it was opened; a shorter one is an error.
struct Exact {
    file: File,
    left: u64,
    error: Option<io::Error>,
}

impl Read for Exact {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = match interrupt::check() {
            Ok(()) => self.file.read(buffer.get_mut(..length).unwrap_or_default()),
            Err(interrupted) => Err(io::Error::other(interrupted)),
        };
        match read {
            Ok(0) => {
                self.error = Some(io::ErrorKind::UnexpectedEof.into());
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.error = Some(error);
                Err(told)
            }
        }
    }
}
