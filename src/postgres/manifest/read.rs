//! Reading a manifest.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use super::{Checksum, ManifestFile, hex};
use crate::base::error::{PathContext, PathError};

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is not a manifest.
    #[error("\"{}\" is not a backup manifest: {reason}", path.display())]
    Content {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was changed after it was written.
    #[error("checksum mismatch in manifest \"{}\"", path.display())]
    Checksum {
        /// The manifest.
        path: PathBuf,
    },
}

/// Reads a manifest of any version and layout: verifies its own checksum, then hands every file to `each`.
///
/// # Errors
/// It cannot be read, is damaged, or is no manifest.
pub fn read(path: &Path, each: &mut dyn FnMut(ManifestFile)) -> Result<(), ManifestError> {
    verify_own_checksum(path)?;
    let file = File::open(path).at("open", path)?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(file));
    json.deserialize_map(Top { each })
        .and_then(|()| json.end())
        .map_err(|error| ManifestError::Content {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })
}

/// The last line says the SHA-256 of all bytes before it.
fn verify_own_checksum(path: &Path) -> Result<(), ManifestError> {
    const LONGEST_LINE: u64 = 1 << 20;
    let content = |reason: &str| ManifestError::Content {
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    };
    let mut input = BufReader::new(File::open(path).at("open", path)?);
    let mut hash = Sha256::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = input
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .at("read", path)?;
        if count == 0 {
            return Err(content("it has no checksum"));
        }
        if count as u64 == LONGEST_LINE {
            return Err(content("a line is too long"));
        }
        if line.starts_with(b"\"Manifest-Checksum\"") {
            break;
        }
        hash.update(&line);
    }
    let text = String::from_utf8_lossy(&line);
    let said = text
        .split('"')
        .nth(3)
        .ok_or_else(|| content("its checksum is unreadable"))?;
    if said.eq_ignore_ascii_case(&hex(&hash.finalize())) {
        Ok(())
    } else {
        Err(ManifestError::Checksum {
            path: path.to_path_buf(),
        })
    }
}

struct Top<'a> {
    each: &'a mut dyn FnMut(ManifestFile),
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a backup manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut versioned = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "PostgreSQL-Backup-Manifest-Version" => {
                    let version: u64 = map.next_value()?;
                    if !(1..=2).contains(&version) {
                        return Err(serde::de::Error::custom(format!("version {version} is unknown")));
                    }
                    versioned = true;
                }
                "Files" => map.next_value_seed(Files { each: self.each })?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if versioned {
            Ok(())
        } else {
            Err(serde::de::Error::custom("it has no version"))
        }
    }
}

struct Files<'a> {
    each: &'a mut dyn FnMut(ManifestFile),
}

impl<'de> DeserializeSeed<'de> for Files<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Files<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(raw) = list.next_element::<RawFile>()? {
            (self.each)(raw.interpret().map_err(serde::de::Error::custom)?);
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    modified: Option<String>,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl RawFile {
    fn interpret(self) -> Result<ManifestFile, String> {
        let path = match (self.path, self.encoded_path) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(encoded)) => unhex(&encoded).ok_or("a path is not hexadecimal")?,
            _ => return Err("a file has no path, or two".to_owned()),
        };
        let algorithm = match self.algorithm {
            None => Checksum::None,
            Some(name) => {
                Checksum::from_name(&name).ok_or(format!("checksum algorithm {name} is unknown"))?
            }
        };
        let checksum = unhex(&self.checksum.unwrap_or_default()).ok_or("a checksum is not hexadecimal")?;
        let modified = self.modified.as_deref().and_then(parse_utc).unwrap_or(i64::MIN);
        Ok(ManifestFile {
            path,
            size: self.size,
            modified,
            algorithm,
            checksum,
        })
    }
}

fn parse_utc(text: &str) -> Option<i64> {
    let text = text.strip_suffix(" GMT").unwrap_or(text);
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    Some(naive.and_utc().timestamp())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
