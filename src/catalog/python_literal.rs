//! Python literals, as Barman stores structured values in `backup.info`: exactly what `repr` writes, and whatever
//! `ast.literal_eval` would read of it (catalog reference §3).
//!
//! The reader takes bytes from anywhere: depth is bounded, memory is proportional to the input.

mod json;
mod read;
mod write;

pub use crate::base::python_repr::string_repr;
pub use read::{InvalidLiteral, parse};
pub use write::repr;

/// A Python value.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float, written in the shortest form that reads back to the same number.
    Float(f64),
    /// A string.
    Str(String),
    /// `(1, 2)`
    Tuple(Vec<Literal>),
    /// `[1, 2]`
    List(Vec<Literal>),
    /// `{'a': 1}`, in the order of insertion.
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// A string.
    #[must_use]
    pub fn str(text: impl Into<String>) -> Literal {
        Literal::Str(text.into())
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Literal::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A number as a float: integers and booleans count as numbers, as in Python.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // times and counts
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Literal::Float(number) => Some(*number),
            Literal::Int(number) => Some(*number as f64),
            Literal::Bool(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    #[must_use]
    pub fn items(&self) -> Option<&[Literal]> {
        match self {
            Literal::List(items) | Literal::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key of a dict.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Literal> {
        match self {
            Literal::Dict(entries) => entries
                .iter()
                .rev()
                .find(|(name, _)| name.as_str() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The same value for `serde_json`. Keys that are not strings become their `repr`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Literal::None => Value::Null,
            Literal::Bool(flag) => Value::Bool(*flag),
            Literal::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(small), _) => Value::from(small),
                (_, Ok(large)) => Value::from(large),
                _ => Value::String(number.to_string()),
            },
            Literal::Float(number) => Value::from(*number),
            Literal::Str(text) => Value::String(text.clone()),
            Literal::Tuple(items) | Literal::List(items) => {
                Value::Array(items.iter().map(Literal::to_json).collect())
            }
            Literal::Dict(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| {
                        let key = key.as_str().map_or_else(|| repr(key), str::to_owned);
                        (key, value.to_json())
                    })
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
