//! `convert-config`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::config::convert::Conversion;

/// What a file of another tool became.
#[derive(Debug)]
pub struct Converted<'a> {
    /// The configuration and what has no place in it.
    pub conversion: &'a Conversion,
    /// The file it has been written to.
    pub written: Option<&'a Path>,
}

impl Render for Converted<'_> {
    fn console(&self, page: &mut Page) {
        match self.written {
            Some(path) => page.line(format!("The configuration is in {}", path.display())),
            None => page.line(self.conversion.text.trim_end()),
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let unconverted: Vec<Value> = self
            .conversion
            .unconverted
            .iter()
            .map(|option| {
                json!({"section": option.section, "option": option.option, "line": option.line, "advice": option.advice})
            })
            .collect();
        document.insert("configuration".to_owned(), json!(self.conversion.text));
        document.insert("unconverted".to_owned(), json!(unconverted));
    }
}
