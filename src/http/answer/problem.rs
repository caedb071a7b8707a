//! Refusals: `application/problem+json` as RFC 9457 has it, with a code that a program can act on.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use super::statuses::status;
use crate::model::{ChunkId, Head, MalformedId, TransactionId};
use crate::store;
use crate::wire::{BadQuery, Code, Malformed, Miss, PROBLEM_JSON, ProblemMessage};

/// Seconds after which a busy store is worth another try.
const RETRY_AFTER: &str = "1";

/// Too many open files, in this process or on the box: it passes.
const TOO_MANY_FILES: [i32; 2] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
];

/// A refusal. Its detail is for a person, and never holds a path of the box or a user's id.
#[derive(Clone, Debug)]
pub struct Problem(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    code: Code,
    detail: Cow<'static, str>,
    /// The head that an advance was refused against.
    head: Option<Head>,
    missing: Option<Vec<ChunkId>>,
    descendants: Option<Vec<TransactionId>>,
    limit: Option<u64>,
    used: Option<u64>,
    header: Option<(header::HeaderName, Cow<'static, str>)>,
}

impl Problem {
    /// A refusal with this code.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Refusal {
            code,
            detail: detail.into(),
            head: None,
            missing: None,
            descendants: None,
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

    /// With the chunks that are not there.
    pub fn missing(mut self, chunks: Vec<ChunkId>) -> Self {
        self.0.missing = Some(chunks);
        self
    }

    /// With the pending children of the proposed head.
    pub fn descendants(mut self, transactions: Vec<TransactionId>) -> Self {
        self.0.descendants = Some(transactions);
        self
    }

    /// With the limit that was met.
    pub fn limit(mut self, limit: u64) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// With how much of the limit is in use.
    pub fn used(mut self, used: u64) -> Self {
        self.0.used = Some(used);
        self
    }

    /// The method is none of those that the route takes.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut problem = Self::new(Code::MethodNotAllowed, format!("allowed here: {allow}"));
        problem.0.header = Some((header::ALLOW, allow.into()));
        problem
    }

    /// A body that is, or is announced to be, longer than it may be.
    pub fn too_large(limit: u64) -> Self {
        Self::new(
            Code::TooLarge,
            format!("at most {limit} bytes are taken here"),
        )
        .limit(limit)
    }

    /// No byte of the range is there; the whole has so many.
    pub fn range(bytes: u64) -> Self {
        let mut problem = Self::new(Code::Range, format!("there are {bytes} bytes"));
        problem.0.header = Some((header::CONTENT_RANGE, format!("bytes */{bytes}").into()));
        problem
    }

    /// The store, or this process, cannot do it just now.
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(Code::Busy, detail);
        problem.0.header = Some((header::RETRY_AFTER, RETRY_AFTER.into()));
        problem
    }

    /// What went wrong is for the log, not for the client.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "the server failed; its log says how")
    }

    /// The answer.
    pub fn respond(self) -> HttpResponse {
        let status = status(self.0.code, self.0.head.is_some());
        self.respond_with(status)
    }

    /// The same with another status than its code has: of a head that is too long.
    pub fn respond_with(self, status: StatusCode) -> HttpResponse {
        let mut response = HttpResponse::build(status);
        response
            .insert_header((header::CONTENT_TYPE, PROBLEM_JSON))
            .insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some((name, value)) = &self.0.header {
            response.insert_header((name.clone(), value.as_ref()));
        }
        response.body(super::content::json(&self.message(status)))
    }

    /// The answer as it goes over the wire, for where there is no request that it could be one to. It says
    /// that the connection ends.
    pub fn bare(self, status: StatusCode) -> Vec<u8> {
        let own = self.0.header.clone();
        let own = own.map(|(name, value)| format!("{name}: {value}\r\n"));
        let own = own.unwrap_or_default();
        let body = super::content::json(&self.message(status));
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
        let refusal = *self.0;
        ProblemMessage {
            r#type: "about:blank".to_owned(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            detail: refusal.detail.into_owned(),
            code: refusal.code,
            head: refusal.head.map(|head| head.id),
            seq: refusal.head.map(|head| head.seq),
            missing: refusal.missing,
            descendants: refusal.descendants,
            limit: refusal.limit,
            used: refusal.used,
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
                let limit = crate::model::limits::TRANSACTION_CHUNKS as u64;
                let detail = format!("a transaction names at most {limit} chunks");
                Problem::new(Code::InvalidTransaction, detail).limit(limit)
            }
            Malformed::TooManyIds => {
                let limit = crate::model::limits::MISSING_IDS as u64;
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

/// What the store could not do. What a person must see to is logged, with the place; the client is
/// not told the place.
impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        if error.is_no_space() {
            log::error!("{error}");
            return no_space(&error);
        }
        match &error {
            store::Error::Busy => Problem::busy("somebody else is at work on this user's store"),
            store::Error::UserGone => {
                Problem::busy("the user was deleted or renamed while this was under way")
            }
            store::Error::UnknownUser => Problem::new(
                Code::UnknownUser,
                "no such user here, and new ones are not admitted",
            ),
            store::Error::QuotaExceeded { of, limit, used } => {
                let detail = format!("this user has {used} {of}, and may have {limit}");
                Problem::new(Code::QuotaExceeded, detail)
                    .limit(*limit)
                    .used(*used)
            }
            store::Error::Disk(disk) if is_too_many_files(&disk.source) => {
                log::error!("{error}");
                Problem::busy("too many files are open on the server just now")
            }
            store::Error::StoreGone { .. } => {
                log::error!("{error}");
                Problem::new(
                    Code::Damaged,
                    "the store is not where it was when the server started; the server's log says more",
                )
            }
            store::Error::Disk(disk) if disk.is_out_of_shape() => {
                log::error!("{error}");
                damaged()
            }
            store::Error::Damaged { .. } | store::Error::LogIsWrong => {
                log::error!("{error}");
                damaged()
            }
            store::Error::Disk(disk) if disk.is_out_of_shape() => {
                log::error!("{error}");
                damaged()
            }
            store::Error::ReadOnly => {
                log::error!("{error}");
                Problem::new(
                    Code::Internal,
                    "a sync failed: this user is read-only until a restart",
                )
            }
            store::Error::NotDurable => {
                log::error!("{error}");
                Problem::new(
                    Code::Internal,
                    "a sync failed: nothing can be said of this user until a restart",
                )
            }
            _ => {
                log::error!("{error}");
                Problem::internal()
            }
        }
    }
}

fn damaged() -> Problem {
    let detail = "a file of the store is damaged; the server's log says which";
    Problem::new(Code::Damaged, detail)
}

/// A disk that is full, or as full as the operator lets it be; in that case with the numbers.
fn no_space(error: &store::Error) -> Problem {
    let detail = match error {
        store::Error::NoRoom {
            min_free,
            free_bytes,
            ..
        } => format!(
            "the disk has {free_bytes} bytes free, of which uploads leave {min_free}; reads and HEAD \
             still work"
        ),
        _ => "the disk is full; reads and HEAD still work".to_owned(),
    };
    Problem::new(Code::NoSpace, detail)
}

fn is_too_many_files(error: &std::io::Error) -> bool {
    (error.raw_os_error()).is_some_and(|number| TOO_MANY_FILES.contains(&number))
}
