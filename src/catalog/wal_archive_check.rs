//! Whether a WAL archive is fit for a new server or timeline (`check-wal-archive`): nothing in it may be mistaken for WAL
//! of the cluster to come.

use std::ops::ControlFlow;

use crate::postgres::wal_name::{Timeline, WalKind};

use super::{Catalog, CatalogError};

/// Why an archive is not fit. The words are Barman's, without their prefix.
#[derive(Debug, thiserror::Error)]
pub enum WalArchiveCheckError {
    /// There is WAL.
    #[error("Expected empty archive")]
    NotEmpty,
    /// There is WAL of the timeline or a later one.
    #[error("Found {count} file{} in WAL archive equal to or newer than timeline {timeline}", if *count == 1 { "" } else { "s" })]
    Newer {
        /// How many files.
        count: u64,
        /// The timeline.
        timeline: Timeline,
    },
    /// There is something else.
    #[error("Unexpected file {0} found in WAL archive")]
    Unexpected(String),
    /// The archive cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Catalog {
    /// Checks that the archive holds no WAL, or none of `timeline` and later.
    ///
    /// # Errors
    /// It does, or holds something else.
    pub fn check_wal_archive(&self, timeline: Option<Timeline>) -> Result<(), WalArchiveCheckError> {
        let mut newer = 0;
        self.xlogdb()
            .scan(|line| match (WalKind::of(line.name), timeline) {
                (None, _) => Err(WalArchiveCheckError::Unexpected(line.name.to_owned())),
                (Some(_), None) => Err(WalArchiveCheckError::NotEmpty),
                (Some(kind), Some(timeline)) => {
                    newer += u64::from(kind.timeline() >= timeline);
                    Ok(ControlFlow::Continue(()))
                }
            })?;
        match timeline {
            Some(timeline) if newer > 0 => Err(WalArchiveCheckError::Newer {
                count: newer,
                timeline,
            }),
            _ => Ok(()),
        }
    }
}
