//! A validator for the part of JSON Schema that the schemas of these tests use. An unknown keyword is an
//! error: no schema can ask for something that nobody looks at.

use serde_json::Value;

/// What is wrong with a value, one line for each fault; empty if nothing is.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Validator { root: schema }.check(schema, value, "", &mut faults);
    faults
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn holds(&self, schema: &Value, value: &Value, at: &str) -> bool {
        let mut faults = Vec::new();
        self.check(schema, value, at, &mut faults);
        faults.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return faults.push(format!("{at}: not allowed")),
            Value::Object(schema) => schema,
            other => panic!("no schema: {other}"),
        };
        for (keyword, wanted) in schema {
            let good = match keyword.as_str() {
                // For people, for references, and for validators that know regular expressions.
                "$schema" | "$id" | "$defs" | "definitions" | "title" | "description" | "default" | "pattern"
                | "format" | "then" | "else" => true,
                "$ref" => {
                    let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                    self.check(self.root.pointer(pointer).unwrap(), value, at, faults);
                    true
                }
                "type" => match wanted {
                    Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                    name => has_type(value, name),
                },
                "const" => value == wanted,
                "enum" => wanted.as_array().unwrap().contains(value),
                "required" => value.as_object().is_none_or(|object| {
                    wanted.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))
                }),
                "properties" => {
                    for (name, schema) in wanted.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}/{name}"), faults);
                        }
                    }
                    true
                }
                "additionalProperties" => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if !known.is_some_and(|known| known.contains_key(name)) {
                            self.check(wanted, value, &format!("{at}/{name}"), faults);
                        }
                    }
                    true
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, value, &format!("{at}/{index}"), faults);
                    }
                    true
                }
                "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= wanted.as_u64().unwrap()),
                "uniqueItems" => value.as_array().is_none_or(|list| {
                    wanted == false || list.iter().enumerate().all(|(at, item)| !list[..at].contains(item))
                }),
                "minLength" => {
                    value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap())
                }
                "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
                "allOf" => wanted.as_array().unwrap().iter().all(|schema| self.holds(schema, value, at)),
                "anyOf" => wanted.as_array().unwrap().iter().any(|schema| self.holds(schema, value, at)),
                "oneOf" => {
                    wanted.as_array().unwrap().iter().filter(|schema| self.holds(schema, value, at)).count() == 1
                }
                "not" => !self.holds(wanted, value, at),
                "if" => {
                    let branch = if self.holds(wanted, value, at) { "then" } else { "else" };
                    schema.get(branch).is_none_or(|schema| self.holds(schema, value, at))
                }
                other => panic!("unknown keyword {other}"),
            };
            if !good {
                faults.push(format!("{at}: {keyword} {wanted}"));
            }
        }
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}
