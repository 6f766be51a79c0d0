//! `list-servers`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::config::ServerConfig;

/// The servers of the configuration.
#[derive(Debug)]
pub struct ServerList<'a> {
    /// The servers, in the order of the alphabet.
    pub servers: &'a [&'a ServerConfig],
    /// Names only, for people; in JSON the names are keys anyway.
    pub minimal: bool,
}

impl Render for ServerList<'_> {
    fn console(&self, page: &mut Page) {
        for server in self.servers {
            match description(server) {
                Some(description) if !self.minimal => page.line(format!("{} - {description}", server.name)),
                _ => page.line(&server.name),
            }
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        for server in self.servers {
            let value = json!({"description": description(server).unwrap_or_default()});
            document.insert(server.name.clone(), value);
        }
    }
}

/// The text after the name: the description and the states out of the ordinary.
fn description(server: &ServerConfig) -> Option<String> {
    let mut text = server.description.clone().unwrap_or_default();
    text.push_str(state(server));
    if server.is_passive() {
        text.push_str(" (Passive)");
    }
    (!text.is_empty()).then_some(text)
}

/// What stands behind the name of a server that is out of use.
#[must_use]
pub fn state(server: &ServerConfig) -> &'static str {
    if !server.active {
        " (inactive)"
    } else if server.disabled {
        " (WARNING: disabled)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, description: Option<&str>) -> ServerConfig {
        ServerConfig {
            name: name.to_owned(),
            description: description.map(str::to_owned),
            active: true,
            ..ServerConfig::default()
        }
    }

    #[test]
    fn states_follow_the_description() {
        let plain = server("a", None);
        let described = server("b", Some("Main PG"));
        let mut disabled = server("c", None);
        disabled.disabled = true;
        let mut passive = server("d", Some("mirror"));
        passive.primary_ssh_command = Some("ssh x".to_owned());
        let mut inactive = server("e", Some("old"));
        inactive.active = false;
        let list = ServerList {
            servers: &[&plain, &described, &disabled, &passive, &inactive],
            minimal: false,
        };
        let mut page = Page::new(false);
        list.console(&mut page);
        assert_eq!(
            page.text(),
            "a\nb - Main PG\nc -  (WARNING: disabled)\nd - mirror (Passive)\ne - old (inactive)\n"
        );
    }
}
