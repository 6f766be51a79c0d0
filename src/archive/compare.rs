//! Whether two stored WAL files hold the same WAL.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::error::{PathContext, PathError};
use crate::codec::{CodecError, WalCodec};

const BUFFER: usize = 128 * 1024;

/// Whether the plain contents of two files are equal. The stored bytes are compared first: where they are equal, nothing
/// needs to be decoded, and files that cannot be decoded can still be found to be the same.
///
/// # Errors
/// A file cannot be read, or their stored bytes differ and one of them cannot be decoded.
pub fn same_content(codec: &WalCodec, left: &Path, right: &Path) -> Result<bool, CodecError> {
    if same_bytes(left, right)? {
        return Ok(true);
    }
    let plain = |path: &Path| codec.detector().inspect(path);
    if plain(left)? == Default::default() && plain(right)? == Default::default() {
        return Ok(false);
    }
    let mut left_plain = codec.open_plain(left)?;
    let mut right_plain = codec.open_plain(right)?;
    same_streams(left, left_plain.as_mut(), right, right_plain.as_mut()).map_err(CodecError::from)
}

fn same_bytes(left: &Path, right: &Path) -> Result<bool, PathError> {
    let mut left_file = File::open(left).at("open", left)?;
    let mut right_file = File::open(right).at("open", right)?;
    if left_file.metadata().at("stat", left)?.len() != right_file.metadata().at("stat", right)?.len() {
        return Ok(false);
    }
    same_streams(left, &mut left_file, right, &mut right_file)
}

/// Both streams are read to their ends even after a difference: only then is it known that neither is damaged.
fn same_streams(
    left: &Path,
    left_stream: &mut dyn Read,
    right: &Path,
    right_stream: &mut dyn Read,
) -> Result<bool, PathError> {
    let (mut left_buffer, mut right_buffer) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut same = true;
    loop {
        let left_count = fill(left_stream, &mut left_buffer).at("read", left)?;
        let right_count = fill(right_stream, &mut right_buffer).at("read", right)?;
        same &= left_buffer.get(..left_count) == right_buffer.get(..right_count);
        if left_count == 0 && right_count == 0 {
            return Ok(same);
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::wal::compress_file;
    use crate::codec::{Compression, Level};
    use std::fs;

    #[test]
    fn compression_does_not_matter_and_damage_is_an_error() {
        let directory = std::env::temp_dir().join(format!("barkeep-compare-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        let plain: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        fs::write(path("plain"), &plain).unwrap();
        fs::write(path("other"), &plain[1..]).unwrap();
        compress_file(&path("plain"), &path("zstd"), Compression::Zstd, Level::Low).unwrap();
        compress_file(&path("plain"), &path("gzip"), Compression::Gzip, Level::Low).unwrap();
        let codec = WalCodec::default();
        let same = |left: &str, right: &str| same_content(&codec, &path(left), &path(right));
        assert!(same("plain", "plain").unwrap());
        assert!(same("zstd", "gzip").unwrap());
        assert!(same("plain", "gzip").unwrap());
        assert!(!same("other", "gzip").unwrap());
        assert!(!same("other", "plain").unwrap());
        let packed = fs::read(path("gzip")).unwrap();
        fs::write(path("damaged"), &packed[..packed.len() - 100]).unwrap();
        assert!(same("plain", "damaged").is_err());
        assert!(same("damaged", "damaged").unwrap());
        fs::remove_dir_all(directory).unwrap();
    }
}
