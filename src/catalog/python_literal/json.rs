//! Literals in JSON documents whose members keep their order: Barman's dicts come and go in the order of insertion.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{Literal, repr};

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Literal::None => serializer.serialize_unit(),
            Literal::Bool(flag) => serializer.serialize_bool(*flag),
            Literal::Int(number) => serializer.serialize_i128(*number),
            Literal::Float(number) => serializer.serialize_f64(*number),
            Literal::Str(text) => serializer.serialize_str(text),
            Literal::Tuple(items) | Literal::List(items) => serializer.collect_seq(items),
            Literal::Dict(members) => serializer.collect_map(members.iter().map(|(key, value)| {
                let key = key.as_str().map_or_else(|| repr(key), str::to_owned);
                (key, value)
            })),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Literal, D::Error> {
        deserializer.deserialize_any(AnyLiteral)
    }
}

struct AnyLiteral;

impl<'de> Visitor<'de> for AnyLiteral {
    type Value = Literal;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Literal, E> {
        Ok(Literal::None)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Literal, E> {
        Ok(Literal::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Literal, E> {
        Ok(Literal::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Literal, E> {
        Ok(Literal::Int(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Literal, E> {
        Ok(Literal::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Literal, E> {
        Ok(Literal::str(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Literal, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Literal::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Literal, A::Error> {
        let mut dict = Vec::new();
        while let Some((key, value)) = members.next_entry::<String, Literal>()? {
            dict.push((Literal::Str(key), value));
        }
        Ok(Literal::Dict(dict))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::catalog::python_literal::parse;

    #[test]
    fn members_keep_their_order_both_ways() {
        let text = r#"{"b": 1, "a": [null, true, -2, 0.5, "é\n"], "0": {}}"#;
        let value: Literal = serde_json::from_str(text).unwrap();
        assert_eq!(
            repr(&value),
            r"{'b': 1, 'a': [None, True, -2, 0.5, 'é\n'], '0': {}}"
        );
        let again = crate::base::json::line(&value).unwrap();
        assert_eq!(again, text.replace('é', "\\u00e9"));
        // What JSON has no form for becomes what is nearest.
        let python = parse("{1: (2, 3)}").unwrap();
        assert_eq!(crate::base::json::line(&python).unwrap(), r#"{"1": [2, 3]}"#);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(serde_json::from_str::<Literal>(&"[".repeat(100_000)).is_err());
    }
}
