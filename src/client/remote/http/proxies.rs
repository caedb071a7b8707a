//! The proxy on the way to a server, as the environment names it: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in
//! capitals or not.

use std::fmt;

/// Proxies as the environment names them. Their addresses may have passwords in them, which `Debug` does not show.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<String>,
    http: Option<String>,
    not_for: Vec<String>,
}

impl Proxies {
    /// The proxies that these variables name; one that is empty is as one that is not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            [name.to_lowercase(), name.to_owned()]
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
        };
        let all = either("ALL_PROXY");
        let not_for = either("NO_PROXY").unwrap_or_default();
        Self {
            https: either("HTTPS_PROXY").or_else(|| all.clone()),
            http: either("HTTP_PROXY").or(all),
            not_for: not_for
                .split(',')
                .map(|host| host.trim().to_owned())
                .collect(),
        }
    }

    /// The proxies of this process.
    pub fn of_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    /// The proxy for an address of this scheme, unless its host is one of `NO_PROXY`.
    ///
    /// # Errors
    /// Where the variable holds no address of a proxy: to go without it then would be what nobody asked for.
    pub fn proxy(&self, is_https: bool, host: &str) -> Result<Option<ureq::Proxy>, ureq::Error> {
        let named = match is_https {
            true => &self.https,
            false => &self.http,
        };
        match named {
            Some(named) if !self.is_direct(host) => ureq::Proxy::new(named.trim()).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a host is reached without a proxy: it, or a domain that it is in, is named, with or without a dot (or `*.`)
    /// before it; or all are.
    fn is_direct(&self, host: &str) -> bool {
        let host = host.trim_matches(['[', ']']).to_lowercase();
        self.not_for.iter().any(|named| {
            let named = named.to_lowercase();
            let named = named.trim_start_matches('*').trim_start_matches('.');
            let named = named.trim_matches(['[', ']']);
            match named {
                "" => self.not_for.iter().any(|named| named == "*"),
                named => {
                    let before = host.strip_suffix(named);
                    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
                }
            }
        })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |proxy: &Option<String>| proxy.as_ref().map(|_| "…");
        f.debug_struct("Proxies")
            .field("https", &said(&self.https))
            .field("http", &said(&self.http))
            .field("not_for", &self.not_for)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn host_of(proxies: &Proxies, is_https: bool, host: &str) -> Option<String> {
        let proxy = proxies.proxy(is_https, host).unwrap();
        proxy.map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_own_proxy_and_else_that_of_all() {
        let own = proxies(&[("HTTPS_PROXY", "http://s:1"), ("http_proxy", "http://h:2")]);
        assert_eq!(host_of(&own, true, "a.example"), Some("s".to_owned()));
        assert_eq!(host_of(&own, false, "a.example"), Some("h".to_owned()));
        let all = proxies(&[("https_proxy", ""), ("ALL_PROXY", "http://all")]);
        assert_eq!(host_of(&all, true, "a.example"), Some("all".to_owned()));
        assert_eq!(host_of(&proxies(&[]), true, "a.example"), None);
    }

    #[test]
    fn the_hosts_of_no_proxy_are_reached_directly() {
        for (not_for, host, is_direct) in [
            ("a.example", "a.example", true),
            ("a.example", "A.Example", true),
            ("a.example", "b.a.example", true),
            ("a.example", "ba.example", false),
            (".a.example", "b.a.example", true),
            ("*.a.example", "b.a.example", true),
            ("x, a.example", "a.example", true),
            ("*", "anything", true),
            ("::1", "[::1]", true),
            ("", "a.example", false),
            (",", "a.example", false),
        ] {
            let some = proxies(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", not_for)]);
            let expected = (!is_direct).then(|| "p".to_owned());
            assert_eq!(host_of(&some, true, host), expected, "{not_for:?} {host}");
        }
    }

    #[test]
    fn a_proxy_that_is_no_address_is_an_error_and_its_password_is_never_shown() {
        assert!(
            proxies(&[("HTTPS_PROXY", "http://")])
                .proxy(true, "a")
                .is_err()
        );
        let secret = proxies(&[("HTTPS_PROXY", "http://u:hunter2@p")]);
        assert!(!format!("{secret:?}").contains("hunter2"));
        let proxy = secret.proxy(true, "a").unwrap().unwrap();
        assert!(!format!("{proxy:?}").contains("hunter2"));
    }
}
