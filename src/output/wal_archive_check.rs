//! `check-wal-archive`.

use serde_json::{Map, Value, json};

use super::{Page, Render};

/// The answer about a server: its archive is fit, or not.
#[derive(Debug)]
pub struct WalArchiveAnswer<'a> {
    /// The server.
    pub server: &'a str,
    /// Whether the archive is fit. Why not is an error of its own.
    pub fit: bool,
}

impl Render for WalArchiveAnswer<'_> {
    fn console(&self, page: &mut Page) {
        page.line(format!("Server {}:", self.server));
        if self.fit {
            page.line(format!(" - WAL archive check for server {} passed", self.server));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let answer = if self.fit {
            json!(format!("WAL archive check for server {} passed", self.server))
        } else {
            json!({})
        };
        document.insert(self.server.to_owned(), answer);
    }
}
