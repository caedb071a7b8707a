//! An entry: what the application says in a transaction, with the random bytes that make it one of its own.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::envelope::OpenError;

/// Characters of a nonce in base64url.
const SPELLED: usize = 22;

/// How an entry of a plain store begins that has the members of the application's object.
const MEMBERS: &str = r#"{"nonce":""#;

/// The 16 random bytes of an entry, made with it and kept through every rebase: two devices that say the same thing
/// after the same HEAD say two things, and not one transaction of which each takes the other's for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// New random bytes, for a new entry.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The random bytes that are these.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn of_spelled(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() != SPELLED {
            return None;
        }
        let read = BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut bytes);
        read.ok().map(|_| Self(bytes))
    }
}

/// An entry's contents: the application's bytes, and the random ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub nonce: Nonce,
    pub app: Vec<u8>,
}

/// An entry of a plain store whose application does not say a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InBase64<'a> {
    bytes: &'a str,
    nonce: &'a str,
}

#[derive(Deserialize)]
struct WithNonce<'a> {
    nonce: &'a str,
}

impl Said {
    /// The plaintext of a sealed entry: the random bytes, then the application's.
    pub fn body(&self) -> Vec<u8> {
        [&self.nonce.0[..], &self.app].concat()
    }

    /// Reads [`Said::body`].
    ///
    /// # Errors
    /// [`OpenError::Entry`] if it is shorter than the random bytes.
    pub fn of_body(body: &[u8]) -> Result<Self, OpenError> {
        let (nonce, app) = body.split_first_chunk().ok_or(OpenError::Entry)?;
        Ok(Self {
            nonce: Nonce(*nonce),
            app: app.to_vec(),
        })
    }

