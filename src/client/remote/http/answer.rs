//! An answer as it is read: what it must be, how long it may be, and what a refusal says.

use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderName, Response, Uri, header};
use ureq::{Body, BodyReader};

use super::unreached::{ServerName, Unreached};
use crate::client::error::{Error, Result};
use crate::model::{Head, UserId, limits, tame};
use crate::wire::{Code, JSON, PROBLEM_JSON, ProblemMessage};

/// An answer whose head has come.
pub enum Replied {
    /// The answer that was asked for, with its body to come.
    Good(Response<Body>),
    /// The answer would be as it was.
    Unchanged,
    /// The server understood, and will not.
    Refused(Declined),
}

/// A refusal as the server put it.
#[derive(Debug)]
pub struct Declined {
    pub code: Code,
    pub message: ProblemMessage,
}

impl Declined {
    /// HEAD as the refusal tells it.
    pub fn head(&self) -> Option<Head> {
        let ProblemMessage { head, seq, .. } = self.message;
        Some(Head {
            id: head?,
            seq: seq?,
        })
    }

    /// The device's error.
    pub fn into_error(self) -> Error {
        Error::Refused {
            status: self.message.status,
            code: self.code,
            detail: self.message.detail,
        }
    }
}

/// The reader of one server's answers to one user.
#[derive(Clone)]
pub struct Answers {
    pub server: ServerName,
    pub user: UserId,
}

impl Answers {
    /// Tells what an answer is by its head; of a refusal the body is read.
    ///
    /// # Errors
    /// [`Error::Offline`] where it is no answer of our server, or one that asks for another try.
    pub fn reply(&self, response: Response<Body>, media: &str) -> Result<Replied> {
        let status = response.status().as_u16();
        match status {
            200..=299 if status == 204 || is_of(&response, media) => Ok(Replied::Good(response)),
            304 => Ok(Replied::Unchanged),
            300..=399 => Err(self.elsewhere(&response).into_error(None)),
            408 | 429 | 503 => Err(self.busy(response)),
            400..=599 if is_of(&response, PROBLEM_JSON) => {
                self.refusal(response).map(Replied::Refused)
            }
            _ => Err(self.not_ours(&response).into_error(None)),
        }
    }

    /// Reads a message to its end.
    ///
    /// # Errors
    /// [`Error::Offline`] where it breaks off, is too long, or is no such message.
    pub fn json<T: DeserializeOwned>(&self, response: Response<Body>) -> Result<T> {
        let status = response.status().as_u16();
        let bytes = self.whole(response)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = format!("an answer is not as it should be at line {line}, column {column}");
            self.garbage(status, what)
        })
    }

    /// The bytes of an answer, as they come.
    pub fn body(&self, response: Response<Body>) -> AnswerReader {
        AnswerReader {
            body: response.into_body().into_reader(),
            server: self.server.clone(),
        }
    }

    fn whole(&self, response: Response<Body>) -> Result<Vec<u8>> {
        let status = response.status().as_u16();
        let most = limits::ANSWER_BYTES;
        let mut bytes = Vec::new();
        let read = self.body(response).take(most as u64 + 1);
        match { read }.read_to_end(&mut bytes) {
            Ok(_) if bytes.len() <= most => Ok(bytes),
            Ok(_) => Err(self.garbage(status, format!("an answer has more than {most} bytes"))),
            Err(error) => Err(error_of(error)),
        }
    }

    /// An answer that has a form that none of ours has.
    pub fn garbage(&self, status: u16, what: String) -> Error {
        let trouble = Unreached::NotOurs {
            server: self.server.clone(),
            status: Some(status),
            what,
        };
        trouble.into_error(None)
    }

    fn refusal(&self, response: Response<Body>) -> Result<Declined> {
        let status = response.status().as_u16();
        let bytes = self.whole(response)?;
        let mut message = match serde_json::from_slice::<ProblemMessage>(&bytes) {
            Ok(message) => message,
            Err(_) => self.of_another_version(status, &bytes)?,
        };
        message.status = status;
        message.detail = self.fit(&message.detail);
        Ok(Declined {
            code: message.code,
            message,
        })
    }

    /// A refusal with a code that this version does not know: the nearest that it does, by the status.
    fn of_another_version(&self, status: u16, bytes: &[u8]) -> Result<ProblemMessage> {
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            code: String,
            #[serde(default)]
            detail: String,
        }
        let form: Form = serde_json::from_slice(bytes)
            .map_err(|_| self.garbage(status, "a refusal is not as it should be".to_owned()))?;
        let code = match status {
            401 => Code::Unauthorized,
            403 => Code::UnknownUser,
            404 => Code::NotFound,
            405 => Code::MethodNotAllowed,
            410 => Code::Gone,
            412 => Code::PreconditionFailed,
            413 => Code::TooLarge,
            415 => Code::EncodingUnsupported,
            421 => Code::WrongHost,
            507 => Code::NoSpace,
            400..=499 => Code::MalformedRequest,
            _ => Code::Internal,
        };
        Ok(ProblemMessage {
            r#type: String::new(),
            status,
            title: String::new(),
            detail: format!("{} (code {})", form.detail, form.code),
            code,
            head: None,
            seq: None,
            missing: None,
            descendants: None,
            checkpoint: None,
            limit: None,
            used: None,
        })
    }

    fn busy(&self, response: Response<Body>) -> Error {
        let status = response.status().as_u16();
        let retry_after = retry_after(header_of(&response, header::RETRY_AFTER), SystemTime::now());
        let words = response.status().canonical_reason().unwrap_or_default();
        let detail = match is_of(&response, PROBLEM_JSON) {
            true => self.refusal(response).map(|refusal| refusal.message.detail),
            false => Ok(words.to_owned()),
        };
        let trouble = Unreached::Busy {
            server: self.server.clone(),
            status,
            detail: detail.unwrap_or_else(|_| words.to_owned()),
        };
        trouble.into_error(retry_after)
    }

    fn elsewhere(&self, response: &Response<Body>) -> Unreached {
        let to = header_of(response, header::LOCATION).and_then(|to| to.parse::<Uri>().ok());
        let host = to.and_then(|to| {
            let (scheme, host) = (to.scheme_str()?, to.host()?);
            let port = to.port_u16().map(|port| format!(":{port}"));
            Some(format!("{scheme}://{host}{}", port.unwrap_or_default()))
        });
        Unreached::Redirected {
            server: self.server.clone(),
            status: response.status().as_u16(),
            to: self.fit(&host.unwrap_or_else(|| "another path".to_owned())),
        }
    }

    fn not_ours(&self, response: &Response<Body>) -> Unreached {
        let status = response.status();
        let media = header_of(response, header::CONTENT_TYPE).unwrap_or("no content type");
        Unreached::NotOurs {
            server: self.server.clone(),
            status: Some(status.as_u16()),
            what: self.fit(&format!("{status}, {media}")),
        }
    }

    /// Words of a stranger, fit to be shown: not for ever, nothing that a terminal obeys, and not the user's id, whoever says it.
    fn fit(&self, words: &str) -> String {
        let (id, plain) = (
            self.user.to_string(),
            self.user.to_string().replace('-', ""),
        );
        let words = words.replace(&id, "…").replace(&plain, "…");
        tame(&words).chars().take(limits::DETAIL_CHARS).collect()
    }
}

