//! `list-processes`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::catalog::processes::ServerProcess;

/// The processes at work on a server.
#[derive(Debug)]
pub struct ProcessList<'a> {
    /// The server.
    pub server: &'a str,
    /// Its processes.
    pub processes: &'a [ServerProcess],
}

impl Render for ProcessList<'_> {
    fn console(&self, page: &mut Page) {
        if self.processes.is_empty() {
            page.line(format!(
                "No active subprocesses found for server {}.",
                self.server
            ));
            return;
        }
        page.line(format!("Active subprocesses for server {}:", self.server));
        for process in self.processes {
            page.line(format!("{} {}", process.pid, process.task));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let list: Vec<Value> = self
            .processes
            .iter()
            .map(|process| json!({"name": process.task, "pid": process.pid}))
            .collect();
        document.insert(self.server.to_owned(), Value::Array(list));
    }
}