    /// The chunk of an entry of a plain store: a JSON object, for whoever reads it with `jq`. Where the application says one
    /// that has no `nonce`, its members follow the random ones as they stand: `{"nonce":"…","text":"milk"}`. Otherwise what
    /// it says is in base64url: `{"bytes":"…","nonce":"…"}`.
    pub fn plain(&self) -> Vec<u8> {
        let nonce = BASE64URL_NOPAD.encode(&self.nonce.0);
        let object: Option<Map<String, Value>> = serde_json::from_slice(&self.app).ok();
        match (object, self.app.split_first()) {
            (Some(members), Some((b'{', rest))) if !members.contains_key("nonce") => {
                let between = if members.is_empty() { "\"" } else { "\"," };
                [
                    MEMBERS.as_bytes(),
                    nonce.as_bytes(),
                    between.as_bytes(),
                    rest,
                ]
                .concat()
            }
            _ => {
                let bytes = BASE64URL_NOPAD.encode(&self.app);
                format!(r#"{{"bytes":"{bytes}","nonce":"{nonce}"}}"#).into_bytes()
            }
        }
    }

    /// Reads [`Said::plain`], so that the application has its bytes back as they were. Another program's JSON object with
    /// a `nonce` in it is an entry too: its application's bytes are all of it.
    ///
    /// # Errors
    /// [`OpenError::Entry`] if it is no JSON object with the random bytes in it.
    pub fn of_plain(chunk: &[u8]) -> Result<Self, OpenError> {
        let text = std::str::from_utf8(chunk).map_err(|_| OpenError::Entry)?;
        let members = object(text).ok_or(OpenError::Entry)?;
        if let Some(said) = Self::of_members(text, members.len()) {
            return Ok(said);
        }
        if let Ok(spelled) = serde_json::from_str::<InBase64>(text)
            && text.starts_with(r#"{"bytes":""#)
        {
            return Ok(Self {
                nonce: Nonce::of_spelled(spelled.nonce).ok_or(OpenError::Entry)?,
                app: BASE64URL_NOPAD
                    .decode(spelled.bytes.as_bytes())
                    .map_err(|_| OpenError::Entry)?,
            });
        }
        let named: WithNonce = serde_json::from_str(text).map_err(|_| OpenError::Entry)?;
        Ok(Self {
            nonce: Nonce::of_spelled(named.nonce).ok_or(OpenError::Entry)?,
            app: chunk.to_vec(),
        })
    }

    fn of_members(text: &str, members: usize) -> Option<Self> {
        let (nonce, rest) = text.strip_prefix(MEMBERS)?.split_at_checked(SPELLED)?;
        let rest = rest.strip_prefix('"')?;
        let rest = match members {
            1 if rest.trim_start().starts_with('}') => rest,
            1 => return None,
            _ => rest.strip_prefix(',')?,
        };
        Some(Self {
            nonce: Nonce::of_spelled(nonce)?,
            app: format!("{{{rest}").into_bytes(),
        })
    }
}

/// The members of a JSON object, if the text is one: also of one that is deeper than we read, or whose numbers are larger,
/// since other programs write what they like.
fn object(text: &str) -> Option<BTreeMap<String, IgnoredAny>> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = Nonce::from_bytes(*b"0123456789abcdef");

    fn said(app: impl AsRef<[u8]>) -> Said {
        Said {
            nonce: NONCE,
            app: app.as_ref().to_vec(),
        }
    }

    fn plain(app: impl AsRef<[u8]>) -> String {
        String::from_utf8(said(app).plain()).unwrap()
    }

    #[test]
    fn an_object_has_the_random_bytes_as_its_first_member() {
        let nonce = BASE64URL_NOPAD.encode(NONCE.as_bytes());
        let after = |rest: &str| format!(r#"{{"nonce":"{nonce}"{rest}"#);
        assert_eq!(plain("{}"), after("}"));
        assert_eq!(plain("{ }\n"), after(" }\n"));
        assert_eq!(plain(r#"{"text":"milk"}"#), after(r#","text":"milk"}"#));
        assert_eq!(plain("{\n \"a\" : 1}"), after(",\n \"a\" : 1}"));
        assert_eq!(
            plain("milk"),
            format!(r#"{{"bytes":"bWlsaw","nonce":"{nonce}"}}"#)
        );
    }

    #[test]
    fn whatever_an_application_says_comes_back_as_it_was_from_json_or_from_a_body() {
        for app in [
            &b""[..],
            b"{}",
            b"{ }",
            b"{\t}\r\n",
            b" {}",
            b"{",
            b"{,",
            b"{\"a\"}",
            b"[]",
            b"null",
            b"milk",
            b"\0\xff",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":1e999}"#,
            br#"{"\ud800":1}"#,
            format!(r#"{{"a":{}{}}}"#, "[".repeat(140), "]".repeat(140)).as_bytes(),
            br#"{"a":1}"#,
            br#"{"a":1,"a":2}"#,
            br#"{ "a" : {"nonce":1} , "b" : [ ] } "#,
            br#"{"nonce":"mine"}"#,
            br#"{"nonce":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
            br#"{"n\u006fnce":"AAAAAAAAAAAAAAAAAAAAAA","a":1}"#,
            br#"{"bytes":"bWlsaw"}"#,
            br#"{"bytes":"bWlsaw","nonce":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
            "{\"text\":\"grün\"}".as_bytes(),
        ] {
            let words = String::from_utf8_lossy(app);
            let chunk = said(app).plain();
            let read: serde_json::Value = serde_json::from_slice(&chunk).unwrap();
            let nonce = BASE64URL_NOPAD.encode(NONCE.as_bytes());
            assert_eq!(read["nonce"], nonce.as_str(), "{words}");
            assert_eq!(Said::of_plain(&chunk), Ok(said(app)), "{words}");
            assert_eq!(Said::of_body(&said(app).body()), Ok(said(app)), "{words}");
        }
    }

    #[test]
    fn an_object_that_another_program_wrote_is_an_entry_if_it_has_random_bytes() {
        let nonce = BASE64URL_NOPAD.encode(NONCE.as_bytes());
        for theirs in [
            format!(r#"{{"text":"milk","nonce":"{nonce}"}}"#),
            format!(r#"{{ "nonce":"{nonce}"}}"#),
            format!(r#"{{"nonce":"{nonce}" ,"text":"milk"}}"#),
            format!(r#"{{"nonce":"{nonce}","bytes":"bWlsaw" }}"#),
            format!(r#"{{ "bytes":"bWlsaw","nonce":"{nonce}"}}"#),
            format!(
                r#"{{"nonce":"{nonce}","a":["\ud800",1e999,{}{}]}}"#,
                "[".repeat(99),
                "]".repeat(99)
            ),
        ] {
            let read = Said::of_plain(theirs.as_bytes()).unwrap();
            assert_eq!(read.nonce, NONCE, "{theirs}");
            assert!(
                object(std::str::from_utf8(&read.app).unwrap()).is_some(),
                "{theirs}"
            );
        }
        for none in [
            String::new(),
            "milk".into(),
            "{}".into(),
            "[]".into(),
            r#"{"text":"milk"}"#.into(),
            r#"{"nonce":1}"#.into(),
            r#"{"nonce":null,"a":1}"#.into(),
            r#"{"nonce":"AAAAAAAAAAAAAAAAAAAAAB"}"#.into(),
            r#"{"nonce":"AAAAAAAAAAAAAAAAAAAAA"}"#.into(),
            r#"{"nonce":"AAAAAAAAAAAAAAAAAAAAAAA"}"#.into(),
            format!(r#"{{"a":{{"nonce":"{nonce}"}}}}"#),
            format!(r#"{{"nonce":"{nonce}","#),
            format!(r#"{{"nonce":"{nonce}"}}x"#),
            format!(r#"{{"nonce":"{nonce}","nonce":"{nonce}"}}"#),
            format!(r#"{{"bytes":"bWlsa","nonce":"{nonce}"}}"#),
        ] {
            assert_eq!(
                Said::of_plain(none.as_bytes()),
                Err(OpenError::Entry),
                "{none}"
            );
        }
        for short in [0, 15] {
            assert_eq!(Said::of_body(&vec![0; short]), Err(OpenError::Entry));
        }
    }
}
