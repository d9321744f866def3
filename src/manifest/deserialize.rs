//! Views: serde reads any type from a node, and what does not fit is named with its path and place.

use std::fmt::{self, Display};

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{Position, quoted};
use super::tree::{Entries, Items, Node, Value};

/// A value that its type does not allow. It reads `spec.replicas: expected an integer, found the string "two"`.
#[derive(Debug)]
pub struct ViewError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    position: Option<Position>,
    /// Keys and indexes from the inside to the outside.
    path: Vec<String>,
}

impl ViewError {
    fn new(message: String) -> Self {
        Self(Box::new(Inner { message, position: None, path: Vec::new() }))
    }

    /// Where the value is.
    pub fn position(&self) -> Option<Position> {
        self.0.position
    }

    /// The RFC 6901 pointer of the value.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for token in self.0.path.iter().rev() {
            pointer.push('/');
            pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }

    fn at(mut self, position: Position) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    fn within(mut self, token: impl Into<String>) -> Self {
        self.0.path.push(token.into());
        self
    }
}

impl Display for ViewError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, token) in self.0.path.iter().rev().enumerate() {
            let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            if token.bytes().all(|byte| byte.is_ascii_digit()) {
                write!(formatter, "[{token}]")?;
            } else if !plain {
                write!(formatter, "[{}]", quoted(token))?;
            } else if number == 0 {
                formatter.write_str(token)?;
            } else {
                write!(formatter, ".{token}")?;
            }
        }
        if !self.0.path.is_empty() {
            formatter.write_str(": ")?;
        }
        formatter.write_str(&self.0.message)
    }
}

impl std::error::Error for ViewError {}

/// What a type wants, in the words of YAML rather than of Rust.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "an integer".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        _ => text,
    }
}

fn seen(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("the boolean {value}"),
        Unexpected::Signed(value) => format!("the integer {value}"),
        Unexpected::Unsigned(value) => format!("the integer {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(value) => format!("the string {}", quoted(value)),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

impl de::Error for ViewError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", wanted(expected), seen(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}, which does not fit", wanted(expected), seen(&unexpected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the field {field} is missing"))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("expected one of {}, found {}", known.join(", "), quoted(variant)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown field {}, expected one of {}", quoted(field), known.join(", ")))
    }
}

impl<'de> Node<'de> {
    /// Reads an integer; `4.0` is one, as kubectl writes it to the API server as 4.
    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        /// Up to here every integer is a float.
        const LARGEST: f64 = 9_007_199_254_740_992.0;
        match self.value() {
            #[allow(clippy::cast_possible_truncation)] // it is whole and in range
            Value::Float(value) if value.fract() == 0.0 && value.abs() <= LARGEST => {
                visitor.visit_i64(value as i64).map_err(|error: ViewError| error.at(self.position()))
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = ViewError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        match self.value() {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Integer(value) => match u64::try_from(value) {
                // As serde_json does, so that a view meets the same calls from both.
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(value),
            },
            Value::Unsigned(value) => visitor.visit_u64(value),
            Value::Float(value) => visitor.visit_f64(value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visitor.visit_seq(List { items, number: 0 }),
            Value::Mapping(entries) => visitor.visit_map(Pairs { entries, value: None }),
        }
        .map_err(|error: ViewError| error.at(self.position()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        match self.value() {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ViewError> {
        visitor.visit_newtype_struct(self).map_err(|error| error.at(self.position()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ViewError> {
        match self.value() {
            Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Value::Mapping(entries) => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(Pairs { entries, value: None }))
            }
            // There is no number or list that names a variant.
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|error: ViewError| error.at(self.position()))
    }

    /// A derived view would take a list for its fields in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ViewError> {
        match self.value() {
            Value::Sequence(_) => {
                let error: ViewError = de::Error::invalid_type(Unexpected::Seq, &visitor);
                Err(error.at(self.position()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        self.integer(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        self.integer(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        self.integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        self.integer(visitor)
    }

    /// Costs nothing: the next value is one addition away.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ViewError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier
    }
}

impl<'de> IntoDeserializer<'de, ViewError> for Node<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct List<'de> {
    items: Items<'de>,
    number: usize,
}

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = ViewError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ViewError> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        let number = self.number;
        self.number += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.at(item.position()).within(number.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.size_hint().1
    }
}

struct Pairs<'de> {
    entries: Entries<'de>,
    value: Option<(&'de str, Node<'de>)>,
}

impl<'de> MapAccess<'de> for Pairs<'de> {
    type Error = ViewError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ViewError> {
        let Some((key, position, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some).map_err(|error: ViewError| error.at(position))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ViewError> {
        let Some((key, value)) = self.value.take() else {
            return Err(ViewError::new("a value was asked for before its key".to_owned()));
        };
        seed.deserialize(value).map_err(|error| error.at(value.position()).within(key))
    }

    fn size_hint(&self) -> Option<usize> {
        self.entries.size_hint().1
    }
}
