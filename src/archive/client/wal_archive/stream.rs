//! What is sent: a tar stream that holds the WAL files and, as its last member, the list of their checksums.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use super::hashes::{Hashes, shorter};
use crate::archive::put_wal::base_name;
use crate::archive::sums::Sums;
use crate::base::error::strerror;
use crate::codec::encode::Encoder;
use crate::codec::wal::copy;
use crate::codec::{Compression, Level};

/// After this time no further file joins the stream: PostgreSQL waits for the first one all the while.
const TIME_FOR_FOLLOWERS: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 10 });

/// How long the first file's content waits for its hashes. The other side starts its program meanwhile: what it got before
/// that, sshd would keep in a buffer that grows in small steps, at a cost of milliseconds.
const HEAD_START: Duration = Duration::from_millis(15);

/// Why a stream was not written to its end.
pub(super) enum Broken {
    /// A file of this host cannot be read.
    File(String),
    /// The other side does not read.
    Output(io::Error),
}

/// A file that is in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its name.
    pub(super) name: String,
    /// Its size in bytes, as PostgreSQL wrote it.
    pub(super) size: u64,
    /// XXH3-128 of what PostgreSQL wrote.
    pub(super) hash: u128,
}

/// How files are sent.
#[derive(Debug, Clone)]
pub(super) struct Form<'a> {
    /// The checksums.
    pub(super) sums: Sums,
    /// How files are compressed.
    pub(super) compression: Option<Compression>,
    /// How hard.
    pub(super) level: Level,
    /// Where the compressed copy is put meanwhile, without a name.
    pub(super) temporary_directory: &'a Path,
}

impl Form<'_> {
    /// Writes the stream. Returns the files it holds: the first of `files`, and of those that follow as many as had time.
    pub(super) fn write(&self, files: &[PathBuf], output: impl Write) -> Result<Vec<Sent>, Broken> {
        let begun = Instant::now();
        let mut tar = tar::Builder::new(output);
        let mut list = String::new();
        let mut sent = Vec::new();
        for path in files {
            if !sent.is_empty() && begun.elapsed() > TIME_FOR_FOLLOWERS {
                break;
            }
            let (file, checksum) = self.member(&mut tar, path, sent.is_empty())?;
            list.push_str(&format!("{checksum} *{}\n", file.name));
            sent.push(file);
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(list.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(UNIX_EPOCH.elapsed().unwrap_or_default().as_secs());
        tar.append_data(&mut header, self.sums.list_name(), list.as_bytes())
            .and_then(|()| tar.into_inner()?.flush())
            .map_err(Broken::Output)?;
        Ok(sent)
    }

    /// Writes one file, and returns it with the checksum of what is in the stream.
    fn member<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        path: &Path,
        first: bool,
    ) -> Result<(Sent, String), Broken> {
        let failed = |action: &str, error: &io::Error| {
            Broken::File(format!(
                "cannot {action} \"{}\": {}",
                path.display(),
                strerror(error)
            ))
        };
        let plain = File::open(path).map_err(|error| failed("open", &error))?;
        let before = plain.metadata().map_err(|error| failed("stat", &error))?;
        let (hash, checksum) = if self.compression.is_some() {
            self.send_packed(tar, path, &plain, &before)
        } else {
            self.send_plain(tar, path, &plain, &before, first)
        }
        .map_err(|unsent| match unsent {
            Unsent::Compress(error) => failed("compress", &error),
            Unsent::Read(error) => failed("send", &error),
            Unsent::Write(error) => Broken::Output(error),
        })?;
        if !is_unchanged(&plain, &before, path) {
            return Err(Broken::File(format!(
                "\"{}\" changed while it was sent",
                path.display()
            )));
        }
        let sent = Sent {
            name: base_name(path),
            size: before.len(),
            hash,
        };
        Ok((sent, checksum))
    }

    /// Sends a file as it is, without copying its content here, while another thread hashes it. What was hashed and what is
    /// sent are compared by the other side.
    fn send_plain<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        path: &Path,
        plain: &File,
        before: &Metadata,
        first: bool,
    ) -> Result<(u128, String), Unsent> {
        let size = before.len();
        std::thread::scope(|scope| {
            let (done, hashed) = mpsc::channel();
            scope.spawn(move || {
                // Nobody listens when the other side has gone.
                let _ = done.send(Hashes::of(plain, size, self.sums));
            });
            let early = first.then(|| hashed.recv_timeout(HEAD_START).ok()).flatten();
            begin(tar, path, before, size).map_err(Unsent::Write)?;
            let sent = io::copy(&mut plain.take(size), tar.get_mut()).map_err(Unsent::of_copy)?;
            if sent < size {
                return Err(Unsent::Read(shorter()));
            }
            pad(size, tar.get_mut()).map_err(Unsent::Write)?;
            let hashes = match early {
                Some(hashes) => hashes,
                None => hashed
                    .recv()
                    .map_err(|_| Unsent::Read(io::ErrorKind::Other.into()))?,
            };
            let hashes = hashes.map_err(Unsent::Read)?;
            Ok((hashes.fingerprint, hashes.checksum))
        })
    }

    /// Sends a file compressed.
    fn send_packed<W: Write>(
        &self,
        tar: &mut tar::Builder<W>,
        path: &Path,
        mut plain: &File,
        before: &Metadata,
    ) -> Result<(u128, String), Unsent> {
        let mut hash = Xxh3::new();
        let mut packed = self
            .packed(&mut Watched(&mut plain, |bytes: &[u8]| hash.update(bytes)))
            .map_err(Unsent::Compress)?;
        let size = packed.stream_position().map_err(Unsent::Compress)?;
        let hashes = Hashes::of(&packed, size, self.sums).map_err(Unsent::Compress)?;
        packed.rewind().map_err(Unsent::Compress)?;
        begin(tar, path, before, size).map_err(Unsent::Write)?;
        io::copy(&mut packed, tar.get_mut()).map_err(Unsent::of_copy)?;
        pad(size, tar.get_mut()).map_err(Unsent::Write)?;
        Ok((hash.digest128(), hashes.checksum))
    }

    /// A compressed copy of a stream in a file without a name, which is at its end.
    fn packed(&self, plain: &mut dyn Read) -> io::Result<File> {
        let target = nameless(self.temporary_directory)?;
        let compression = self.compression.unwrap_or(Compression::Custom);
        let mut encoder = Encoder::new(target, compression, self.level)?
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        copy(plain, &mut encoder)?;
        encoder.finish()
    }
}

