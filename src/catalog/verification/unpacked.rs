//! Verifying tar files: they are read once, as streams, and nothing is written.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::error::strerror;
use crate::base::parallel;
use crate::codec::WalCodec;
use crate::copy::chain::ChainError;
use crate::copy::packed::{Packed, PackedError, PackedKind, Part};
use crate::copy::verify::{self, Wanted};
use crate::postgres::lsn::Lsn;
use crate::postgres::manifest::{self, Checksum, ManifestFile};

use super::{IGNORED, MANIFEST, Mismatch, Verification, VerifyError, bad_pages};

/// What is left of the manifest, and what was found.
struct State {
    unseen: BTreeMap<Vec<u8>, ManifestFile>,
    found: Verification,
}

/// Compares what is in the tar files with the manifest beside them. `pages` as in [`Wanted`].
pub(super) fn verify(
    data: &Path,
    parts: Vec<Part>,
    codec: &WalCodec,
    workers: usize,
    pages: Option<Lsn>,
) -> Result<Verification, VerifyError> {
    let path = data.join(MANIFEST);
    if let Err(error) = std::fs::File::open(&path) {
        let reason = strerror(&error);
        return Err(VerifyError::NoManifest { path, reason });
    }
    let mut unseen = BTreeMap::new();
    manifest::read(&path, &mut |file| {
        unseen.insert(file.path.clone(), file);
    })?;
    let state = Mutex::new(State {
        unseen,
        found: Verification::default(),
    });
    let each = |part: &Part| {
        part.read::<PackedError>(codec, |packed, input| {
            compare(&state, &packed, input, pages)?;
            Ok(true)
        })
    };
    for outcome in parallel::map(&parts, workers, each) {
        outcome?;
    }
    let State { unseen, mut found } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = unseen
        .into_keys()
        .map(|path| String::from_utf8_lossy(&path).into_owned());
    found.mismatches.extend(missing.map(Mismatch::Missing));
    Ok(found)
}

fn compare(
    state: &Mutex<State>,
    packed: &Packed,
    input: &mut dyn Read,
    pages: Option<Lsn>,
) -> Result<(), PackedError> {
    if packed.kind != PackedKind::File {
        return Ok(());
    }
    let name = String::from_utf8_lossy(&packed.path).into_owned();
    let Some(file) = lock(state).unseen.remove(&packed.path) else {
        let top = name.split('/').next().unwrap_or_default();
        if !IGNORED.contains(&top) {
            lock(state).found.mismatches.push(Mismatch::Extra(name));
        }
        return Ok(());
    };
    let mut mismatches = Vec::new();
    if file.size != packed.size {
        mismatches.push(Mismatch::Size {
            path: name,
            found: packed.size,
            expected: file.size,
        });
    } else {
        let wanted = Wanted {
            checksum: Some(file.algorithm).filter(|algorithm| *algorithm != Checksum::None),
            sum: false,
            pages,
        };
        match verify::stream(Path::new(&name), input, packed.size, &packed.path, wanted) {
            Ok(found) => {
                if wanted.checksum.is_some() && found.checksum != file.checksum {
                    mismatches.push(Mismatch::Checksum(name.clone()));
                }
                mismatches.extend(bad_pages(&name, &found.corrupt));
            }
            // The tar file itself is broken: nothing after it can be read.
            Err(ChainError::Path(error)) => return Err(error.into()),
            Err(error) => mismatches.push(Mismatch::Unreadable {
                path: name,
                reason: error.to_string(),
            }),
        }
    }
    let mut state = lock(state);
    state.found.files += u64::from(mismatches.is_empty());
    state.found.bytes += packed.size;
    state.found.mismatches.extend(mismatches);
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
