//! `backup_manifest`, versions 1 and 2: PostgreSQL's list of a backup's files with their checksums.
//!
//! Two layouts are written: PostgreSQL's own, and the one of Barman's `generate-manifest`, which differs in the order of
//! keys and in blanks. Both are JSON whose last line holds the SHA-256 of everything before it. Reading is by
//! streams: the manifest of a large cluster does not fit into memory.
//!
//! Sources: PostgreSQL documentation, "Backup Manifest Format"; `src/common/parse_manifest.c`.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::base::error::{PathContext, PathError};
use crate::base::json;

/// A checksum algorithm of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// `NONE`.
    None,
    /// `CRC32C`.
    Crc32c,
    /// `SHA224`.
    Sha224,
    /// `SHA256`.
    Sha256,
    /// `SHA384`.
    Sha384,
    /// `SHA512`.
    Sha512,
}

impl Checksum {
    /// The name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Checksum::None => "NONE",
            Checksum::Crc32c => "CRC32C",
            Checksum::Sha224 => "SHA224",
            Checksum::Sha256 => "SHA256",
            Checksum::Sha384 => "SHA384",
            Checksum::Sha512 => "SHA512",
        }
    }

    /// The algorithm of a name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Checksum> {
        [
            Checksum::None,
            Checksum::Crc32c,
            Checksum::Sha224,
            Checksum::Sha256,
            Checksum::Sha384,
            Checksum::Sha512,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Starts a computation.
    #[must_use]
    pub fn start(self) -> Computation {
        match self {
            Checksum::None => Computation::None,
            Checksum::Crc32c => Computation::Crc32c(0),
            Checksum::Sha224 => Computation::Sha224(Sha224::new()),
            Checksum::Sha256 => Computation::Sha256(Sha256::new()),
            Checksum::Sha384 => Computation::Sha384(Sha384::new()),
            Checksum::Sha512 => Computation::Sha512(Sha512::new()),
        }
    }
}

/// A checksum being computed.
#[derive(Debug, Clone)]
pub enum Computation {
    /// Nothing.
    None,
    /// CRC-32C.
    Crc32c(u32),
    /// SHA-224.
    Sha224(Sha224),
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl Computation {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Computation::None => {}
            Computation::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Computation::Sha224(hash) => hash.update(bytes),
            Computation::Sha256(hash) => hash.update(bytes),
            Computation::Sha384(hash) => hash.update(bytes),
            Computation::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum. A CRC comes in the byte order of this host, as PostgreSQL writes it.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Computation::None => Vec::new(),
            Computation::Crc32c(crc) => crc.to_ne_bytes().to_vec(),
            Computation::Sha224(hash) => hash.finalize().to_vec(),
            Computation::Sha256(hash) => hash.finalize().to_vec(),
            Computation::Sha384(hash) => hash.finalize().to_vec(),
            Computation::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

/// A file of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Relative to the data directory, as bytes.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// Time of last change, seconds since the epoch (UTC).
    pub modified: i64,
    /// How the checksum was computed.
    pub algorithm: Checksum,
    /// The checksum; empty for [`Checksum::None`].
    pub checksum: Vec<u8>,
}

/// A range of WAL that a backup needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRange {
    /// Its timeline.
    pub timeline: u32,
    /// Where it starts.
    pub start: super::lsn::Lsn,
    /// Where it ends.
    pub end: super::lsn::Lsn,
}

impl fmt::Display for WalRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
            self.timeline, self.start, self.end
        )
    }
}

/// Which of the two layouts is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// PostgreSQL's.
    PostgreSql {
        /// The WAL that the backup needs.
        ranges: Vec<WalRange>,
        /// The cluster; with it the version is 2, that of PostgreSQL 17 and newer.
        system_identifier: Option<u64>,
    },
    /// Barman's `generate-manifest`.
    Barman,
}

/// Writes a manifest file by file.
pub struct ManifestWriter<W: Write> {
    output: W,
    layout: Layout,
    hash: Sha256,
    files: u64,
}

