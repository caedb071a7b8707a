//! The address of a server, as a person writes it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::model::limits;

/// A server's address: `http://` or `https://` with a host, perhaps a port and the path that a proxy has it under, or
/// `unix:/path` of a socket on this box.
///
/// There is one spelling for each: scheme and host in lower case, no port that the scheme means anyway, no slash at its end. Nothing
/// secret stands in it: an address with a user and a password is none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(String);

/// The text is no address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of a server (https://host, http://host or unix:/path): {0}")]
pub struct BadUrl(&'static str);

impl Url {
    /// The address as text: what stands before `/0.1/…`, but for a socket.
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
        if text.len() > limits::ADDRESS_BYTES {
            return Err(BadUrl("it is too long"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(BadUrl("it has a space or a control character"));
        }
        if text.contains('#') {
            return Err(BadUrl("it has a #, as an invite does"));
        }
        let (scheme, rest) = text.split_once(':').ok_or(BadUrl("it has no scheme"))?;
        let rest = rest.trim_end_matches('/');
        match &*scheme.to_ascii_lowercase() {
            "unix" => socket(rest),
            "http" => web("http", 80, rest),
            "https" => web("https", 443, rest),
            _ => Err(BadUrl("its scheme is none of these")),
        }
    }
}

fn socket(path: &str) -> Result<Url, BadUrl> {
    // As others spell it: unix:///run/…
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(BadUrl("the path of a socket begins with one /"));
    }
    Ok(Url(format!("unix:{path}")))
}

fn web(scheme: &str, usual: u16, rest: &str) -> Result<Url, BadUrl> {
    let rest = (rest.strip_prefix("//")).ok_or(BadUrl("there is no // behind its scheme"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(BadUrl("it has a user or a password in it"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon is one of the host's.
        Some((_, port)) if port.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    check_host(&host)?;
    check_path(path)?;
    Ok(Url(match number(port)? {
        Some(port) if port != usual => format!("{scheme}://{host}:{port}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    }))
}

fn number(port: Option<&str>) -> Result<Option<u16>, BadUrl> {
    let Some(port) = port else { return Ok(None) };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number > 0 => Ok(Some(number)),
        _ => Err(BadUrl("its port is no number of one")),
    }
}

fn check_host(host: &str) -> Result<(), BadUrl> {
    let numbered = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(numbered) = numbered {
        let parsed = numbered.parse::<Ipv6Addr>();
        return parsed
            .map(drop)
            .map_err(|_| BadUrl("its host is no IPv6 address"));
    }
    let name = |part: &str| {
        (1..=63).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !host.is_ascii() {
        return Err(BadUrl("its host is not in ASCII: write it as xn--…"));
    }
    if host.len() > 253 || !host.strip_suffix('.').unwrap_or(host).split('.').all(name) {
        return Err(BadUrl("its host is no name of one"));
    }
    // What ends in a number is read as an address, by each program in another way (WHATWG URL, "ends in a number").
    let last = host
        .rsplit('.')
        .find(|part| !part.is_empty())
        .unwrap_or(host);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err(BadUrl("its host is no IPv4 address"));
    }
    Ok(())
}

/// Whether these are characters of a path (RFC 3986, section 3.3), and no way around it.
fn check_path(path: &str) -> Result<(), BadUrl> {
    let bad = BadUrl("its path has a character that no path has");
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                let hex = |digit: &Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
                if !digits.iter().all(hex) {
                    return Err(bad);
                }
            }
            b'?' => return Err(BadUrl("it has a query")),
            _ if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) => {}
            _ => return Err(bad),
        }
    }
    let parts = path.split('/').skip(1);
    for part in parts {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        if matches!(&*part, "" | "." | "..") {
            return Err(BadUrl("its path has an empty part, a . or a .."));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        for (written, read) in [
            ("https://sync.example.org", "https://sync.example.org"),
            ("HTTPS://Sync.Example.org:443/", "https://sync.example.org"),
            ("http://sync.example.org:80//", "http://sync.example.org"),
            ("https://a.example:80/Sync/", "https://a.example:80/Sync"),
            (
                "http://127.0.0.1:8080/a%20b/~c",
                "http://127.0.0.1:8080/a%20b/~c",
            ),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("http://box", "http://box"),
            ("http://my_box.local.", "http://my_box.local."),
            ("unix:/run/mentat-sync.sock", "unix:/run/mentat-sync.sock"),
            ("unix:///run/a:b/", "unix:/run/a:b"),
        ] {
            let url: Url = written.parse().unwrap();
            assert_eq!(url.as_str(), read, "{written}");
            assert_eq!(read.parse::<Url>().unwrap(), url, "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "/",
            "sync.example.org",
            "sync.example.org:8080",
            "ftp://sync.example.org",
            "file:/etc/passwd",
            "https:sync.example.org",
            "https:/sync.example.org",
            "https://",
            "https:///path",
            "https://:443",
            "https://user@host",
            "https://user:secret@host",
            "https://host:",
            "https://host:0",
            "https://host:65536",
            "https://host:+80",
            "https://host:80:80",
            "https://::1",
            "https://[::1",
            "https://[::1]x",
            "https://[::1%25eth0]",
            "https://1.2.3",
            "https://1.2.3.4.5",
            "https://256.1.1.1",
            "https://a..b",
            "https://.a",
            "https://höst",
            "https://ho st",
            "https://host/a b",
            "https://host/a\nb",
            "https://host/ä",
            "https://host/a?b",
            "https://host?b",
            "https://host#ms1",
            "https://host/%2",
            "https://host/%zz",
            "https://host/a//b",
            "https://host/./b",
            "https://host/../b",
            "https://host/a/%2E%2e",
            "https://host\\a",
            "unix:",
            "unix:/",
            "unix:run/socket",
            "unix://run/socket",
            "unix:////run/socket",
            "unix:/run/\0",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
        assert!(
            format!("https://{}", "a".repeat(2000))
                .parse::<Url>()
                .is_err()
        );
    }
}
