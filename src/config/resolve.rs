//! How the value of an option is found: its own section, then `[barman]`, then the default (configuration reference §2).

use super::choices::Encryption;
use super::files::{BARMAN_SECTION, Entry, Section};
use super::kinds::Location;
use super::lenient;
use super::options::{MAIN_OPTIONS, MainConfig, SERVER_OPTIONS, ServerConfig};
use super::table::{Emptiness, OptionSpec, Refusal};

/// The derived defaults that others derive from come first.
const DERIVED_FIRST: [&str; 2] = ["backup_directory", "wals_directory"];

/// The warning about a value that cannot be used. Barman's line, with the place appended.
pub(super) fn ignored(entry: &Entry, name: &str, section: &str, refusal: &Refusal) -> String {
    let place = format!("[{section}] section");
    format!(
        "Ignoring invalid configuration value '{}' for key {name} in {place}: {} ({})",
        entry.meant(),
        refusal.describe(name, &place),
        entry.source
    )
}

/// The warnings about options that do not exist, in the order of the lines.
pub(super) fn unknown_options(section: &str, options: &Section, known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut unknown: Vec<_> = options.iter().filter(|(name, _)| !known(name)).collect();
    unknown.sort_by_key(|(_, entry)| (&entry.source.file, entry.source.line));
    unknown
        .into_iter()
        .map(|(name, entry)| {
            format!(
                "Invalid configuration option \"{name}\" in [{section}] section. ({})",
                entry.source
            )
        })
        .collect()
}

/// Builds the program's own options from `[barman]`, with warnings about values that cannot be used.
pub(super) fn main_config(section: Option<&Section>) -> (MainConfig, Vec<String>) {
    let mut main = MainConfig::default();
    let mut warnings = Vec::new();
    let mut assigned = Vec::new();
    for spec in MAIN_OPTIONS {
        let Some(entry) = section.and_then(|section| section.get(spec.name)) else {
            continue;
        };
        if entry.meant().is_empty() {
            // The default then; the place is shown all the same.
            main.sources.insert(spec.name, entry.source.clone());
            continue;
        }
        match main.assign(spec.name, entry.meant()) {
            Ok(()) => {
                main.sources.insert(spec.name, entry.source.clone());
                assigned.push(spec.name);
            }
            Err(refusal) => warnings.push(ignored(entry, spec.name, BARMAN_SECTION, &refusal)),
        }
    }
    let home = main.barman_home.display().to_string();
    for spec in MAIN_OPTIONS.iter().filter(|spec| !assigned.contains(&spec.name)) {
        if let Some(default) = spec.default {
            let text = default.replace("%(barman_home)s", &home);
            if let Err(refusal) = main.assign(spec.name, &text) {
                warnings.push(format!("the default of {} is not valid: {refusal:?}", spec.name));
            }
        }
    }
    (main, warnings)
}

/// Builds a server from its section and what it inherits, with warnings about values that cannot be used.
pub(super) fn server(
    name: &str,
    section: &Section,
    global: Option<&Section>,
    main: &MainConfig,
) -> (ServerConfig, Vec<String>) {
    let mut resolution = Resolution {
        server: ServerConfig {
            name: name.to_owned(),
            barman_home: main.barman_home.clone(),
            barman_lock_directory: main.barman_lock_directory.clone(),
            ..ServerConfig::default()
        },
        warnings: Vec::new(),
    };
    let mut unset: Vec<&OptionSpec> = Vec::new();
    for spec in SERVER_OPTIONS {
        // Where it is written, whether or not the value is used: that is where config-update will change it.
        let written = section.get(spec.name).or_else(|| global?.get(spec.name));
        if let Some(entry) = written {
            resolution.server.sources.insert(spec.name, entry.source.clone());
        }
        let own = section.get(spec.name).filter(|_| spec.scope.server);
        let inherited = global
            .and_then(|global| global.get(spec.name))
            .filter(|_| spec.scope.global);
        let found = own.is_some_and(|entry| resolution.take(spec, entry, name))
            || inherited.is_some_and(|entry| resolution.take(spec, entry, BARMAN_SECTION));
        if !found {
            unset.push(spec);
        }
    }
    unset.sort_by_key(|spec| {
        DERIVED_FIRST
            .iter()
            .position(|first| *first == spec.name)
            .unwrap_or(DERIVED_FIRST.len())
    });
    for spec in unset {
        resolution.take_default(spec);
    }
    (resolution.server, resolution.warnings)
}

struct Resolution {
    server: ServerConfig,
    warnings: Vec<String>,
}

impl Resolution {
    /// Uses a value that was written. `false` means that the search goes on.
    fn take(&mut self, spec: &OptionSpec, entry: &Entry, section: &str) -> bool {
        let text = lenient::accepted(&mut self.server, spec.name, entry.meant());
        let outcome = match (text.is_empty(), spec.empty) {
            (true, Emptiness::Unset) => {
                self.server.clear(spec.name);
                self.server.emptied.insert(spec.name);
                Ok(())
            }
            (true, Emptiness::Inherited) => return false,
            (true, Emptiness::Refused) => {
                let refusal = self.server.assign(spec.name, &text).err();
                Err(refusal.unwrap_or_else(|| Refusal::Reason("the value must not be empty".to_owned())))
            }
            _ => self.server.assign(spec.name, &text),
        };
        match outcome {
            // That is nothing: the inherited setting stays, and nobody's backups become readable.
            Ok(()) if self.server.encryption == Some(Encryption::None) => {
                self.server.encryption = None;
                false
            }
            Ok(()) => true,
            Err(refusal) => {
                self.warnings.push(ignored(entry, spec.name, section, &refusal));
                false
            }
        }
    }

    fn take_default(&mut self, spec: &OptionSpec) {
        self.server.clear(spec.name);
        let Some(default) = spec.default else { return };
        let text =
            if spec.name == "xlogdb_directory" && matches!(self.server.wals_directory, Location::Cloud(_)) {
                self.server.metadata_directory().display().to_string()
            } else {
                default
                    .replace("%(name)s", &self.server.name)
                    .replace("%(barman_home)s", &self.server.barman_home.display().to_string())
                    .replace(
                        "%(backup_directory)s",
                        &self.server.backup_directory.display().to_string(),
                    )
                    .replace("%(wals_directory)s", &self.server.wals_directory.to_string())
                    .replace(
                        "%(conninfo)s",
                        self.server.conninfo.as_deref().unwrap_or_default(),
                    )
            };
        if text.is_empty() && spec.empty == Emptiness::Unset {
            return;
        }
        if let Err(refusal) = self.server.assign(spec.name, &text) {
            self.warnings
                .push(format!("the default of {} is not valid: {refusal:?}", spec.name));
        }
    }
}
