//! Where `serve` listens, and who may ask there.

use std::io;

use clap::Args;

use super::arguments::listener;
use super::failure::Failure;
use crate::http::{Host, Listener, NamedOrigin, Origins};

/// The flags that say where to listen, and who may ask.
#[derive(Args)]
pub struct Listening {
    /// Where to listen: HOST:PORT, or unix:/path. May be given several times (in the environment
    /// with commas). Port 0 is one that the system chooses.
    #[arg(long, value_name = "ADDR", env = "MENTAT_SYNC_LISTEN", value_delimiter = ',',
          default_value = "127.0.0.1:8000", value_parser = listener)]
    pub listen: Vec<Listener>,

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

impl Listening {
    /// The pages that may ask, and the names that the server goes by.
    pub fn origins(&self) -> Origins {
        Origins {
            named: self.cors_origin.clone(),
            hosts: self.host.clone(),
        }
    }
}

/// The words for a person where it cannot listen at this address.
pub fn cannot_listen(listener: &Listener, error: &io::Error) -> Failure {
    let place = match listener {
        Listener::Tcp(address) => address.clone(),
        Listener::Unix(path) => format!("unix:{}", path.display()),
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
        (io::ErrorKind::AddrNotAvailable, _) => "\n  this box has no such address",
        _ => "",
    };
    Failure::failed(format!("cannot listen at {place}: {error}{hint}"))
}
