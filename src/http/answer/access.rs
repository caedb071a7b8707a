//! The access log: one line a request, without a path, since a path holds the user's id.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use log::kv::{Key, Value, VisitSource};

use crate::http::connection::turns::Turns;
use crate::model::ShortUserId;

/// The name of these lines in `RUST_LOG`.
pub const ACCESS: &str = "access";

/// The facts of a line, which is written when the answer has been handed over, or has broken off.
pub struct Record {
    /// The time at which the request began to be answered.
    pub started: Instant,
    /// The name of the method, by [`method_name`].
    pub method: &'static str,
    /// The pattern of the route, without an id.
    pub pattern: &'static str,
    /// The first digits of the user's id, where the route has one.
    pub user: Option<ShortUserId>,
    /// The address that the request came from, where it is to be told.
    pub client: Option<IpAddr>,
    /// The bytes of the request's body that came.
    pub received: u64,
    /// The turns of the connection, which know what goes out apart from the body; `None` where nothing does.
    pub turns: Option<Turns>,
}

/// Whether anybody reads these lines.
pub fn is_on() -> bool {
    log::log_enabled!(target: ACCESS, log::Level::Info)
}

/// The name of a method of HTTP; any other word is the client's own, and not for a log.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "OTHER",
    }
}

impl Record {
    fn write(&self, status: StatusCode, sent: u64, broken_off: bool) {
        let facts = Facts {
            record: self,
            status: status.as_u16(),
            sent,
            micros: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            broken_off,
        };
        let mut line = log::Record::builder();
        line.level(log::Level::Info)
            .target(ACCESS)
            .key_values(&facts);
        log::logger().log(&line.args(format_args!("{facts}")).build());
    }
}

/// The facts of a line, all of them.
struct Facts<'a> {
    record: &'a Record,
    status: u16,
    sent: u64,
    micros: u64,
    broken_off: bool,
}

/// The line for people.
impl Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record {
            method,
            pattern,
            received,
            ..
        } = *self.record;
        let user: &dyn Display = match &self.record.user {
            Some(user) => user,
            None => &"-",
        };
        write!(f, "{method} {pattern} {} user={user}", self.status)?;
        if let Some(client) = self.record.client {
            write!(f, " client={client}")?;
        }
        write!(
            f,
            " in={received} out={} time={}.{:03}ms",
            self.sent,
            self.micros / 1000,
            self.micros % 1000,
        )?;
        if self.broken_off {
            f.write_str(" (broken off)")?;
        }
        Ok(())
    }
}

/// The fields for programs; what there is not has no field.
impl log::kv::Source for Facts<'_> {
    fn visit<'kvs>(&'kvs self, fields: &mut dyn VisitSource<'kvs>) -> Result<(), log::kv::Error> {
        let record = self.record;
        let mut field = |key: &'static str, value| fields.visit_pair(Key::from_str(key), value);
        field("method", Value::from(record.method))?;
        field("route", Value::from(record.pattern))?;
        field("status", Value::from(self.status))?;
        if let Some(user) = &record.user {
            field("user", Value::from_display(user))?;
        }
        if let Some(client) = &record.client {
            field("client", Value::from_display(client))?;
        }
        field("in", Value::from(record.received))?;
        field("out", Value::from(self.sent))?;
        field("ms", Value::from(self.micros as f64 / 1000.0))?;
        if self.broken_off {
            field("broken_off", Value::from(true))?;
        }
        Ok(())
    }
}

/// Has the record written once the answer is out, and keeps a request body which has not ended until then.
pub fn on_end(
    response: HttpResponse,
    record: Option<Record>,
    unread: Option<Payload>,
) -> HttpResponse {
    let status = response.status();
    let (response, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(bytes) => {
            if let Some(record) = record {
                record.write(status, bytes.len() as u64, false);
            }
            match unread {
                Some(_) => BoxBody::new(LoggedBody::new(BoxBody::new(bytes), status, None, unread)),
                None => BoxBody::new(bytes),
            }
        }
        Err(body) if record.is_none() && unread.is_none() => body,
        Err(body) => BoxBody::new(LoggedBody::new(body, status, record, unread)),
    };
    response.set_body(body)
}

/// A body on its way out.
struct LoggedBody {
    body: BoxBody,
    status: StatusCode,
    sent: u64,
    ended: bool,
    record: Option<Record>,
    _unread: Option<Payload>,
}

impl LoggedBody {
    fn new(
        body: BoxBody,
        status: StatusCode,
        record: Option<Record>,
        unread: Option<Payload>,
    ) -> Self {
        Self {
            ended: matches!(body.size(), BodySize::None | BodySize::Sized(0)),
            body,
            status,
            sent: 0,
            record,
            _unread: unread,
        }
    }
}

impl MessageBody for LoggedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let polled = this.body.as_pin_mut().poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => this.sent += bytes.len() as u64,
            Poll::Ready(None) => this.ended = true,
            _ => {}
        }
        polled
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let apart = record.turns.as_ref().map_or(0, Turns::sent);
            record.write(self.status, self.sent + apart, !self.ended);
        }
    }
}
