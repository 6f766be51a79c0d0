//! Which executable serves as the agent, and its identity.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use crate::base::error::{PathContext, PathError};

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// A small static executable that may be installed beside ours, for hosts that cannot run ours.
const SMALL_AGENT: &str = "barkeep-agent";

/// Makes `path` the executable that is sent to other hosts. Only the first call counts; without one it is
/// `barkeep-agent` beside this executable, or this executable itself.
pub fn choose(path: PathBuf) {
    let _ = CHOSEN.set(path);
}

/// The executable that is sent to other hosts.
///
/// # Errors
/// This process cannot tell what it runs.
pub fn path() -> Result<PathBuf, PathError> {
    if let Some(path) = CHOSEN.get() {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().at("find", "/proc/self/exe")?;
    let small = own.with_file_name(SMALL_AGENT);
    Ok(if small.is_file() { small } else { own })
}

/// [`build_id`] of what [`path`] gives: computed once in this process, which has many connections.
///
/// # Errors
/// As [`build_id`].
pub fn known_build_id(path: &Path) -> Result<String, PathError> {
    static KNOWN: Mutex<Option<(PathBuf, String)>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, id)) = known.as_ref().filter(|(known, _)| known == path) {
        return Ok(id.clone());
    }
    let id = build_id(path)?;
    *known = Some((path.to_path_buf(), id.clone()));
    Ok(id)
}

/// The identity of an executable: the first half of the SHA-256 of its content, in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn build_id(path: &Path) -> Result<String, PathError> {
    let mut file = File::open(path).at("open", path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(hash
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