/// The length that the head of an answer says its body has.
pub fn length_of(response: &Response<Body>) -> Option<u64> {
    header_of(response, header::CONTENT_LENGTH)?.parse().ok()
}

/// The body of an answer. An error in reading it is a [`Unreached`].
pub struct AnswerReader {
    body: BodyReader<'static>,
    server: ServerName,
}

impl Read for AnswerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer).map_err(|error| {
            let trouble = Unreached::of(&self.server, error.into());
            io::Error::new(trouble.kind(), trouble)
        })
    }
}

/// The device's error of a body that could not be read.
fn error_of(error: io::Error) -> Error {
    match error.downcast::<Unreached>() {
        Ok(trouble) => trouble.into_error(None),
        Err(error) => Error::offline(error),
    }
}

fn header_of(response: &Response<Body>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Whether an answer says that it is of this media type, whatever parameters it has.
fn is_of(response: &Response<Body>, media: &str) -> bool {
    let said = header_of(response, header::CONTENT_TYPE).unwrap_or_default();
    let essence = |text: &str| {
        let essence = text.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    };
    debug_assert!(media == JSON || media == essence(media));
    essence(said) == essence(media)
}

/// How long to wait by `Retry-After`, which has seconds or a date.
fn retry_after(said: Option<&str>, now: SystemTime) -> Option<Duration> {
    let said = said?.trim();
    match said.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(said).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (said, seconds) in [
            (Some("7"), Some(7)),
            (Some(" 0 "), Some(0)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7)),
            (Some("Sun, 06 Nov 1994 08:49:27 GMT"), Some(0)),
            (Some("-1"), None),
            (Some("soon"), None),
            (None, None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(said, now), expected, "{said:?}");
        }
    }

    #[test]
    fn words_of_a_stranger_are_tame_short_and_never_the_users_id() {
        let user: UserId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        let reading = Answers {
            server: ServerName("a.example".to_owned()),
            user,
        };
        let fit = reading.fit(&format!("\x1b[2Jno user {user} {}", "x".repeat(1 << 20)));
        assert!(fit.starts_with("\u{fffd}[2Jno user … x"), "{fit:.40}");
        assert_eq!(fit.chars().count(), limits::DETAIL_CHARS);
        let plain = reading.fit("67e5504410b1426f9247bb680e5fe0c8");
        assert_eq!(plain, "…");
    }
}
