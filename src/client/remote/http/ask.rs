//! One question to the server: sent, answered, and asked again where it was not.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{HeaderValue, Method, Request, Response, header, request};
use ureq::{AsSendBody, Body, SendBody};

use super::again::again;
use super::agent::{HttpOptions, Way};
use super::ahead::ReadAhead;
use super::answer::{Answers, Declined, Replied};
use super::parcel::SentParcel;
use super::unreached::Unreached;
use crate::client::error::{Error, Result};
use crate::client::remote::AnswerBody;
use crate::client::url::Url;
use crate::model::UserId;
use crate::wire::{Code, JSON, TAR};

/// A request without its body.
pub struct Ask<'a> {
    pub method: Method,
    /// The path below the user, and the query.
    pub path: &'a str,
    /// The media type that the answer must have.
    pub media: &'static str,
    pub header: Option<(header::HeaderName, String)>,
    /// How long the answer may take longer than usual.
    pub more: Duration,
}

/// The answer to a question in JSON: the inner error is the server's refusal.
pub type AskedFor<T> = Result<std::result::Result<T, Declined>>;

impl<'a> Ask<'a> {
    pub fn of(method: Method, path: &'a str, media: &'static str) -> Self {
        Self {
            method,
            path,
            media,
            header: None,
            more: Duration::ZERO,
        }
    }

    pub fn get(path: &'a str, media: &'static str) -> Self {
        Self::of(Method::GET, path, media)
    }
}

/// The body of a request.
pub enum SentBody<'a, 'b> {
    None,
    Json(&'a [u8]),
    Parcel(&'a mut SentParcel<'b>),
}

impl<'a> SentBody<'a, '_> {
    pub fn of(json: Option<&'a [u8]>) -> Self {
        json.map_or(SentBody::None, SentBody::Json)
    }
}

/// The one who asks for a user, whose id is in a header of each request and nowhere else.
pub struct Caller {
    way: Way,
    pub answers: Answers,
    bearer: HeaderValue,
    pub options: HttpOptions,
}

impl Caller {
    /// For this user of this server, which is not asked yet.
    ///
    /// # Errors
    /// [`Error::Offline`] where the address, that of a proxy, or the file of authorities cannot be used.
    pub fn new(server: &Url, user: UserId, options: HttpOptions) -> Result<Self> {
        let way = Way::to(server, &options).map_err(|unreached| unreached.into_error(None))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {user}"))
            .map_err(|error| Error::offline(error.to_string()))?;
        bearer.set_sensitive(true);
        let server = way.server.clone();
        Ok(Self {
            answers: Answers { server, user },
            way,
            bearer,
            options,
        })
    }

    /// Sends one request, once.
    pub fn send(&self, ask: &Ask, body: SentBody) -> Result<Replied> {
        let Ask {
            method,
            path,
            media,
            header: more,
            ..
        } = ask;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/0.1/-/{path}", self.way.base))
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::ACCEPT, *media);
        if let Some((name, value)) = more {
            request = request.header(name, value);
        }
        let wait = self.options.answer_wait + ask.more;
        let response = match body {
            SentBody::None => self.run(request, (), wait),
            SentBody::Json(mut json) => {
                let request = request
                    .header(header::CONTENT_TYPE, JSON)
                    .header(header::CONTENT_LENGTH, json.len());
                self.run(request, SendBody::from_reader(&mut json), wait)
            }
            SentBody::Parcel(parcel) => {
                let request = request
                    .header(header::CONTENT_TYPE, TAR)
                    .header(header::CONTENT_LENGTH, parcel.left());
                self.run(request, SendBody::from_reader(parcel), wait)
            }
        };
        let response =
            response.map_err(|error| Unreached::of(&self.way.server, error).into_error(None))?;
        self.answers.reply(response, media)
    }

    fn run<S: AsSendBody>(
        &self,
        request: request::Builder,
        body: S,
        wait: Duration,
    ) -> std::result::Result<Response<Body>, ureq::Error> {
        let request = (self.way.agent.configure_request(request.body(body)?))
            .timeout_recv_response(Some(wait))
            .timeout_per_read(Some(wait))
            .build();
        self.way.agent.run(request)
    }

    /// Asks until there is an answer, whose body is still to come.
    pub fn ask(&self, ask: &Ask, json: Option<&[u8]>) -> Result<Replied> {
        self.again(|| self.send(ask, SentBody::of(json)))
    }

    /// Asks until a message has come as a whole.
    pub fn told<T: DeserializeOwned>(&self, ask: &Ask, json: Option<&[u8]>) -> AskedFor<T> {
        self.again(|| match self.send(ask, SentBody::of(json))? {
            Replied::Good(response) => self.answers.json(response).map(Ok),
            Replied::Refused(refusal) => Ok(Err(refusal)),
            Replied::Unchanged => Err(self.not_asked_for()),
        })
    }

    /// Asks for bytes; `None` where the server has them not, as this code says.
    pub fn bytes(
        &self,
        ask: &Ask,
        json: Option<&[u8]>,
        absent: Code,
    ) -> Result<Option<AnswerBody>> {
        match self.ask(ask, json)? {
            Replied::Good(response) => Ok(Some(ReadAhead::of(self.answers.body(response)))),
            Replied::Refused(refusal) if refusal.code == absent => Ok(None),
            Replied::Refused(refusal) => Err(refusal.into_error()),
            Replied::Unchanged => Err(self.not_asked_for()),
        }
    }

    pub fn again<T>(&self, ask: impl FnMut() -> Result<T>) -> Result<T> {
        again(self.options.tries, &*self.options.pauses, ask)
    }

    pub fn not_asked_for(&self) -> Error {
        let what = "it answers what was not asked for".to_owned();
        self.answers.garbage(304, what)
    }
}
