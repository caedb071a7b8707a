//! Pages of other places on the web that ask, and names that this server does not go by.
//!
//! A browser lets any page send a request to any address, a server on loopback included, and says in `Origin` which
//! page it is: a bundle can be posted as text/plain, about which no browser asks beforehand. So a request of a page
//! that is neither this server's own nor named by the operator is refused, whatever it asks. Programs send no
//! `Origin`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::answer::problem::Problem;
use crate::model::limits;
use crate::wire::Code;

/// The methods that a page may use, if it may ask at all. Which of them a path takes, the answer says.
const METHODS: &str = "GET, HEAD, PUT, POST, DELETE";
/// The headers that a page may send.
const ALLOWED: &str = "authorization, content-type, if-match, if-none-match, range, last-event-id, \
    x-client-id";
/// The headers of an answer that a page may read, beyond those that any may.
const EXPOSED: &str = "ETag, Content-Location, Content-Range, Retry-After, X-Version-Id, X-Parent-Version-Id, \
    X-Snapshot-Request";

/// The pages that may ask, and the names that this server goes by: the operator's choice.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The places on the web whose pages may ask, beside the server's own.
    pub named: Vec<NamedOrigin>,
    /// The hosts that requests may be for; any, where there is none.
    pub hosts: Vec<Host>,
}

/// A place on the web whose pages may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedOrigin {
    /// Any page, wherever it is from.
    Any,
    /// The pages of this place, as browsers spell it: `https://app.example.org`.
    One(String),
}

/// The name, or the address, of a host, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

/// A host with its port, of which 443 and 80 are as good as none.
#[derive(Debug, PartialEq, Eq)]
struct Authority {
    host: Host,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an address in brackets are no port's.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Self {
            host: host.parse().ok()?,
            port: port.filter(|port| ![80, 443].contains(port)),
        })
    }
}

impl Host {
    /// Whether no page of another place can have this name: it leads to this machine, or is an address.
    fn is_fixed(&self) -> bool {
        let long = self
            .0
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        self.0 == "localhost"
            || self.0.parse::<Ipv4Addr>().is_ok()
            || long.is_some_and(|long| long.parse::<Ipv6Addr>().is_ok())
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let long = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_host = match long {
            Some(long) => long.parse::<Ipv6Addr>().is_ok(),
            None => {
                let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                !text.is_empty() && text.bytes().all(is_fit)
            }
        };
        match is_host {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => {
                Err("not the name of a host, such as sync.example.org, without a port".to_owned())
            }
        }
    }
}

impl FromStr for NamedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let Some((scheme, place)) = split(&lower) else {
            return Err(
                "not * nor an origin, such as https://app.example.org, without a path".to_owned(),
            );
        };
        // Browsers leave the port out that the scheme has by itself.
        let port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let spelt = lower.strip_suffix(port).filter(|_| place.port.is_none());
        Ok(Self::One(spelt.unwrap_or(&lower).to_owned()))
    }
}

impl fmt::Display for NamedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::One(origin) => origin,
        })
    }
}

/// The scheme of an origin and its place; `None` for `null` and whatever else is none.
fn split(origin: &str) -> Option<(&str, Authority)> {
    let (scheme, place) = origin.split_once("://")?;
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(is_fit);
    Some((scheme, Authority::parse(place)?)).filter(|_| is_scheme)
}

/// The one value of a header, if it is text; `None` where it stands there twice.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok();
    value.filter(|_| values.next().is_none())
}

/// The place that a request is for: where its target has one, that counts (RFC 9112, 3.2.2).
fn asked_at(request: &RequestHead) -> Option<Authority> {
    let place = match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => only(request.headers(), &header::HOST),
    };
    place.and_then(Authority::parse)
}

