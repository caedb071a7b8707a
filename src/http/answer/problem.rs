//! Refusals: `application/problem+json` as RFC 9457 has it, with a code that a program can act on.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use super::json::json;
use super::statuses::status;
use crate::model::{ChunkId, Head, MalformedId, TransactionId, limits};
use crate::wire::{
    BadQuery, CheckpointMessage, Code, Malformed, Miss, PROBLEM_JSON, ProblemMessage,
};

/// Seconds after which a busy store is worth another try.
const RETRY_AFTER: &str = "1";

/// Seconds after which a user who is frozen is worth another look: what is sent while nobody is served takes about so long.
const RETRY_AFTER_A_MOVE: &str = "5";

/// A refusal. Its detail is for a person, and never holds a path of the box or a user's id.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    code: Code,
    detail: Cow<'static, str>,
    /// The head that an advance was refused against.
    head: Option<Head>,
    missing: Option<Vec<ChunkId>>,
    descendants: Option<Vec<TransactionId>>,
    checkpoint: Option<CheckpointMessage>,
    limit: Option<u64>,
    used: Option<u64>,
    header: Option<(header::HeaderName, Cow<'static, str>)>,
}

impl Problem {
    /// A refusal with this code, and this detail for a person.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            code,
            detail: detail.into(),
            head: None,
            missing: None,
            descendants: None,
            checkpoint: None,
            limit: None,
            used: None,
            header: None,
        }))
    }

    /// The refusal of an advance, which tells where HEAD is instead.
    pub fn of_advance(code: Code, detail: impl Into<Cow<'static, str>>, head: Head) -> Self {
        let mut problem = Self::new(code, detail);
        problem.0.head = Some(head);
        problem
    }

    /// Adds the chunks that are not there.
    pub fn missing(mut self, chunks: Vec<ChunkId>) -> Self {
        self.0.missing = Some(chunks);
        self
    }

    /// Adds the pending children of the proposed head.
    pub fn descendants(mut self, transactions: Vec<TransactionId>) -> Self {
        self.0.descendants = Some(transactions);
        self
    }

    /// Adds the checkpoint that there is.
    pub fn checkpoint(mut self, checkpoint: CheckpointMessage) -> Self {
        self.0.checkpoint = Some(checkpoint);
        self
    }

    /// Adds the limit that was met.
    pub fn limit(mut self, limit: u64) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// Adds how much of the limit is in use.
    pub fn used(mut self, used: u64) -> Self {
        self.0.used = Some(used);
        self
    }

    /// Adds a header, of which there is one at most.
    pub fn with_header(
        mut self,
        name: header::HeaderName,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.0.header = Some((name, value.into()));
        self
    }

    /// The refusal of a method that the route does not take.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(Code::MethodNotAllowed, format!("allowed here: {allow}"))
            .with_header(header::ALLOW, allow)
    }

    /// The refusal of a request that should say its user in `Authorization`, and does not.
    pub fn unauthorized() -> Self {
        let detail = "the path has - for the user, so `Authorization: Bearer` must say who it is";
        Self::new(Code::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, "Bearer")
    }

    /// The refusal of a body that is, or is announced to be, longer than it may be.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            Code::TooLarge,
            format!("at most {limit} bytes are taken here"),
        )
        .limit(limit)
    }

    /// The refusal of a range of which no byte is there; the whole has so many.
    pub fn range(bytes: u64) -> Self {
        Self::new(Code::Range, format!("there are {bytes} bytes"))
            .with_header(header::CONTENT_RANGE, format!("bytes */{bytes}"))
    }

    /// The refusal of a request that cannot be served just now.
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Busy, detail).with_header(header::RETRY_AFTER, RETRY_AFTER)
    }

    /// The refusal of any request about a user who is frozen.
    pub fn moving() -> Self {
        let detail = "this user is frozen here, or moves to another box: try again in a while";
        let mut problem = Self::new(Code::Moving, detail);
        problem.0.header = Some((header::RETRY_AFTER, RETRY_AFTER_A_MOVE.into()));
        problem
    }

    /// The refusal of a request that failed for a reason which is for the log, not for the client. Whoever makes
    /// it logs the reason.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "the server failed; its log says how")
    }

    /// The answer, with the status of its code.
    pub fn respond(self) -> HttpResponse {
        let status = status(self.0.code, self.0.head.is_some());
        self.respond_with(status)
    }

    /// The answer with another status than its code has, for a head that is too long.
    pub fn respond_with(self, status: StatusCode) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        response
            .insert_header((header::CONTENT_TYPE, PROBLEM_JSON))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some((name, value)) = &self.0.header {
            response.insert_header((name.clone(), value.as_ref()));
        }
        response.body(json(&self.message(status)))
    }

    /// The answer as bytes of the wire, for a connection that has no request yet. It says that the connection
    /// ends.
    pub fn bare(self) -> Vec<u8> {
        let status = status(self.0.code, self.0.head.is_some());
        let own = self.0.header.clone();
        let own = own.map(|(name, value)| format!("{name}: {value}\r\n"));
        let own = own.unwrap_or_default();
        let body = json(&self.message(status));
        let head = format!(
            "HTTP/1.1 {status}\r\n\
             content-type: {PROBLEM_JSON}\r\n\
             content-length: {}\r\n\
             {own}connection: close\r\n\
             cache-control: no-store\r\n\
             referrer-policy: no-referrer\r\n\
             x-content-type-options: nosniff\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }

    fn message(self, status: StatusCode) -> ProblemMessage {
        let details = *self.0;
        ProblemMessage {
            r#type: "about:blank".to_owned(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: details.detail.into_owned(),
            code: details.code,
            head: details.head.map(|head| head.id),
            seq: details.head.map(|head| head.seq),
            missing: details.missing,
            descendants: details.descendants,
            checkpoint: details.checkpoint,
            limit: details.limit,
            used: details.used,
        }
    }
}

impl From<Miss> for Problem {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NotFound => Problem::new(Code::NotFound, "there is nothing by this path"),
            Miss::TwoSlashes => Problem::new(
                Code::NotFound,
                "there is nothing by this path, in which two slashes stand side by side; should it be one?",
            ),
            Miss::MalformedId(malformed) => malformed.into(),
            Miss::NoUser => Problem::unauthorized(),
            Miss::NoClient => Problem::new(
                Code::MalformedId,
                "X-Client-Id must say who it is: one uuid, with hyphens",
            ),
            Miss::PercentEncoded => Problem::new(
                Code::MalformedId,
                "nothing in a path here is percent-encoded",
            ),
        }
    }
}

