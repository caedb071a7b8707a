//! The address at which whoever scrapes is answered: `GET /metrics`, and nothing else. It has no part in the threads and
//! limits of those who sync, and a scraper that is slow or hangs is let go.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::exposition::{Exposition, OPEN_METRICS};
use crate::http::connection::accept::Listening;
use crate::http::connection::listen::{Bound, Listener, SocketAccess, SocketFile};
use crate::model::limits;
use crate::wire::TEXT;

/// The path of all that is told.
const METRICS: &str = "/metrics";

/// An address that is listened at for scrapes, until this is dropped.
pub struct Scrapes {
    addresses: Vec<String>,
    _files: Vec<SocketFile>,
}

impl Scrapes {
    /// Answers scrapes at this address, for as long as the runtime of tokio that this is called in goes on.
    ///
    /// # Errors
    /// It cannot be listened at.
    pub fn start(listener: &Listener, told: Exposition) -> io::Result<Self> {
        let (told, room) = (Arc::new(told), Arc::new(Semaphore::new(limits::SCRAPES)));
        let (mut addresses, mut files) = (Vec::new(), Vec::new());
        for bound in listener.bind(SocketAccess::default(), None)? {
            let Bound {
                listening,
                address,
                file,
            } = bound;
            addresses.push(address);
            files.extend(file);
            tokio::spawn(accept(listening, Arc::clone(&told), Arc::clone(&room)));
        }
        Ok(Self {
            addresses,
            _files: files,
        })
    }

    /// The addresses, with the real ports.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

async fn accept(listening: Listening, told: Arc<Exposition>, room: Arc<Semaphore>) {
    loop {
        let accepted = match &listening {
            // It was bound without certificates.
            Listening::Tcp(listener) | Listening::Tls(listener, _) => listener
                .accept()
                .await
                .map(|(stream, _)| begin(stream, &told, &room)),
            Listening::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| begin(stream, &told, &room)),
        };
        if let Err(error) = accepted {
            log::debug!("no scrape can be accepted: {error}");
            sleep(limits::ACCEPT_AGAIN).await;
        }
    }
}

/// Answers one request aside; where too many are at it already the connection is closed.
fn begin<S>(stream: S, told: &Arc<Exposition>, room: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
        return;
    };
    let told = Arc::clone(told);
    tokio::spawn(async move {
        // Whoever scrapes comes again.
        let _ = timeout(limits::SCRAPE_WAIT, answer(stream, told)).await;
        drop(permit);
    });
}

async fn answer<S>(mut stream: S, told: Arc<Exposition>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    let (status, method) = loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        head.extend_from_slice(&piece[..read]);
        if let Some(judged) = judge(&head) {
            break judged;
        }
        if read == 0 || head.len() > limits::HEAD_BYTES {
            break ("400 Bad Request", String::new());
        }
    };
    let told = match status {
        // The file system is asked for its room, and may be slow.
        "200 OK" => tokio::task::spawn_blocking(move || told.text()).await,
        other => Ok(Ok(format!("{other}\n"))),
    };
    let (status, body) = match told {
        Ok(Ok(text)) => (status, text),
        _ => ("500 Internal Server Error", String::new()),
    };
    let media = if status == "200 OK" {
        OPEN_METRICS
    } else {
        TEXT
    };
    let allow = if status.starts_with("405") {
        "allow: GET, HEAD\r\n"
    } else {
        ""
    };
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}\r\n{allow}cache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        answer += &body;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What the client still sends is read, or the end of the connection could overtake the answer.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The status for a request, and its method, once all of its head is there.
fn judge(head: &[u8]) -> Option<(&'static str, String)> {
    let mut headers = [httparse::EMPTY_HEADER; limits::SCRAPE_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(parsed) if parsed.is_partial() => return None,
        Ok(_) => {}
        Err(_) => return Some(("400 Bad Request", String::new())),
    }
    let method = request.method.unwrap_or_default().to_owned();
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let status = match (path, method.as_str()) {
        (METRICS, "GET" | "HEAD") => "200 OK",
        (METRICS, _) => "405 Method Not Allowed",
        _ => "404 Not Found",
    };
    Some((status, method))
}
