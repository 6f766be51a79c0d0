//! The hashes of what is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::archive::sums::{Sum, Sums, xxh128};

const BUFFER: usize = 256 * 1024;

/// What a file holds.
pub(super) struct Hashes {
    /// XXH3-128.
    pub(super) fingerprint: u128,
    /// The one for the list, in hexadecimal.
    pub(super) checksum: String,
}

impl Hashes {
    /// Of the first `size` bytes of a file, wherever it stands.
    ///
    /// # Errors
    /// It cannot be read, or has become shorter.
    pub(super) fn of(file: &File, size: u64, sums: Sums) -> io::Result<Hashes> {
        let mut fingerprint = Xxh3::new();
        let mut checksum = (sums != Sums::Xxh128).then(|| sums.begin());
        each_part(file, size, |bytes| {
            fingerprint.update(bytes);
            if let Some(checksum) = &mut checksum {
                checksum.update(bytes);
            }
        })?;
        let fingerprint = fingerprint.digest128();
        Ok(Hashes {
            fingerprint,
            checksum: checksum.map_or_else(|| xxh128(fingerprint), Sum::finish),
        })
    }
}

/// What PostgreSQL wrote into a file: the size and XXH3-128 of its content.
///
/// # Errors
/// It cannot be read.
pub(super) fn fingerprint(path: &Path) -> io::Result<(u64, u128)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut hash = Xxh3::new();
    each_part(&file, size, |bytes| hash.update(bytes))?;
    Ok((size, hash.digest128()))
}

/// A file that has not as many bytes as it had.
pub(super) fn shorter() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file became shorter while it was sent",
    )
}

fn each_part(file: &File, size: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    while offset < size {
        let room = usize::try_from(size - offset).unwrap_or(BUFFER).min(BUFFER);
        match file.read_at(buffer.get_mut(..room).unwrap_or_default(), offset) {
            Ok(0) => return Err(shorter()),
            Ok(count) => {
                see(buffer.get(..count).unwrap_or_default());
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