impl<W: Write> ManifestWriter<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// Writing failed.
    pub fn new(output: W, layout: Layout) -> io::Result<Self> {
        let mut writer = ManifestWriter {
            output,
            layout,
            hash: Sha256::new(),
            files: 0,
        };
        let head = match &writer.layout {
            Layout::PostgreSql {
                system_identifier: Some(system),
                ..
            } => format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system},\n\"Files\": ["
            ),
            Layout::PostgreSql { .. } => {
                "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned()
            }
            Layout::Barman => "{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n".to_owned(),
        };
        writer.put(&head)?;
        Ok(writer)
    }

    /// Writes one file.
    ///
    /// # Errors
    /// Writing failed.
    pub fn file(&mut self, file: &ManifestFile) -> io::Result<()> {
        let checksum = hex(&file.checksum);
        let algorithm = file.algorithm.name();
        let time = utc(file.modified);
        let size = file.size;
        let separator = match (self.files, &self.layout) {
            (0, Layout::PostgreSql { .. }) => "\n",
            (0, Layout::Barman) => "",
            _ => ",\n",
        };
        self.files += 1;
        let (key, path) = match std::str::from_utf8(&file.path) {
            // PostgreSQL reads the escapes of Python too.
            Ok(path) => ("Path", json::line(&path).map_err(io::Error::other)?),
            Err(_) => ("Encoded-Path", format!("\"{}\"", hex(&file.path))),
        };
        let sums = if file.algorithm == Checksum::None {
            String::new()
        } else {
            format!(", \"Checksum-Algorithm\": \"{algorithm}\", \"Checksum\": \"{checksum}\"")
        };
        let line = match &self.layout {
            Layout::PostgreSql { .. } => format!(
                "{separator}{{ \"{key}\": {path}, \"Size\": {size}, \"Last-Modified\": \"{time} GMT\"{sums} }}"
            ),
            Layout::Barman => format!(
                "{separator}{{\"Checksum\": \"{checksum}\", \"Checksum-Algorithm\": \"{algorithm}\", \"Last-Modified\": \"{time}\", \"{key}\": {path}, \"Size\": {size}}}"
            ),
        };
        self.put(&line)
    }

    /// Writes the tail with the checksum of everything before.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<W> {
        let tail = match &self.layout {
            Layout::PostgreSql { ranges, .. } => {
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                format!("\n],\n\"WAL-Ranges\": [\n{}\n],\n", ranges.join(",\n"))
            }
            Layout::Barman => "],\n".to_owned(),
        };
        self.put(&tail)?;
        let checksum = hex(&self.hash.finalize());
        writeln!(self.output, "\"Manifest-Checksum\": \"{checksum}\"}}")?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.hash.update(text);
        self.output.write_all(text.as_bytes())
    }
}

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

fn utc(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn parse_utc(text: &str) -> Option<i64> {
    let text = text.strip_suffix(" GMT").unwrap_or(text);
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok()?;
    Some(naive.and_utc().timestamp())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files() -> Vec<ManifestFile> {
        vec![
            ManifestFile {
                path: b"PG_VERSION".to_vec(),
                size: 3,
                modified: 1_795_208_794,
                algorithm: Checksum::Sha256,
                checksum: vec![0xAB; 32],
            },
            ManifestFile {
                path: b"odd\xFFname".to_vec(),
                size: 0,
                modified: 0,
                algorithm: Checksum::Sha256,
                checksum: vec![1; 32],
            },
        ]
    }

    fn written(layout: Layout) -> Vec<u8> {
        let mut writer = ManifestWriter::new(Vec::new(), layout).unwrap();
        for file in files() {
            writer.file(&file).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read_back(bytes: &[u8], name: &str) -> Result<Vec<ManifestFile>, ManifestError> {
        let path = std::env::temp_dir().join(format!(".barkeep-manifest-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let result = read(&path, &mut |file| all.push(file));
        std::fs::remove_file(&path).unwrap();
        result.map(|()| all)
    }

    #[test]
    fn both_layouts_read_back() {
        let range = WalRange {
            timeline: 1,
            start: super::super::lsn::Lsn(1),
            end: super::super::lsn::Lsn(2),
        };
        for system_identifier in [None, Some(7)] {
            let layout = Layout::PostgreSql {
                ranges: vec![range],
                system_identifier,
            };
            assert_eq!(read_back(&written(layout), "pg").unwrap(), files());
        }
        assert_eq!(read_back(&written(Layout::Barman), "barman").unwrap(), files());
    }

    #[test]
    fn barmans_lines_are_exact() {
        let text = String::from_utf8_lossy(&written(Layout::Barman)).into_owned();
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap(),
            "{\"PostgreSQL-Backup-Manifest-Version\": 1,"
        );
        assert_eq!(lines.next().unwrap(), "\"Files\": [");
        let line = format!(
            "{{\"Checksum\": \"{}\", \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"2026-11-20 21:06:34\", \"Path\": \"PG_VERSION\", \"Size\": 3}},",
            "ab".repeat(32)
        );
        assert_eq!(lines.next().unwrap(), line);
        assert!(lines.next().unwrap().ends_with("}],"));
    }

    #[test]
    fn damage_is_noticed() {
        let mut bytes = written(Layout::Barman);
        bytes[80] ^= 1;
        assert!(matches!(
            read_back(&bytes, "damaged"),
            Err(ManifestError::Checksum { .. })
        ));
        assert!(matches!(
            read_back(b"{}\n", "none"),
            Err(ManifestError::Content { .. })
        ));
    }

    #[test]
    fn crc_is_written_in_memory_order() {
        let mut crc = Checksum::Crc32c.start();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.finish(), 0xE306_9283_u32.to_ne_bytes());
    }
}
