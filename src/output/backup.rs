//! `backup` in JSON: the keys of `backup.info` among the members of the document. People have seen the lines.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::catalog::BackupInfo;
use crate::status::{Dates, backup_document};

/// The backup that was taken.
#[derive(Debug)]
pub struct BackupResult<'a>(pub &'a BackupInfo);

impl Render for BackupResult<'_> {
    fn console(&self, _page: &mut Page) {}

    #[allow(clippy::cast_precision_loss)] // a number for display
    fn json(&self, document: &mut Map<String, Value>) {
        document.extend(backup_document(self.0, Dates::Ctime));
        // Fresh from the server it is a number of the type numeric, which Barman writes as a float.
        if let Some(size) = self.0.cluster_size {
            document.insert("cluster_size".to_owned(), json!(size as f64));
        }
    }
}
