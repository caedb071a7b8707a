//! Why there is no answer of a server, in words for a person. None of them has the user's id, nor more of the address than its
//! host.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use ureq::Timeout;

use crate::client::error::Error;

/// The server as errors name it: `host` or `host:port`, or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName(pub String);

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason for an [`Error::Offline`]: what is in the way of a server's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreached {
    #[error("no connection to {server}: {source}")]
    Connect {
        server: ServerName,
        source: io::Error,
    },
    /// The name of the server, or of the proxy, leads nowhere; perhaps since there is no network.
    #[error("the name {name} leads nowhere: {source}")]
    Name { name: String, source: io::Error },
    #[error("no connection to {server} in time")]
    ConnectTimeout { server: ServerName },
    #[error("{server} does not answer in time")]
    AnswerTimeout { server: ServerName },
    /// The bytes of an answer, or of what is sent, stopped in the middle of it.
    #[error("{server} stalled")]
    Stalled { server: ServerName },
    /// The server is not the one that the certificate is for, or none that this box trusts; or TLS failed otherwise.
    #[error("no TLS with {server}: {why}")]
    Tls { server: ServerName, why: String },
    #[error("the proxy does not lead to {server}: {why}")]
    Proxy { server: ServerName, why: String },
    /// The connection broke off, before or in the middle of the answer.
    #[error("the connection to {server} broke off: {source}")]
    Cut {
        server: ServerName,
        source: io::Error,
    },
    /// Another program answers there, a proxy, the page of a network that wants a login.
    #[error("what answers at {server} is no mentat-sync server: {what}")]
    NotOurs {
        server: ServerName,
        status: Option<u16>,
        what: String,
    },
    /// Redirects are not followed: the user's id would go where the invite does not lead.
    #[error("{server} sends elsewhere ({status}), to {to}: is that the address?")]
    Redirected {
        server: ServerName,
        status: u16,
        to: String,
    },
    /// The server, or a proxy before it, asks for another try.
    #[error("{server} is busy ({status}): {detail}")]
    Busy {
        server: ServerName,
        status: u16,
        detail: String,
    },
}

impl Unreached {
    /// Whether the same request may well be answered a moment later, with nothing done about it.
    pub fn may_pass(&self) -> bool {
        match self {
            Unreached::Tls { .. } | Unreached::Redirected { .. } => false,
            Unreached::NotOurs { status, .. } => status.is_some_and(|status| status >= 500),
            _ => true,
        }
    }

    /// The error of a request that was not answered, by the client's library.
    pub fn of(server: &ServerName, error: ureq::Error) -> Self {
        let server = server.clone();
        match error {
            ureq::Error::Timeout(which) => Self::of_timeout(server, which),
            ureq::Error::Io(error) => Self::of_io(server, error),
            ureq::Error::Other(error) => match error.downcast::<Lookup>() {
                Ok(lookup) => {
                    let Lookup { name, source } = *lookup;
                    Unreached::Name { name, source }
                }
                Err(other) => Unreached::Cut {
                    server,
                    source: io::Error::other(other),
                },
            },
            ureq::Error::HostNotFound => Unreached::Name {
                name: server.0,
                source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
            },
            ureq::Error::ConnectProxyFailed(why) => Unreached::Proxy { server, why },
            ureq::Error::InvalidProxyUrl => Unreached::Proxy {
                server,
                why: "its address is none".to_owned(),
            },
            ureq::Error::Rustls(error) => Self::of_tls(server, &error),
            ureq::Error::Tls(why) => Unreached::Tls {
                server,
                why: why.to_owned(),
            },
            ureq::Error::TlsRequired => Unreached::Tls {
                server,
                why: "the connection is in the clear".to_owned(),
            },
            ureq::Error::ConnectionFailed => Unreached::Connect {
                server,
                source: io::ErrorKind::NotConnected.into(),
            },
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => Unreached::NotOurs {
                server,
                status: None,
                what: "it answers in no HTTP that is understood here".to_owned(),
            },
            other => Unreached::Cut {
                server,
                source: other.into_io(),
            },
        }
    }

    fn of_timeout(server: ServerName, which: Timeout) -> Self {
        match which {
            Timeout::Resolve | Timeout::Connect => Unreached::ConnectTimeout { server },
            Timeout::RecvResponse => Unreached::AnswerTimeout { server },
            _ => Unreached::Stalled { server },
        }
    }

    /// The error inside decides: TLS, and the library itself, put their own into one of I/O.
    fn of_io(server: ServerName, error: io::Error) -> Self {
        if let Some(inner) = error.get_ref() {
            if let Some(error) = inner.downcast_ref::<rustls::Error>() {
                return Self::of_tls(server, error);
            }
            if let Some(ureq::Error::Timeout(which)) = inner.downcast_ref() {
                return Self::of_timeout(server, *which);
            }
            if let Some(ureq::Error::Protocol(_)) = inner.downcast_ref() {
                return Self::of(&server, ureq::Error::LargeResponseHeader(0, 0));
            }
        }
        let to_connect = [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::NetworkDown,
            io::ErrorKind::AddrNotAvailable,
            io::ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied,
        ];
        match error.kind() {
            kind if to_connect.contains(&kind) => Unreached::Connect {
                server,
                source: error,
            },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Unreached::Stalled { server },
            _ => Unreached::Cut {
                server,
                source: error,
            },
        }
    }

    fn of_tls(server: ServerName, error: &rustls::Error) -> Self {
        let why = match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                "its certificate is of an authority that this box does not trust".to_owned()
            }
            rustls::Error::InvalidMessage(_) => "what answers there speaks no TLS".to_owned(),
            other => other.to_string(),
        };
        Unreached::Tls { server, why }
    }

    /// The trouble in an error that came out of the body of an answer, if it is one.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The device's error, perhaps with the server's own word for when to try again.
    pub fn into_error(self, retry_after: Option<Duration>) -> Error {
        Error::Offline {
            source: Box::new(self),
            retry_after,
        }
    }

    /// The kind of I/O error that readers of a body know.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Unreached::Stalled { .. } | Unreached::AnswerTimeout { .. } => io::ErrorKind::TimedOut,
            Unreached::Cut { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        }
    }

    /// The trouble in a device's error, if it is one of a server that was not reached.
    pub fn of_error(error: &Error) -> Option<&Self> {
        match error {
            Error::Offline { source, .. } => source.downcast_ref(),
            other => other.source()?.downcast_ref(),
        }
    }
}

/// A name that was looked up in vain.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}")]
pub struct Lookup {
    pub name: String,
    pub source: io::Error,
}
