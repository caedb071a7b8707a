//! The address of a server, as a person writes it.

use std::fmt;
use std::str::FromStr;

/// A server's address: `http://` or `https://` with a host, perhaps a port and the path that a proxy has it under, or
/// `unix:/path` of a socket. It is spelt in one way: scheme and host in lower case, no slash at its end.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(String);

/// The text is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of a server (https://host, http://host or unix:/path): {0}")]
pub struct BadUrl(&'static str);

impl Url {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the socket, where the address is `unix:/path`.
    pub fn socket(&self) -> Option<&str> {
        self.0.strip_prefix("unix:")
    }
}

impl FromStr for Url {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