impl Origins {
    /// Lets a request in, whatever it asks. One without a `Host` or an `Origin` is no browser's.
    ///
    /// # Errors
    /// 421 `wrong-host` where hosts are named and this is none of them; and, for a page that is not named, where the
    /// request came over loopback for a name that may lead here today only (DNS rebinding). 403 `cross-origin` for
    /// any other page that is neither named nor of the host that it asks.
    pub fn admit(&self, request: &RequestHead) -> Result<(), Problem> {
        let has = |name| request.headers().contains_key(name);
        let place = asked_at(request);
        let goes_by = |place: &Authority| self.hosts.contains(&place.host);
        let is_said = has(header::HOST) || request.uri.authority().is_some();
        if is_said && !self.hosts.is_empty() && !place.as_ref().is_some_and(goes_by) {
            return Err(wrong_host());
        }
        if !has(header::ORIGIN) || self.named_by(request).is_some() {
            return Ok(());
        }
        let is_near =
            (request.peer_addr).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        let is_known = |place: &Authority| place.host.is_fixed() || goes_by(place);
        if is_near && !place.as_ref().is_some_and(is_known) {
            return Err(wrong_host());
        }
        let origin = only(request.headers(), &header::ORIGIN).and_then(split);
        match (origin, place) {
            (Some((_, origin)), Some(place)) if origin == place => Ok(()),
            _ => {
                let detail = "a page of another place asks, which --cors-origin does not name";
                Err(Problem::new(Code::CrossOrigin, detail))
            }
        }
    }

    /// The value of `Access-Control-Allow-Origin` for the page that asks, if the operator has named it.
    fn named_by(&self, request: &RequestHead) -> Option<HeaderValue> {
        if !request.headers().contains_key(header::ORIGIN) {
            return None;
        }
        if self.named.contains(&NamedOrigin::Any) {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = only(request.headers(), &header::ORIGIN)?;
        let is_it = |named: &NamedOrigin| matches!(named, NamedOrigin::One(one) if one == origin);
        (self.named.iter().any(is_it)).then(|| HeaderValue::from_str(origin).ok())?
    }

    /// Whether a browser asks on behalf of a named page what that may ask. The page itself has sent nothing yet.
    pub fn is_preflight(&self, request: &RequestHead) -> bool {
        request.method == Method::OPTIONS
            && (request.headers()).contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self.named_by(request).is_some()
    }

    /// Adds to an answer what lets a named page read it.
    pub fn open(&self, request: &RequestHead, headers: &mut HeaderMap) {
        if self.named.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(named) = self.named_by(request) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, named);
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

/// The answer to a preflight: 204 with the methods and the headers that a named page may use.
pub fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, limits::PREFLIGHT_SECONDS))
        .finish()
}

fn wrong_host() -> Problem {
    Problem::new(
        Code::WrongHost,
        "this server does not go by that host; --host names one that it does",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_alike_by_host_and_port_where_443_and_80_are_as_good_as_none() {
        let place = |text| Authority::parse(text).unwrap();
        for alike in ["x.org", "X.org", "x.org:443", "x.org:80", "x.org:"] {
            assert_eq!(place(alike), place("x.org"), "{alike}");
        }
        for other in ["y.org", "x.org:8000", "x.org.", "www.x.org"] {
            assert_ne!(place(other), place("x.org"), "{other}");
        }
        assert_eq!(place("[::1]:80"), place("[::1]"));
        assert_ne!(place("[::1]:8"), place("[::1]"));
        for none in [
            "", ":80", "x:y", "x:99999", "x:+1", "a@b", "a/b", "::1", "[x]", "[::1", "a b",
        ] {
            assert_eq!(Authority::parse(none), None, "{none}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_place_and_no_more() {
        for origin in ["https://x.org", "http://[::1]:80", "moz-extension://0a-1b"] {
            assert!(split(origin).is_some(), "{origin}");
        }
        for none in [
            "null",
            "x.org",
            "://x",
            "https://x.org/",
            "https://x.org, https://y.org",
            "https://",
        ] {
            assert!(split(none).is_none(), "{none}");
        }
    }

    #[test]
    fn origins_are_named_as_browsers_spell_them() {
        let spelt = |text: &str| text.parse::<NamedOrigin>().map(|named| named.to_string());
        for (text, named) in [
            ("*", "*"),
            ("https://App.example.org:443", "https://app.example.org"),
            ("http://x:80", "http://x"),
            ("http://x:443", "http://x:443"),
            ("https://x:8443", "https://x:8443"),
        ] {
            assert_eq!(spelt(text).as_deref(), Ok(named), "{text}");
        }
        for bad in ["", "null", "x.org", "https://x.org/", "**"] {
            assert!(spelt(bad).is_err(), "{bad}");
        }
        for bad in ["", "x:80", "http://x", "::1", "a/b"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }
}
