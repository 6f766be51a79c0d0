//! Facts about a server as the commands display them: Python's `str` on the console, JSON types in JSON.

use serde_json::{Value, json};

use crate::base::calendar::{self, Timestamp};

/// A value ready to be displayed.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Not known: `None`, `null`.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number of the server's type `numeric`: text in JSON output, a number in `diagnose`.
    Decimal(String),
    /// Text.
    Text(String),
    /// A point in time.
    Time(Timestamp),
    /// Texts.
    List(Vec<String>),
    /// A row: the name of its type and its columns.
    Record(&'static str, Vec<(&'static str, Fact)>),
}

impl Fact {
    /// Text, or [`Fact::Null`].
    pub fn text<T: ToString>(value: Option<&T>) -> Fact {
        value.map_or(Fact::Null, |value| Fact::Text(value.to_string()))
    }

    /// A whole number, or [`Fact::Null`].
    #[must_use]
    pub fn integer(value: Option<i64>) -> Fact {
        value.map_or(Fact::Null, Fact::Integer)
    }

    /// A point in time, or [`Fact::Null`].
    #[must_use]
    pub fn time(value: Option<Timestamp>) -> Fact {
        value.map_or(Fact::Null, Fact::Time)
    }

    /// The value on the console: Python's `str` of it.
    #[must_use]
    pub fn console(&self) -> String {
        match self {
            Fact::Null => "None".to_owned(),
            Fact::Bool(true) => "True".to_owned(),
            Fact::Bool(false) => "False".to_owned(),
            Fact::Integer(number) => number.to_string(),
            Fact::Decimal(digits) => python_decimal(digits),
            Fact::Text(text) => text.clone(),
            Fact::Time(time) => calendar::python_str(time),
            Fact::List(items) => {
                let items: Vec<String> = items.iter().map(|item| repr(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Fact::Record(name, columns) => {
                let columns: Vec<String> = columns
                    .iter()
                    .map(|(column, value)| match value {
                        Fact::Text(text) => format!("{column}={}", repr(text)),
                        other => format!("{column}={}", other.console()),
                    })
                    .collect();
                format!("{name}({})", columns.join(", "))
            }
        }
    }

    /// The value in JSON output.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Fact::Null => Value::Null,
            Fact::Bool(value) => json!(value),
            Fact::Integer(number) => json!(number),
            Fact::List(items) => json!(items),
            Fact::Decimal(_) | Fact::Text(_) | Fact::Time(_) | Fact::Record(..) => json!(self.console()),
        }
    }

    /// The value in the document of `diagnose`: numbers of type `numeric` are floats, times are in ISO form, rows are
    /// lists.
    #[must_use]
    pub fn diagnose(&self) -> Value {
        match self {
            Fact::Decimal(digits) => digits.parse::<f64>().map_or(Value::Null, |number| json!(number)),
            Fact::Time(time) => json!(calendar::python_iso(time)),
            Fact::Record(_, columns) => columns.iter().map(|(_, value)| value.diagnose()).collect(),
            other => other.json(),
        }
    }
}

fn repr(text: &str) -> String {
    if text.contains('\'') && !text.contains('"') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

/// Python's `str(Decimal(digits))`: scientific below 10⁻⁶, so that a rate of nothing reads `0E-20`.
fn python_decimal(digits: &str) -> String {
    let (sign, unsigned) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let Some((whole, fraction)) = unsigned.split_once('.') else {
        return digits.to_owned();
    };
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let significant = if significant.is_empty() { "0" } else { significant };
    // The exponent of the first significant digit.
    let adjusted = signed(significant.len()) - 1 - signed(fraction.len());
    if adjusted >= -6 {
        return digits.to_owned();
    }
    let (first, rest) = significant.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{point}{rest}E{adjusted}")
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_as_python_shows_them() {
        for (digits, shown) in [
            ("0.00000000000000000000", "0E-20"),
            ("0.00012345678901234567", "0.00012345678901234567"),
            ("0.00000001234567890123", "1.234567890123E-8"),
            ("23133897", "23133897"),
            ("1.50", "1.50"),
        ] {
            assert_eq!(Fact::Decimal(digits.to_owned()).console(), shown);
        }
    }

    #[test]
    fn lists_and_records() {
        assert_eq!(Fact::List(vec![String::new()]).console(), "['']");
        let record = Fact::Record(
            "Record",
            vec![
                ("slot_name", Fact::Text("bm".to_owned())),
                ("active", Fact::Bool(false)),
            ],
        );
        assert_eq!(record.console(), "Record(slot_name='bm', active=False)");
    }
}
