//! The certificate and the key with which a server speaks TLS, which may change while it serves.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::model::limits;

/// The one protocol that is spoken through TLS, by its name in ALPN (RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";
/// The beginning of a key that takes a passphrase to read.
const LOCKED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// A certificate with its key, as two files hold them; all that serve share them.
pub struct Certificates {
    files: CertificateFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// The digest of both files as they were when they were last taken.
    first: PairDigest,
}

/// The two files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate of the server, and behind it those that it takes to trust that one.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// The reason why two files are not what a server can speak TLS with.
#[derive(Debug, Error)]
pub enum UnusablePair {
    /// A file cannot be read.
    #[error("{} cannot be read: {error}{}", path.display(), hint(error))]
    Unread {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A file holds nothing of what it should.
    #[error("there is no {what} in {} (PEM, which begins with -----BEGIN){more}", path.display())]
    Nothing {
        /// The thing that it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason, where one is known.
        more: String,
    },
    /// Both have been read, and do not go together or cannot be used.
    #[error("{} and {}: {reason}", files.certificate.display(), files.key.display())]
    Unfit {
        /// The files.
        files: CertificateFiles,
        /// The reason.
        reason: rustls::Error,
    },
}

type PairDigest = [u8; 32];

/// The words that go with what the system says of a file.
fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            " (the server runs as uid {}, which must be let to read it)",
            rustix::process::geteuid().as_raw()
        ),
        _ => String::new(),
    }
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// When one of them cannot be read or used, or they do not go together.
    pub fn read(files: CertificateFiles) -> Result<Self, UnusablePair> {
        let pair = files.read()?;
        Ok(Self {
            first: pair.digest(),
            current: RwLock::new(Arc::new(files.config(&pair)?)),
            files,
        })
    }

    /// The configuration of a connection that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts a thread that looks every [`limits::LOOK_FOR_CERTIFICATES`] whether the files hold another pair, and takes
    /// it; and at once when a word comes through what is returned.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn renew(self: &Arc<Self>) -> io::Result<SyncSender<()>> {
        // One look more is as good as several.
        let (sender, asked) = sync_channel(1);
        let renewal = Renewal {
            taken: self.first,
            certificates: Arc::clone(self),
            trouble: None,
        };
        let thread = std::thread::Builder::new().name("certificates".to_owned());
        thread.spawn(move || renewal.run(&asked))?;
        Ok(sender)
    }
}

/// The bytes of both files.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn digest(&self) -> PairDigest {
        let mut digest = Sha256::new();
        digest.update((self.certificate.len() as u64).to_be_bytes());
        digest.update(&self.certificate);
        digest.update(&self.key);
        digest.finalize().into()
    }
}

impl CertificateFiles {
    fn read(&self) -> Result<Pair, UnusablePair> {
        let read = |path: &Path| {
            read_some(path).map_err(|error| UnusablePair::Unread {
                path: path.to_owned(),
                error,
            })
        };
        Ok(Pair {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    /// The configuration with this pair: TLS 1.2 and 1.3, HTTP/1.1, no certificates of clients.
    fn config(&self, pair: &Pair) -> Result<ServerConfig, UnusablePair> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.certificate).collect();
        let chain = chain.map_err(|error| self.no_certificate(Some(&error)))?;
        if chain.is_empty() {
            return Err(self.no_certificate(None));
        }
        let key = PrivateKeyDer::from_pem_slice(&pair.key)
            .map_err(|error| self.no_key(&pair.key, &error))?;
        let unfit = |reason| UnusablePair::Unfit {
            files: self.clone(),
            reason,
        };
        let provider = Arc::new(ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(unfit)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }

    fn no_certificate(&self, error: Option<&pem::Error>) -> UnusablePair {
        UnusablePair::Nothing {
            what: "certificate",
            path: self.certificate.clone(),
            more: error.map_or_else(String::new, |error| format!(": {error}")),
        }
    }

    fn no_key(&self, bytes: &[u8], error: &pem::Error) -> UnusablePair {
        let is_locked = bytes.windows(LOCKED.len()).any(|window| window == LOCKED);
        UnusablePair::Nothing {
            what: "private key",
            path: self.key.clone(),
            more: match (is_locked, error) {
                (true, _) => ", but one that takes a passphrase: write it without".to_owned(),
                (false, pem::Error::NoItemsFound) => String::new(),
                (false, other) => format!(": {other}"),
            },
        }
    }
}

/// Reads a file up to [`limits::PEM_BYTES`].
fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    file.take(limits::PEM_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The looks at the files, one after another.
struct Renewal {
    certificates: Arc<Certificates>,
    /// The pair that is in use.
    taken: PairDigest,
    /// The trouble with the files at the last look, and whether it has been said.
    trouble: Option<(String, bool)>,
}

impl Renewal {
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(limits::LOOK_FOR_CERTIFICATES) {
                Ok(()) => self.look(true),
                Err(RecvTimeoutError::Timeout) => self.look(false),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks once. Trouble is said when somebody asked for the look, or when it is the same at two looks: the two files
    /// may just be being replaced, one after the other.
    fn look(&mut self, is_asked: bool) {
        match self.take() {
            Ok(is_new) => {
                self.trouble = None;
                let path = &self.certificates.files.certificate;
                match (is_new, is_asked) {
                    (true, _) => {
                        log::info!("serves with the new certificate in {}", path.display())
                    }
                    (false, true) => {
                        log::info!("the certificate in {} is the same", path.display())
                    }
                    (false, false) => {}
                }
            }
            Err(error) => {
                let words = error.to_string();
                let before = self.trouble.take().filter(|(before, _)| *before == words);
                let was_said = before.as_ref().is_some_and(|(_, said)| *said);
                let says = is_asked || (before.is_some() && !was_said);
                if says {
                    log::error!("the certificate before stays in use: {words}");
                }
                self.trouble = Some((words, was_said || says));
            }
        }
    }

    /// Takes what the files hold, if it is another pair; says whether it is.
    fn take(&mut self) -> Result<bool, UnusablePair> {
        let files = &self.certificates.files;
        let pair = files.read()?;
        let digest = pair.digest();
        if digest == self.taken {
            return Ok(false);
        }
        let config = Arc::new(files.config(&pair)?);
        let current = self.certificates.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = config;
        self.taken = digest;
        Ok(true)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&self.files).finish()
    }
}