impl From<MalformedId> for Problem {
    fn from(malformed: MalformedId) -> Self {
        Problem::new(Code::MalformedId, malformed.to_string())
    }
}

impl From<BadQuery> for Problem {
    fn from(bad: BadQuery) -> Self {
        match bad {
            BadQuery::Repeated(name) => {
                Problem::new(Code::BadQuery, format!("{name} stands there twice"))
            }
            BadQuery::Limit => {
                Problem::new(Code::BadQuery, "limit is a number from 1 to 1,000,000")
            }
            BadQuery::BundleLimit => {
                Problem::new(Code::BadQuery, "limit is a number from 1 to 100,000")
            }
            BadQuery::Chunks => Problem::new(
                Code::BadQuery,
                "chunks is none, or left out for a bundle with its chunks",
            ),
            BadQuery::Last => Problem::new(Code::BadQuery, "last is a number from 1 to 1,000,000"),
            BadQuery::LastBesideOthers => Problem::new(
                Code::BadQuery,
                "last stands without from and limit: it is the end of the chain that it asks for",
            ),
            BadQuery::ToBeforeFrom => Problem::new(Code::BadQuery, "to comes before from"),
            BadQuery::Wait => {
                Problem::new(Code::BadQuery, "wait is a number of seconds from 0 to 300")
            }
            BadQuery::Id(malformed) => malformed.into(),
        }
    }
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Json(detail) => Problem::new(Code::MalformedJson, detail),
            Malformed::Id(malformed) => malformed.into(),
            Malformed::Encoding(trouble) => Problem::new(Code::MalformedId, trouble),
            Malformed::TooManyChunks => {
                let limit = limits::TRANSACTION_CHUNKS as u64;
                let detail = format!("a transaction names at most {limit} chunks");
                Problem::new(Code::InvalidTransaction, detail).limit(limit)
            }
            Malformed::TooManyIds => {
                let limit = limits::MISSING_IDS as u64;
                let detail = format!("at most {limit} ids are taken here");
                Problem::new(Code::TooLarge, detail).limit(limit)
            }
            Malformed::OtherId => Problem::new(
                Code::InvalidTransaction,
                "the id is not the one of the path",
            ),
        }
    }
}
