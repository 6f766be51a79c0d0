//! Reading the WAL database, fast and in little memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::base::error::{PathContext, PathError};
use crate::base::lock::LockFile;

use super::super::CatalogError;
use super::super::wal_entry::{WalEntry, WalLine};

const BUFFER: usize = 1 << 18;

/// No line of a database comes near this; a file without newlines is not read into memory.
const LINE_LIMIT: usize = 1 << 16;

/// Hands each line to `visit`. Empty lines do not occur, but do no harm.
pub(super) fn lines<E: From<CatalogError>>(
    path: &Path,
    mut visit: impl FnMut(WalLine<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    raw_lines(path, |_, line| visit(line))
}

/// Hands each line to `visit`, as bytes and taken apart.
pub(super) fn raw_lines<E: From<CatalogError>>(
    path: &Path,
    mut visit: impl FnMut(&[u8], WalLine<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let file = File::open(path).at("open", path).map_err(CatalogError::from)?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut spill = Vec::new();
    loop {
        let buffer = reader.fill_buf().at("read", path).map_err(CatalogError::from)?;
        if buffer.is_empty() {
            break;
        }
        let length = buffer.len();
        let mut rest = buffer;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            // A line that began in the previous buffer.
            let flow = if spill.is_empty() {
                visit_line(path, line, &mut visit)?
            } else {
                spill.extend_from_slice(line);
                let flow = visit_line(path, &spill, &mut visit)?;
                spill.clear();
                flow
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        spill.extend_from_slice(rest);
        if spill.len() > LINE_LIMIT {
            return Err(invalid(path, &spill).into());
        }
        reader.consume(length);
    }
    if !spill.is_empty() {
        let _last = visit_line(path, &spill, &mut visit)?;
    }
    Ok(())
}

fn visit_line<E: From<CatalogError>>(
    path: &Path,
    raw: &[u8],
    visit: &mut impl FnMut(&[u8], WalLine<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    match WalLine::parse(raw) {
        Some(line) => visit(raw, line),
        None if raw.trim_ascii().is_empty() => Ok(ControlFlow::Continue(())),
        None => Err(invalid(path, raw).into()),
    }
}

fn invalid(path: &Path, raw: &[u8]) -> CatalogError {
    let shown = raw.get(..200).unwrap_or(raw).trim_ascii_end();
    CatalogError::InvalidWalEntry {
        line: String::from_utf8_lossy(shown).into_owned(),
        path: path.to_path_buf(),
    }
}

/// The entries of a database that stays locked as long as this lives.
#[derive(Debug)]
pub struct Entries {
    reader: BufReader<File>,
    path: PathBuf,
    _lock: LockFile,
}

impl Entries {
    pub(super) fn new(lock: LockFile, path: PathBuf) -> Result<Entries, CatalogError> {
        let file = File::open(&path).at("open", &path)?;
        Ok(Entries {
            reader: BufReader::with_capacity(BUFFER, file),
            path,
            _lock: lock,
        })
    }
}

impl Iterator for Entries {
    type Item = Result<WalEntry, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut raw = Vec::with_capacity(96);
        loop {
            raw.clear();
            let limited =
                std::io::Read::take(&mut self.reader, LINE_LIMIT as u64).read_until(b'\n', &mut raw);
            match limited {
                Ok(0) => return None,
                Ok(_) if raw.trim_ascii().is_empty() => {}
                Ok(_) => {
                    return Some(WalEntry::parse(&raw).ok_or_else(|| invalid(&self.path, &raw)));
                }
                Err(error) => return Some(Err(PathError::new("read", &self.path, error).into())),
            }
        }
    }
}
