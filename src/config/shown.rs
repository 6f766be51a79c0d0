//! Values of options as the commands display them: Python's `str` on the console, JSON types in JSON.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::base::duration;
use crate::base::python_repr::string_repr;

/// A value ready to be displayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// No value: `None`, `null`.
    Null,
    /// `True`, `true`.
    Bool(bool),
    /// A number.
    Int(i64),
    /// Text as it is.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// A mapping of names to numbers, in the order of the file.
    Limits(Vec<(String, u64)>),
    /// A set of keywords; the first member is the name of Barman's class for it.
    Keywords(&'static str, Vec<&'static str>),
    /// A length of time.
    Duration(TimeDelta),
}

impl Shown {
    /// The value on the console: Python's `str` of it.
    #[must_use]
    pub fn console(&self) -> String {
        match self {
            Shown::Null => "None".to_owned(),
            Shown::Bool(true) => "True".to_owned(),
            Shown::Bool(false) => "False".to_owned(),
            Shown::Int(number) => number.to_string(),
            Shown::Text(text) => text.clone(),
            Shown::List(items) => python_list(items),
            Shown::Limits(limits) => {
                let items: Vec<String> = limits
                    .iter()
                    .map(|(name, limit)| format!("{}: {limit}", string_repr(name)))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
            Shown::Keywords(class, members) if members.is_empty() => format!("{class}()"),
            Shown::Keywords(class, members) => {
                let items: Vec<String> = members.iter().map(|member| string_repr(member)).collect();
                format!("{class}({{{}}})", items.join(", "))
            }
            Shown::Duration(duration) => python_timedelta(*duration),
        }
    }

    /// The value in JSON output: numbers, booleans, lists and mappings keep their type, the rest is text.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Shown::Null => Value::Null,
            Shown::Bool(value) => json!(value),
            Shown::Int(number) => json!(number),
            Shown::List(items) => json!(items),
            Shown::Limits(limits) => limits
                .iter()
                .map(|(name, limit)| (name.clone(), json!(limit)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Shown::Text(_) | Shown::Keywords(..) | Shown::Duration(_) => json!(self.console()),
        }
    }

    /// The value in the document of `diagnose`: as [`Self::json`], with keywords joined by commas and durations in words.
    #[must_use]
    pub fn diagnose(&self) -> Value {
        match self {
            Shown::Keywords(_, members) => json!(members.join(",")),
            Shown::Duration(duration) => json!(duration::human(duration.as_seconds_f64())),
            other => other.json(),
        }
    }
}

/// Python's `repr` of a list of strings.
pub(super) fn python_list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<String> = items.iter().map(|item| string_repr(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// Python's `str(timedelta)`: `31 days, 0:00:00`.
#[must_use]
pub(super) fn python_timedelta(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds();
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 | -1 => format!("{days} day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_form_is_pythons() {
        let list = Shown::List(vec!["a".into(), "it's".into(), "b\"'".into()]);
        assert_eq!(list.console(), r#"['a', "it's", 'b"\'']"#);
        assert_eq!(
            Shown::Limits(vec![("a".into(), 12), ("c".into(), 5)]).console(),
            "{'a': 12, 'c': 5}"
        );
        assert_eq!(
            Shown::Keywords("RecoveryOptions", vec![]).console(),
            "RecoveryOptions()"
        );
        assert_eq!(
            Shown::Keywords("BackupOptions", vec!["concurrent_backup"]).console(),
            "BackupOptions({'concurrent_backup'})"
        );
    }

    #[test]
    fn durations_are_pythons() {
        assert_eq!(python_timedelta(TimeDelta::days(31)), "31 days, 0:00:00");
        assert_eq!(python_timedelta(TimeDelta::hours(25)), "1 day, 1:00:00");
        assert_eq!(python_timedelta(TimeDelta::hours(5)), "5:00:00");
    }
}