/// Whether the file that was read is still the same and still has its name.
///
/// PostgreSQL neither writes to nor renames a segment that waits to be archived. Once another process has archived it, it
/// does both: a call that was left over from a server that has crashed would otherwise send the WAL of a segment to come
/// under the name of an old one.
fn is_unchanged(file: &File, before: &Metadata, path: &Path) -> bool {
    let same = |now: &Metadata| {
        (now.dev(), now.ino(), now.len(), now.mtime(), now.mtime_nsec())
            == (
                before.dev(),
                before.ino(),
                before.len(),
                before.mtime(),
                before.mtime_nsec(),
            )
    };
    file.metadata().is_ok_and(|now| same(&now)) && fs::metadata(path).is_ok_and(|now| same(&now))
}

/// Writes the headers of a member of `size` bytes.
fn begin<W: Write>(tar: &mut tar::Builder<W>, path: &Path, metadata: &Metadata, size: u64) -> io::Result<()> {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let precise = format!("{}.{:09}", modified.as_secs(), modified.subsec_nanos());
    tar.append_pax_extensions([("mtime", precise.as_bytes())])?;
    let mut header = tar::Header::new_ustar();
    header.set_path(base_name(path))?;
    header.set_size(size);
    header.set_mode(metadata.mode() & 0o7777);
    header.set_mtime(modified.as_secs());
    header.set_cksum();
    tar.get_mut().write_all(header.as_bytes())
}

/// What a tar member of `size` bytes needs behind them.
fn pad(size: u64, output: &mut impl Write) -> io::Result<()> {
    let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
    output.write_all([0; 512].get(..padding).unwrap_or_default())
}

/// Why a member was not sent.
enum Unsent {
    Compress(io::Error),
    Read(io::Error),
    Write(io::Error),
}

impl Unsent {
    /// Nothing but its other end makes a pipe fail: the rest is the file's.
    fn of_copy(error: io::Error) -> Unsent {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Unsent::Write(error),
            _ => Unsent::Read(error),
        }
    }
}

/// A file that nobody else can open and that vanishes with this process.
pub(super) fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(
        ".barman-wal-archive-{}-{:x}",
        std::process::id(),
        UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos()
    ));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// Shows somebody what is read through it.
struct Watched<R, F>(R, F);

impl<R: Read, F: FnMut(&[u8])> Read for Watched<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        (self.1)(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::sandbox::{Sandbox, segment};

    /// Does something when the first bytes are written.
    struct Meanwhile<F>(F);

    impl<F: FnMut()> Write for Meanwhile<F> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            (self.0)();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_sent_is_not_archived() {
        const NAME: &str = "000000010000000000000001";
        for compression in [None, Some(Compression::Zstd)] {
            let sandbox = Sandbox::new();
            let path = sandbox.write(&format!("pg_wal/{NAME}"), &segment(NAME, 1));
            let form = Form {
                sums: Sums::Sha256,
                compression,
                level: Level::Low,
                temporary_directory: &sandbox.root,
            };
            let files = [path.clone()];
            assert!(form.write(&files, io::sink()).is_ok());
            // Recycled: it gets the name of a segment to come.
            let renamed = form.write(
                &files,
                Meanwhile(|| {
                    let _ = fs::rename(&path, sandbox.root.join("pg_wal/future"));
                }),
            );
            assert!(matches!(renamed, Err(Broken::File(text)) if text.contains("changed")));
            // Another file of that name, with that content.
            fs::write(&path, segment(NAME, 1)).unwrap();
            let replaced = form.write(
                &files,
                Meanwhile(|| {
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, segment(NAME, 1)).unwrap();
                }),
            );
            assert!(matches!(replaced, Err(Broken::File(_))));
        }
    }
}
