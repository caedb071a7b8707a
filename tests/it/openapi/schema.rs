//! As much of JSON Schema as the document uses. A keyword that is not known here is a failure, so that
//! nothing is passed over in silence.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// Whether the value is as the schema has it; `document` is what a `$ref` points into. If it is not,
/// says what is wrong, and where.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else {
        return Err(format!("{at}: {schema} is no schema"));
    };
    for (keyword, rule) in rules {
        let holds = match keyword.as_str() {
            "description" | "default" | "example" => true,
            // Bytes as they are.
            "format" => rule == "binary" && value.is_string(),
            "$ref" => {
                check(document, follow(document, schema), value, at)?;
                true
            }
            "allOf" => {
                for part in list(rule) {
                    check(document, part, value, at)?;
                }
                true
            }
            "type" => is_of_type(rule, value),
            "const" => rule == value,
            "enum" => list(rule).contains(value),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "pattern" => value.as_str().is_none_or(|text| is_like(rule, text)),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| Some(items.len() as u64) <= rule.as_u64()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "required" => list(rule)
                .iter()
                .all(|name| name.as_str().is_some_and(|name| value.get(name).is_some())),
            "properties" => {
                for (name, schema) in rule.as_object().into_iter().flatten() {
                    if let Some(value) = value.get(name) {
                        check(document, schema, value, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => rule == false && knows_all(rules, value),
            _ => return Err(format!("{at}: {keyword} is not known to the test")),
        };
        if !holds {
            return Err(format!("{at}: {value} is not {keyword} {rule}"));
        }
    }
    Ok(())
}

/// What a `$ref` points to, or the value itself.
pub fn follow<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer))
            .unwrap_or_else(|| panic!("{reference} points to nothing")),
        None => value,
    }
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().map_or(&[], Vec::as_slice)
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    let one = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("null") => value.is_null(),
        _ => false,
    };
    one(rule) || list(rule).iter().any(one)
}

fn is_like(pattern: &Value, text: &str) -> bool {
    let pattern = pattern.as_str().expect("a pattern is text");
    Regex::new(pattern)
        .expect("the pattern is one")
        .is_match(text)
}

fn knows_all(rules: &Map<String, Value>, value: &Value) -> bool {
    let known = |name: &String| rules["properties"].get(name).is_some();
    value
        .as_object()
        .is_none_or(|object| object.keys().all(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_as_the_schema_has_it_is_told() {
        let document = json!({"n": {"type": "integer", "minimum": 1, "maximum": 3}});
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {
                "a": {"$ref": "#/n"},
                "b": {"type": ["string", "null"], "pattern": "^x+$"},
                "c": {"type": "array", "maxItems": 2, "items": {"enum": [1, 2]}},
                "d": {"allOf": [{"const": 1}]}
            }
        });
        let good = |value: Value| check(&document, &schema, &value, "it").is_ok();
        assert!(good(json!({"a": 1})));
        assert!(good(json!({"a": 3, "b": null, "c": [1, 2], "d": 1})));
        assert!(good(json!({"a": 1, "b": "xx", "c": []})));
        for bad in [
            json!([]),
            json!({}),
            json!({"a": 0}),
            json!({"a": 4}),
            json!({"a": "1"}),
            json!({"a": 1, "e": 1}),
            json!({"a": 1, "b": "xy"}),
            json!({"a": 1, "b": 1}),
            json!({"a": 1, "c": [1, 1, 1]}),
            json!({"a": 1, "c": [3]}),
            json!({"a": 1, "d": 2}),
        ] {
            assert!(!good(bad.clone()), "{bad}");
        }
        let unknown = json!({"oneOf": []});
        assert!(check(&document, &unknown, &json!(1), "it").is_err());
    }
}
