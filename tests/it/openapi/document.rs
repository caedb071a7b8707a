//! The document, and whether an answer is one that it foretells.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{check, follow};
use crate::kit::Answer;

/// What a path item may have beside its methods.
const NO_METHOD: &str = "parameters";

/// The document, as `/openapi.json` answers it or changed by a test.
#[derive(Clone)]
pub struct Document(pub Value);

impl Document {
    /// The one of the source.
    pub fn of_the_source() -> Self {
        let text = include_str!("../../../src/http/openapi.json");
        Self(serde_json::from_str(text).expect("the document is JSON"))
    }

    /// Every path with its methods, in capitals.
    pub fn paths(&self) -> Vec<(&str, BTreeSet<String>)> {
        let paths = self.0["paths"].as_object().expect("paths are an object");
        let methods = |item: &Value| {
            let names = item.as_object().expect("a path item is an object").keys();
            names
                .filter(|name| *name != NO_METHOD)
                .map(|name| name.to_uppercase())
                .collect()
        };
        paths
            .iter()
            .map(|(path, item)| (path.as_str(), methods(item)))
            .collect()
    }

    /// Every operation: its path and its method.
    pub fn operations(&self) -> Vec<(String, String)> {
        let paths = self.paths().into_iter();
        paths
            .flat_map(|(path, methods)| {
                methods
                    .into_iter()
                    .map(move |method| (path.to_owned(), method))
            })
            .collect()
    }

    fn responses(&self, path: &str, method: &str) -> &Value {
        &self.0["paths"][path][method.to_lowercase()]["responses"]
    }

    /// The statuses of an operation.
    pub fn statuses(&self, path: &str, method: &str) -> BTreeSet<u16> {
        let responses = self.responses(path, method).as_object();
        let responses = responses.unwrap_or_else(|| panic!("{method} {path} has no responses"));
        responses
            .keys()
            .map(|status| status.parse().expect("a status is a number"))
            .collect()
    }

    /// Each response of each operation: path, method, status, and what is said of it.
    pub fn each_response(&self) -> Vec<(String, String, u16, &Value)> {
        let mut all = Vec::new();
        for (path, method) in self.operations() {
            for status in self.statuses(&path, &method) {
                let response = &self.responses(&path, &method)[status.to_string()];
                let response = follow(&self.0, response);
                all.push((path.clone(), method.clone(), status, response));
            }
        }
        all
    }

    /// Whether the operation may answer like this; if not, says why.
    pub fn foretells(&self, path: &str, method: &str, answer: &Answer) -> Result<(), String> {
        let status = answer.status;
        let Some(response) = self.responses(path, method).get(status.to_string()) else {
            return Err(format!("{status} is not documented"));
        };
        let response = follow(&self.0, response);
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let Some(value) = answer.header(name) else {
                return Err(format!("{status}: there is no {name}"));
            };
            let schema = &follow(&self.0, header)["schema"];
            check(&self.0, schema, &value.into(), name)?;
        }
        let media = answer.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default();
        let content = match response["content"].as_object() {
            None if media.is_empty() && answer.body.is_empty() => return Ok(()),
            None => return Err(format!("{status}: a body that is not documented")),
            Some(content) => content
                .get(media)
                .ok_or_else(|| format!("{status}: {media:?} is not documented"))?,
        };
        match content.get("schema") {
            Some(schema) if method != "HEAD" => {
                let value = match media.ends_with("json") {
                    true => answer.json(),
                    false => String::from_utf8_lossy(&answer.body).into(),
                };
                check(&self.0, schema, &value, &status.to_string())
            }
            _ => Ok(()),
        }
    }
}
