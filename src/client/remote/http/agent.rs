//! The way to one server: the library's agent, set up so that nothing of ours goes anywhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::Uri;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::again::{Pauses, SystemPauses, Tries};
use super::proxies::Proxies;
use super::unix::{NoNames, SocketPath};
use super::unreached::{Lookup, ServerName, Unreached};
use crate::client::url::Url;
use crate::model::limits;

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub proxies: Proxies,
    /// A file of certificates in PEM: the authorities that are trusted instead of the system's. (The system's may be told
    /// otherwise as well, by `SSL_CERT_FILE`.)
    pub authorities: Option<PathBuf>,
    pub tries: Tries,
    /// How long a connection may take to be made, TLS included.
    pub connect_wait: Duration,
    /// How long the answer to a request may take to begin, and how long the bytes of a body may stop.
    pub answer_wait: Duration,
    pub pauses: Arc<dyn Pauses>,
}

impl HttpOptions {
    /// Options of a command: proxies as the environment has them, the system's authorities, three tries.
    pub fn of_environment() -> Self {
        Self {
            proxies: Proxies::of_environment(),
            authorities: None,
            tries: Tries::AtMost(limits::TRIES),
            connect_wait: limits::CONNECT_WAIT,
            answer_wait: limits::ANSWER_WAIT,
            pauses: Arc::new(SystemPauses),
        }
    }
}

/// An agent, and what is asked of it.
pub struct Way {
    pub agent: Agent,
    /// The address before `/0.1/…`, without a user in it.
    pub base: String,
    pub server: ServerName,
}

impl Way {
    /// The way to this server, which is not asked yet.
    ///
    /// # Errors
    /// Where the address, a proxy's, or the file of authorities is none.
    pub fn to(server: &Url, options: &HttpOptions) -> Result<Self, Unreached> {
        if let Some(path) = server.socket() {
            let config = config(options, None, RootCerts::PlatformVerifier);
            return Ok(Self {
                agent: Agent::with_parts(config, SocketPath(path.into()), NoNames),
                base: "http://localhost".to_owned(),
                server: ServerName(format!("unix:{path}")),
            });
        }
        let address = UrlParts::of(server)?;
        let UrlParts {
            is_https,
            host,
            base,
            server,
        } = address;
        let proxy = options.proxies.proxy(is_https, &host);
        let proxy = proxy.map_err(|error| Unreached::of(&server, error))?;
        let roots = roots(options.authorities.as_deref(), &server)?;
        let config = config(options, proxy, roots);
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), Names::default()),
            base,
            server,
        })
    }
}

/// An address taken apart.
struct UrlParts {
    is_https: bool,
    host: String,
    base: String,
    server: ServerName,
}

impl UrlParts {
    fn of(url: &Url) -> Result<Self, Unreached> {
        let text = url.as_str();
        let bad = |what: &str| Unreached::NotOurs {
            server: ServerName("this address".to_owned()),
            status: None,
            what: what.to_owned(),
        };
        // What follows is not for a server's eyes, or not understood by ours.
        let text = text.split(['#', '?']).next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| bad("it is none of a server"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("it begins with neither https:// nor http://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it has no host"))?.to_owned();
        let server = match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        let scheme = if is_https { "https" } else { "http" };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            is_https,
            base: format!("{scheme}://{server}{path}"),
            server: ServerName(server),
            host,
        })
    }
}

fn config(options: &HttpOptions, proxy: Option<ureq::Proxy>, roots: RootCerts) -> Config {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        // A redirect is an answer like any other: whoever follows one takes the user's id along.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("mentat-sync/", env!("CARGO_PKG_VERSION")))
        .accept_encoding(AutoHeaderValue::None)
        .timeout_resolve(Some(options.connect_wait))
        .timeout_connect(Some(options.connect_wait))
        .timeout_send_request(Some(options.answer_wait))
        .timeout_recv_response(Some(options.answer_wait))
        .timeout_per_read(Some(options.answer_wait))
        .timeout_per_write(Some(options.answer_wait))
        .build()
}

/// The authorities that are trusted: those of this file, or the system's.
fn roots(file: Option<&Path>, server: &ServerName) -> Result<RootCerts, Unreached> {
    let Some(file) = file else {
        return Ok(RootCerts::PlatformVerifier);
    };
    let failed = |why: String| Unreached::Tls {
        server: server.clone(),
        why: format!("{}: {why}", file.display()),
    };
    let pem = fs::read(file).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(failed("not PEM".to_owned())),
        }
    }
    match certificates.is_empty() {
        true => Err(failed("there is no certificate in it".to_owned())),
        false => Ok(RootCerts::from(certificates)),
    }
}

/// The system's look-up of names, whose failure is told apart from that of a connection.
#[derive(Debug, Default)]
struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0
            .resolve(uri, config, timeout)
            .map_err(|error| match error {
                ureq::Error::Io(source) => ureq::Error::Other(Box::new(Lookup {
                    name: uri.host().unwrap_or_default().to_owned(),
                    source,
                })),
                other => other,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_address_but_scheme_host_port_and_path_is_asked_for() {
        for (url, base, named) in [
            ("https://a.example", "https://a.example", "a.example"),
            (
                "http://a.example:8000/",
                "http://a.example:8000",
                "a.example:8000",
            ),
            (
                "https://a.example/sync//",
                "https://a.example/sync",
                "a.example",
            ),
            (
                "https://u:hunter2@a.example",
                "https://a.example",
                "a.example",
            ),
            (
                "https://a.example/#ms1SECRET",
                "https://a.example",
                "a.example",
            ),
            (
                "https://a.example/x?key=SECRET",
                "https://a.example/x",
                "a.example",
            ),
            ("http://[::1]:80", "http://[::1]", "[::1]"),
        ] {
            let Ok(url) = url.parse::<Url>() else {
                continue;
            };
            let address = UrlParts::of(&url).unwrap();
            assert_eq!(
                (address.base.as_str(), address.server.0.as_str()),
                (base, named)
            );
        }
    }
}
