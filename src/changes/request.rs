//! What `config-update` is asked for: a JSON list of objects, each naming a server or a model and the options it is to have.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Change, ChangeError, ChangeSet};
use crate::catalog::python_literal::{Literal, repr};
use crate::config::{Config, OptionHolder};

/// Names that no server or model can have: the words of the files themselves, and the one for every server.
const RESERVED: [&str; 4] = ["", "DEFAULT", "all", "barman"];

/// The changes that a JSON text asks for, each with the file that it goes to. All of them are possible by themselves.
///
/// # Errors
/// The text is no list of objects, or one of them is not possible. The words are Barman's.
pub fn requested(text: &str, config: &Config) -> Result<Vec<ChangeSet>, ChangeError> {
    let Json(request) =
        serde_json::from_str(text).map_err(|error| ChangeError::NotAList(error.to_string()))?;
    let Literal::List(sections) = request else {
        return Err(ChangeError::NotAList(repr(&request)));
    };
    sections
        .iter()
        .map(|section| change_set(section, config))
        .collect()
}

fn change_set(section: &Literal, config: &Config) -> Result<ChangeSet, ChangeError> {
    let Literal::Dict(entries) = section else {
        return Err(ChangeError::NotAList(repr(section)));
    };
    let shown = repr(section);
    let invalid = |line: String| {
        let last = format!("Aborting config\u{2010}update: invalid section {shown}");
        ChangeError::Invalid(vec![line, last])
    };
    let wrong = |reason: &str| invalid(format!("Invalid section {shown}: {reason}"));
    let scope = section.get("scope").unwrap_or(&Literal::None);
    let holder = match scope.as_str() {
        Some("server") => OptionHolder::Server,
        Some("model") => OptionHolder::Model,
        _ => {
            let scope = scope.as_str().map_or_else(|| repr(scope), str::to_owned);
            return Err(wrong(&format!(
                "'scope' is invalid: '{scope}'. It should be either 'server' or 'model'."
            )));
        }
    };
    let (word, name_key) = match holder {
        OptionHolder::Server => ("server", "server_name"),
        OptionHolder::Model => ("model", "model_name"),
    };
    let name = match section.get(name_key) {
        Some(Literal::Str(name)) if RESERVED.contains(&name.as_str()) => {
            return Err(wrong(&format!("'{name}' cannot be the name of a {word}.")));
        }
        Some(Literal::Str(name)) => name.clone(),
        Some(other) => return Err(wrong(&format!("'{name_key}' is not a text: {}.", repr(other)))),
        None => return Err(wrong(&format!("'{name_key}' is missing."))),
    };
    match holder {
        OptionHolder::Server if config.models.contains_key(&name) => {
            return Err(wrong(&format!("'{name}' is a model, not a server.")));
        }
        OptionHolder::Model if config.servers.contains_key(&name) => {
            return Err(wrong(&format!("'{name}' is a server, not a model.")));
        }
        OptionHolder::Model if !config.models.contains_key(&name) && section.get("cluster").is_none() => {
            return Err(wrong("new model but 'cluster' is missing."));
        }
        _ => {}
    }
    let mut changes = Vec::new();
    for (key, value) in entries {
        let key = key.as_str().unwrap_or_default();
        if key == "scope" || key == name_key {
            continue;
        }
        let place = format!("{word} '{name}'");
        if !holder.knows(key) {
            return Err(invalid(format!("Invalid option '{key}' for {place}")));
        }
        let value = match value.as_str() {
            Some(value) => holder.validate(key, value, &place).map(|()| value.to_owned()),
            None => Err(format!(
                "expected string or bytes-like object, got '{}'",
                class(value)
            )),
        }
        .map_err(|reason| invalid(format!("Validation failed for {place}: key '{key}' -> {reason}")))?;
        changes.push(change(config, &name, key, value));
    }
    if holder == OptionHolder::Model && !changes.iter().any(|change| change.key == "model") {
        let is_model = config.models.contains_key(&name);
        if !is_model {
            changes.push(change(config, &name, "model", "on".to_owned()));
        }
    }
    Ok(ChangeSet {
        section: name,
        changes_set: changes,
    })
}

fn change(config: &Config, section: &str, key: &str, value: String) -> Change {
    Change {
        key: key.to_owned(),
        value: value.into(),
        config_file: config.file_of(section, key).display().to_string(),
    }
}

