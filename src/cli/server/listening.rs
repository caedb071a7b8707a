//! Where `serve` listens, and who may ask there.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::values::{grace, group, listener, socket_mode};
use crate::cli::arguments::is_set;
use crate::cli::failure::Failure;
use crate::http::{
    CertificateFiles, Certificates, HandedOver, Host, Listener, NamedOrigin, Origins, Places,
    SocketAccess,
};

/// Where to listen, without a word of the operator or the system.
const DEFAULT: &str = "127.0.0.1:8000";

/// The flags that say where to listen, and who may ask.
#[derive(Args)]
pub struct ListeningFlags {
    /// Where to listen: HOST:PORT, or unix:/path. May be given several times (in the environment
    /// with commas). Port 0 is one that the system chooses. Sockets that systemd hands over (LISTEN_FDS) are served
    /// besides. [default: 127.0.0.1:8000, where none is handed over]
    #[arg(long, value_name = "ADDR", env = "MENTAT_SYNC_LISTEN", value_delimiter = ',', value_parser = listener)]
    listen: Vec<Listener>,

    /// How long to wait for an address that this box does not have yet, as of an interface that comes up later, or that another
    /// program is about to leave. Without it, it fails at once.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_LISTEN_WAIT", default_value = "0s", hide_default_value = true,
          value_parser = grace)]
    listen_wait: Duration,

    /// The mode of the sockets in the file system that it makes, such as 0660. As the umask has it, without.
    #[arg(long, value_name = "MODE", env = "MENTAT_SYNC_SOCKET_MODE", value_parser = socket_mode)]
    socket_mode: Option<u32>,

    /// The group of the sockets in the file system that it makes: a name in /etc/group, or a number.
    #[arg(long, value_name = "GROUP", env = "MENTAT_SYNC_SOCKET_GROUP", value_parser = group)]
    socket_group: Option<u32>,

    /// A file with the certificate of the server and those that it takes to trust it (PEM, the server's own first): TLS is spoken at
    /// each HOST:PORT then. The file and its key are looked at again every ten seconds, and on SIGHUP.
    #[arg(
        long,
        value_name = "FILE",
        env = "MENTAT_SYNC_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// A file with the private key of the certificate (PEM, without a passphrase).
    #[arg(
        long,
        value_name = "FILE",
        env = "MENTAT_SYNC_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// Have no page at `/` for people: whoever asks for HTML gets the text that programs get.
    #[arg(long, env = "MENTAT_SYNC_NO_PAGE", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    no_page: bool,

    /// A place on the web whose pages may ask, such as https://app.example.org; `*` is any. May be given several
    /// times (in the environment with commas). Without it no page but the server's own may: 403 `cross-origin`.
    #[arg(
        long,
        value_name = "URL",
        env = "MENTAT_SYNC_CORS_ORIGIN",
        value_delimiter = ','
    )]
    cors_origin: Vec<NamedOrigin>,

    /// A host that the server goes by; requests for any other are answered 421 `wrong-host`. May be given several
    /// times (in the environment with commas). Without it any host will do, but not to pages, over loopback, one
    /// that is neither an address nor `localhost`.
    #[arg(
        long,
        value_name = "NAME",
        env = "MENTAT_SYNC_HOST",
        value_delimiter = ','
    )]
    host: Vec<Host>,
}

impl ListeningFlags {
    /// Where to listen, with the sockets that have been handed over: the default is for who has neither. Fails where
    /// the certificate cannot be used.
    pub fn places(&self, handed_over: Vec<HandedOver>) -> Result<Places, Failure> {
        let default = (self.listen.is_empty() && handed_over.is_empty())
            .then(|| Listener::Tcp(DEFAULT.to_owned()));
        Ok(Places {
            listeners: self.listen.iter().cloned().chain(default).collect(),
            access: SocketAccess {
                mode: self.socket_mode,
                group: self.socket_group,
            },
            handed_over,
            wait: self.listen_wait,
            certificates: self.certificates()?,
        })
    }

    /// The certificates to speak TLS with, if there are any.
    fn certificates(&self) -> Result<Option<Arc<Certificates>>, Failure> {
        let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else {
            return Ok(None);
        };
        match Certificates::read(CertificateFiles { certificate, key }) {
            Ok(certificates) => Ok(Some(Arc::new(certificates))),
            Err(unusable) => Err(Failure::failed(format!("cannot speak TLS: {unusable}"))),
        }
    }

    /// Whether there is a page for people.
    pub fn has_page(&self) -> bool {
        !self.no_page
    }

    /// The pages that may ask, and the names that the server goes by.
    pub fn origins(&self) -> Origins {
        Origins {
            named: self.cors_origin.clone(),
            hosts: self.host.clone(),
        }
    }
}

/// The words for a person where it cannot listen at this address.
pub fn cannot_listen(listener: Option<&Listener>, error: &io::Error) -> Failure {
    let Some(listener) = listener else {
        return Failure::failed(format!("cannot serve: {error}"));
    };
    let hint = match (error.kind(), listener) {
        (io::ErrorKind::AddrInUse, Listener::Tcp(_)) => {
            "\n  another program listens there (`ss -ltnp` says which); choose a port with --listen"
        }
        (io::ErrorKind::AddrInUse, Listener::Unix(_)) => {
            "\n  another program listens there, or it is a file that is no socket"
        }
        (io::ErrorKind::PermissionDenied, Listener::Tcp(_)) => {
            "\n  ports below 1024 are for root; choose another with --listen"
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            "\n  this box has no such address; --listen-wait 30s waits for one that comes later"
        }
        _ => "",
    };
    Failure::failed(format!("cannot listen at {listener}: {error}{hint}"))
}
