//! Writing the manifest of a backup that has none (`generate-manifest`).
//!
//! SHA-256 of every file below `data/`, in Barman's layout. Files are hashed by several threads and listed in the order
//! in which they were found.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::parallel;
use crate::postgres::manifest::{Checksum, Layout, ManifestFile, ManifestWriter};

use super::{BackupId, Catalog, CatalogError};

/// The name of the manifest in the data directory.
pub const MANIFEST: &str = "backup_manifest";

/// How many files are hashed before their lines are written.
const BATCH: usize = 1024;

/// Why no manifest was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateManifestError {
    /// There is one already. The words are Barman's.
    #[error("File {} already exists.", .0.display())]
    Exists(PathBuf),
    /// The backup has no files to list.
    #[error("\"{}\" holds no files: there is nothing to list", .0.display())]
    Nothing(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<PathError> for GenerateManifestError {
    fn from(error: PathError) -> Self {
        GenerateManifestError::Catalog(error.into())
    }
}

impl Catalog {
    /// Writes `backup_manifest` into the data directory of a backup, durably, using up to `workers` threads. Returns its
    /// path.
    ///
    /// # Errors
    /// There is a manifest already, or a file cannot be read or written.
    pub fn generate_manifest(&self, id: &BackupId, workers: usize) -> Result<PathBuf, GenerateManifestError> {
        let _reader = self.locks().backup_reader(id).map_err(CatalogError::from)?;
        let data = self.data_dir(id);
        let path = data.join(MANIFEST);
        if path.exists() {
            return Err(GenerateManifestError::Exists(path));
        }
        let files = regular_files(&data)?;
        if files.is_empty() {
            return Err(GenerateManifestError::Nothing(data));
        }
        let temporary = durable::sibling(&path, ".tmp");
        let written = write(&temporary, &data, &files, workers);
        if let Err(error) = written {
            // Whatever happened counts, not whether this works too.
            let _ = fs::remove_file(&temporary);
            return Err(error.into());
        }
        durable::rename(&temporary, &path)?;
        Ok(path)
    }
}

/// The files below a directory: its own, then those of its directories, in the order of the file system.
fn regular_files(directory: &Path) -> Result<Vec<PathBuf>, PathError> {
    let mut files = Vec::new();
    let mut directories = Vec::new();
    for entry in fs::read_dir(directory).at("read directory", directory)? {
        let entry = entry.at("read directory", directory)?;
        if entry.file_type().at("examine", entry.path())?.is_dir() {
            directories.push(entry.path());
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    for directory in directories {
        files.extend(regular_files(&directory)?);
    }
    Ok(files)
}

fn write(target: &Path, data: &Path, files: &[PathBuf], workers: usize) -> Result<(), PathError> {
    let output = BufWriter::new(File::create(target).at("create", target)?);
    let mut writer = ManifestWriter::new(output, Layout::Barman).at("write", target)?;
    for batch in files.chunks(BATCH) {
        for entry in parallel::map(batch, workers, |file| describe(data, file)) {
            writer.file(&entry?).at("write", target)?;
        }
    }
    let output = writer.finish().at("write", target)?;
    let file = output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .at("write", target)?;
    file.sync_all().at("sync", target)
}

fn describe(data: &Path, file: &Path) -> Result<ManifestFile, PathError> {
    let metadata = fs::metadata(file).at("examine", file)?;
    let (size, checksum) = digest(file, Checksum::Sha256)?;
    Ok(ManifestFile {
        path: file
            .strip_prefix(data)
            .unwrap_or(file)
            .as_os_str()
            .as_bytes()
            .to_vec(),
        size,
        modified: metadata.mtime(),
        algorithm: Checksum::Sha256,
        checksum,
    })
}

/// The size and the checksum of a file.
pub(super) fn digest(path: &Path, algorithm: Checksum) -> Result<(u64, Vec<u8>), PathError> {
    let mut file = File::open(path).at("open", path)?;
    let mut computation = algorithm.start();
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok((size, computation.finish()));
        }
        size += count as u64;
        computation.update(buffer.get(..count).unwrap_or_default());
    }
}
