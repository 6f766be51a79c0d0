//! `show-servers`, `status` and `diagnose`.

use serde_json::{Map, Value, json};

use super::{Page, Render, servers};
use crate::status::{Overview, ServerSettings};

impl Render for ServerSettings {
    fn console(&self, page: &mut Page) {
        page.line(format!(
            "Server {}{}:",
            self.config.name,
            servers::state(&self.config)
        ));
        for (name, setting) in &self.values {
            page.line(format!("\t{name}: {}", setting.console()));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let mut settings = ServerSettings::json(self);
        // Barman puts what stands behind the name of a server into a description that is empty.
        let state = servers::state(&self.config).trim();
        if let Some(description) = settings.get_mut("description").filter(|value| value.is_null())
            && !state.is_empty()
        {
            *description = json!(state);
        }
        document.insert(self.config.name.clone(), settings);
    }
}

impl Render for Overview {
    fn console(&self, page: &mut Page) {
        page.line(format!("Server {}:", self.server));
        for item in &self.items {
            page.line(format!("\t{}: {}", item.description, item.message));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let items: Map<String, Value> = self
            .items
            .iter()
            .map(|item| {
                let shown = json!({"description": item.description, "message": item.message});
                (item.key.to_owned(), shown)
            })
            .collect();
        document.insert(self.server.clone(), Value::Object(items));
    }
}
