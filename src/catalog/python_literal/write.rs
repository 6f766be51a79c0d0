//! Writing Python literals.

use crate::base::float::float_repr;
use crate::base::python_repr::put_string;

use super::Literal;

/// Python's `repr` of a value.
#[must_use]
pub fn repr(value: &Literal) -> String {
    let mut text = String::new();
    put(&mut text, value);
    text
}

fn put(text: &mut String, value: &Literal) {
    match value {
        Literal::None => text.push_str("None"),
        Literal::Bool(true) => text.push_str("True"),
        Literal::Bool(false) => text.push_str("False"),
        Literal::Int(number) => text.push_str(&number.to_string()),
        Literal::Float(number) => text.push_str(&float_repr(*number)),
        Literal::Str(string) => put_string(text, string),
        Literal::List(items) => {
            text.push('[');
            put_items(text, items);
            text.push(']');
        }
        Literal::Tuple(items) => {
            text.push('(');
            put_items(text, items);
            // A tuple of one item needs its comma.
            text.push_str(if items.len() == 1 { ",)" } else { ")" });
        }
        Literal::Dict(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                put(text, key);
                text.push_str(": ");
                put(text, value);
            }
            text.push('}');
        }
    }
}

fn put_items(text: &mut String, items: &[Literal]) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        put(text, item);
    }
}
