//! Tells from a file's first bytes how it is compressed and whether it is encrypted (catalog reference §7.3).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::base::error::{PathContext, PathError};

use super::algorithm::Compression;
use super::openpgp;

/// How files of a custom compression are told from plain ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CustomMagic {
    /// `custom` is not the configured compression: nothing is taken for it.
    #[default]
    Unused,
    /// The files start with these bytes.
    Bytes(Vec<u8>),
    /// No magic is configured: every file that is nothing else is taken for it.
    Everything,
}

impl CustomMagic {
    /// Reads `custom_compression_magic`: hexadecimal digits after two characters (`0x`) that are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<CustomMagic> {
        let digits = text.get(2..)?;
        if digits.is_empty() || digits.len() % 2 != 0 || !digits.is_ascii() {
            return None;
        }
        (0..digits.len())
            .step_by(2)
            .map(|start| u8::from_str_radix(digits.get(start..start + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
            .map(CustomMagic::Bytes)
    }
}

/// What was done to a stored file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// How it is compressed. Unknown, hence `None`, for a file that is encrypted.
    pub compression: Option<Compression>,
    /// Whether it is encrypted by gpg.
    pub encrypted: bool,
}

/// Recognises stored files by their first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detector {
    custom: CustomMagic,
}

impl Detector {
    /// A detector that also knows the server's custom compression.
    #[must_use]
    pub fn new(custom: CustomMagic) -> Detector {
        Detector { custom }
    }

    /// How many leading bytes of a file [`Detector::recognise`] wants to see.
    #[must_use]
    pub fn head_size(&self) -> usize {
        match &self.custom {
            CustomMagic::Bytes(magic) => magic.len().max(openpgp::HEAD),
            _ => openpgp::HEAD,
        }
    }

    /// What a file is that starts with `head`. The formats are tried in the alphabetical order of their names.
    #[must_use]
    pub fn recognise(&self, head: &[u8]) -> Stored {
        if openpgp::is_encrypted(head) {
            return Stored {
                compression: None,
                encrypted: true,
            };
        }
        Stored {
            compression: self.compression_of(head),
            encrypted: false,
        }
    }

    /// Reads the beginning of a file and tells what it is.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn inspect(&self, path: &Path) -> Result<Stored, PathError> {
        let file = File::open(path).at("open", path)?;
        let head = head_of(file, self.head_size()).at("read", path)?;
        Ok(self.recognise(&head))
    }

    fn compression_of(&self, head: &[u8]) -> Option<Compression> {
        let known =
            Compression::ALL
                .into_iter()
                .find(|compression| match (compression.magic(), &self.custom) {
                    (Some(magic), _) => head.starts_with(magic),
                    (None, CustomMagic::Bytes(magic)) => head.starts_with(magic),
                    (None, _) => false,
                });
        match (known, &self.custom) {
            (None, CustomMagic::Everything) => Some(Compression::Custom),
            (known, _) => known,
        }
    }
}

/// Up to `size` leading bytes of a stream.
fn head_of(reader: impl Read, size: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(size);
    reader.take(size as u64).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(head in prop::collection::vec(any::<u8>(), 0..64)) {
            for custom in [CustomMagic::Unused, CustomMagic::Everything, CustomMagic::Bytes(vec![7; 40])] {
                let stored = Detector::new(custom).recognise(&head);
                prop_assert!(!stored.encrypted || stored.compression.is_none());
            }
        }
    }

    #[test]
    fn magic_decides() {
        let detector = Detector::default();
        for compression in Compression::ALL {
            let Some(magic) = compression.magic() else {
                continue;
            };
            assert_eq!(
                detector.recognise(magic).compression,
                Some(compression.format()),
                "{compression}"
            );
        }
        assert_eq!(detector.recognise(b"\x10\xd1"), Stored::default());
        assert_eq!(detector.recognise(b""), Stored::default());
    }

    #[test]
    fn custom_magic_and_custom_without_magic() {
        let magic = CustomMagic::parse("0xDEADbeef").unwrap();
        assert_eq!(magic, CustomMagic::Bytes(vec![0xde, 0xad, 0xbe, 0xef]));
        let detector = Detector::new(magic);
        assert_eq!(
            detector.recognise(b"\xde\xad\xbe\xef!").compression,
            Some(Compression::Custom)
        );
        assert_eq!(detector.recognise(b"\xde\xad").compression, None);
        let greedy = Detector::new(CustomMagic::Everything);
        assert_eq!(
            greedy.recognise(b"\x10\xd1").compression,
            Some(Compression::Custom)
        );
        assert_eq!(greedy.recognise(b"BZh91").compression, Some(Compression::Bzip2));
        for bad in ["", "0x", "0xabc", "0xzz", "0x\u{e9}"] {
            assert_eq!(CustomMagic::parse(bad), None, "{bad}");
        }
    }
}