/// The name of the Python class of a value.
fn class(value: &Literal) -> &'static str {
    match value {
        Literal::None => "NoneType",
        Literal::Bool(_) => "bool",
        Literal::Int(_) => "int",
        Literal::Float(_) => "float",
        Literal::Str(_) => "str",
        Literal::Tuple(_) => "tuple",
        Literal::List(_) => "list",
        Literal::Dict(_) => "dict",
    }
}

/// A JSON value as Python reads it: objects keep the order of their keys, and the last value of a repeated key.
struct Json(Literal);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json(Literal::None))
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json(Literal::Bool(flag)))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json(Literal::Int(number.into())))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json(Literal::Int(number.into())))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json(Literal::Float(number)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json(Literal::str(text)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Json(Literal::List(list)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(Literal, Literal)> = Vec::new();
        while let Some((key, Json(value))) = map.next_entry::<String, Json>()? {
            let key = Literal::Str(key);
            match entries.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Json(Literal::Dict(entries)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "[barman]\nbarman_home = /b\ncompression = gzip\n[main]\ndescription = d\n[m]\nmodel = on\ncluster = main\n";

    fn ask(text: &str) -> Result<Vec<ChangeSet>, ChangeError> {
        requested(text, &Config::parse(TEXT).unwrap())
    }

    fn refusal(text: &str) -> String {
        ask(text).unwrap_err().to_string()
    }

    #[test]
    fn each_change_goes_to_the_file_that_has_the_option() {
        let sets = ask(
            r#"[{"scope": "server", "server_name": "main", "description": "e", "parallel_jobs": "1", "compression": "xz",
                 "description": "f"},
                {"cluster": "c", "scope": "model", "model_name": "new"}, {"scope": "model", "model_name": "m", "slot_name": "s"}]"#,
        )
        .unwrap();
        let flat: Vec<String> = sets
            .iter()
            .flat_map(|set| {
                set.changes_set.iter().map(|change| {
                    let value = change.value.as_str().unwrap();
                    format!("{} {}={value} in {}", set.section, change.key, change.config_file)
                })
            })
            .collect();
        assert_eq!(
            flat,
            [
                "main description=f in barman.conf",
                "main parallel_jobs=1 in /b/.barman.auto.conf",
                "main compression=xz in barman.conf",
                "new cluster=c in /b/.barman.auto.conf",
                "new model=on in /b/.barman.auto.conf",
                "m slot_name=s in /b/.barman.auto.conf",
            ]
        );
    }

    #[test]
    fn what_is_not_possible_is_refused_with_its_python_form() {
        assert_eq!(
            refusal(
                r#"[{"scope": "server", "server_name": "main", "nope": [1.5, null, {"a": true}], "x": "it's"}]"#
            ),
            "Invalid option 'nope' for server 'main'\nAborting config\u{2010}update: invalid section {'scope': \
             'server', 'server_name': 'main', 'nope': [1.5, None, {'a': True}], 'x': \"it's\"}"
        );
        for (text, line) in [
            (r#"[{"scope": 1}]"#, "'scope' is invalid: '1'"),
            (r#"[{"scope": "server"}]"#, "'server_name' is missing."),
            (
                r#"[{"scope": "server", "server_name": "m"}]"#,
                "'m' is a model, not a server.",
            ),
            (
                r#"[{"scope": "model", "model_name": "main"}]"#,
                "'main' is a server, not a model.",
            ),
            (
                r#"[{"scope": "model", "model_name": "n"}]"#,
                "new model but 'cluster' is missing.",
            ),
            (
                r#"[{"scope": "server", "server_name": "all", "description": "d"}]"#,
                "'all' cannot be the name",
            ),
            (
                r#"[{"scope": "server", "server_name": 1}]"#,
                "'server_name' is not a text: 1",
            ),
            (
                r#"[{"scope": "server", "server_name": "main", "parallel_jobs": 1}]"#,
                "key 'parallel_jobs' -> expected string or bytes-like object, got 'int'",
            ),
            (
                r#"[{"scope": "server", "server_name": "main", "backup_options": "foo"}]"#,
                "key 'backup_options' -> Invalid configuration value 'foo' for key backup_options in server 'main': Unknown option",
            ),
            (
                r#"[{"scope": "model", "model_name": "m", "model": "x"}]"#,
                "key 'model' -> Invalid boolean",
            ),
            (r#"{"a": 1}"#, "not a JSON list of objects: {'a': 1}"),
            ("[1]", "not a JSON list of objects: 1"),
            ("nonsense", "not a JSON list of objects: expected"),
        ] {
            assert!(refusal(text).contains(line), "{text}: {}", refusal(text));
        }
    }
}
