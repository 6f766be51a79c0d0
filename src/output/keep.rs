//! `keep --status`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::catalog::KeepTarget;

/// Whether a backup is kept, and for what.
#[derive(Debug)]
pub struct KeepStatus<'a> {
    /// The server.
    pub server: &'a str,
    /// What the backup is kept for.
    pub target: Option<KeepTarget>,
}

impl KeepStatus<'_> {
    fn word(&self) -> &'static str {
        self.target.map_or("nokeep", KeepTarget::as_str)
    }
}

impl Render for KeepStatus<'_> {
    fn console(&self, page: &mut Page) {
        page.line(format!("Server {}:", self.server));
        page.line(format!("\tKeep: {}", self.word()));
    }

    fn json(&self, document: &mut Map<String, Value>) {
        document.insert(
            self.server.to_owned(),
            json!({"keep_status": {"description": "Keep", "message": self.word()}}),
        );
    }
}
