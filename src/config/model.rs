//! Models: sets of options that can be applied on top of the servers of one cluster (configuration reference §5).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use serde_json::{Map, Value, json};

use super::choices::Encryption;
use super::files::Section;
use super::lenient;
use super::options::{SERVER_OPTIONS, ServerConfig};
use super::resolve;
use super::server::with_source;
use super::shown::Shown;
use super::source::Source;
use super::table::{Emptiness, OptionType};
use super::{Config, ModelConfig};

/// The option that makes a section a model.
pub(super) const MARK: &str = "model";

/// Whether a section is a model; `Err` holds the reason why its `model` option cannot be read.
pub(super) fn is_model(section: &Section) -> Result<bool, (Source, String)> {
    section.get(MARK).map_or(Ok(false), |entry| {
        bool::read(entry.meant())
            .map_err(|refusal| (entry.source.clone(), refusal.describe(MARK, "this section")))
    })
}

/// Whether a model may have an option.
pub(super) fn allows(option: &str) -> bool {
    option == MARK
        || SERVER_OPTIONS
            .iter()
            .any(|spec| spec.scope.model && spec.name == option)
}

/// Builds a model, with warnings about values that cannot be used.
pub(super) fn build(name: &str, section: &Section, global: Option<&Section>) -> (ModelConfig, Vec<String>) {
    let cluster = section
        .get("cluster")
        .map(|entry| entry.meant().to_owned())
        .unwrap_or_default();
    let mut warnings = Vec::new();
    let mark = section.get(MARK).map(|entry| (MARK, entry.source.clone()));
    let mut model = ModelConfig {
        name: name.to_owned(),
        cluster,
        overrides: BTreeMap::new(),
        sources: mark.into_iter().collect(),
    };
    // Values are read into a server that is thrown away, to find the mistakes now.
    let mut trial = ServerConfig {
        name: name.to_owned(),
        ..ServerConfig::default()
    };
    for spec in SERVER_OPTIONS.iter().filter(|spec| spec.scope.model) {
        let Some(entry) = section.get(spec.name) else {
            // It does not inherit; the place is shown all the same.
            if let Some(entry) = global.and_then(|global| global.get(spec.name)) {
                model.sources.insert(spec.name, entry.source.clone());
            }
            continue;
        };
        model.sources.insert(spec.name, entry.source.clone());
        let text = entry.meant().to_owned();
        // A model can set options but not unset them.
        if text.is_empty() && matches!(spec.empty, Emptiness::Unset | Emptiness::Inherited) {
            continue;
        }
        match trial.assign(spec.name, &text) {
            // That is nothing, too: the server's own setting stays.
            Ok(()) if spec.name == "encryption" && trial.encryption == Some(Encryption::None) => {}
            Ok(()) => {
                model.overrides.insert(spec.name, text);
            }
            // These mistakes are found, and logged, when the model is applied.
            Err(_) if lenient::accepted(&mut trial.clone(), spec.name, &text) != text => {
                model.overrides.insert(spec.name, text);
            }
            Err(refusal) => warnings.push(resolve::ignored(entry, spec.name, name, &refusal)),
        }
    }
    (model, warnings)
}

impl ModelConfig {
    /// Applies the model to a server. Defaults that derive from other options are not derived again.
    pub fn apply(&self, server: &mut ServerConfig) {
        for (option, text) in &self.overrides {
            let text = lenient::accepted(server, option, text);
            match server.assign(option, &text) {
                Ok(()) => {
                    server.emptied.remove(option);
                    // The cluster is the server's own: it decides whether the model applies.
                    if let Some(source) = self.sources.get(option).filter(|_| *option != "cluster") {
                        server.sources.insert(option, source.clone());
                    }
                }
                Err(refusal) => log::warn!(
                    "{}",
                    refusal.describe(option, &format!("[{}] section", self.name))
                ),
            }
        }
        server.active_model = Some(self.name.clone());
    }

    /// The object `config` of the model in `diagnose`.
    #[must_use]
    pub fn diagnose(&self, with_sources: bool) -> Map<String, Value> {
        let mut held = ServerConfig::default();
        self.apply(&mut held);
        let mut values: Map<String, Value> = SERVER_OPTIONS
            .iter()
            .filter(|spec| spec.scope.model)
            .filter(|spec| spec.own.is_none() || self.overrides.contains_key(spec.name))
            .map(|spec| {
                let shown = match self.overrides.get(spec.name) {
                    // These are looked into when the model is applied.
                    Some(text) if lenient::UNREAD.contains(&spec.name) => Shown::Text(text.clone()),
                    Some(_) => held.shown(spec.name),
                    None => Shown::Null,
                };
                let value = with_source(shown.diagnose(), self.sources.get(spec.name), with_sources);
                (spec.name.to_owned(), value)
            })
            .collect();
        values.insert(
            MARK.to_owned(),
            with_source(json!(true), self.sources.get(MARK), with_sources),
        );
        values
    }
}

/// Applies to a server the model that its file names, if there is one.
pub(super) fn apply_active(config: &mut Config, server_name: &str) {
    let Some(server) = config.servers.get_mut(server_name) else {
        return;
    };
    let file = server.active_model_file();
    let name = match fs::read_to_string(&file) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => {
            server.disable(format!(
                "cannot read the active model from \"{}\": {error}",
                file.display()
            ));
            return;
        }
    };
    if name.is_empty() {
        return;
    }
    match config.models.get(&name) {
        None => server.disable(format!(
            "Model '{name}' is set as the active model for the server '{server_name}' but the model does not exist."
        )),
        Some(model) if model.cluster != server.cluster => config.reported_errors.push(format!(
            "Model '{name}' has 'cluster={}', which is not compatible with 'cluster={}' from server '{server_name}'",
            lenient::none_if_empty(&model.cluster),
            server.shown("cluster").console()
        )),
        Some(model) => model.apply(server),
    }
}
