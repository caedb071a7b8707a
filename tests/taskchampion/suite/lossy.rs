use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A way to a server on which the answers to some uploads get lost: what was asked has been done then.
pub struct Lossy {
    pub url: String,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    /// Loses the answer to one in so many of the uploads.
    pub fn to(server: SocketAddr, one_in: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("it has an address")
        );
        let (lost, uploads) = (Arc::default(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&lost);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (count, uploads) = (Arc::clone(&count), Arc::clone(&uploads));
                thread::spawn(move || relay(client, server, &uploads, one_in, &count));
            }
        });
        Self { url, lost }
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

/// Relays one connection, request by request: the client sends the next one when it has the answer.
fn relay(
    mut client: TcpStream,
    server: SocketAddr,
    uploads: &AtomicUsize,
    one_in: usize,
    lost: &AtomicUsize,
) -> Option<()> {
    let mut upstream = TcpStream::connect(server).ok()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let request = message(&mut client, &mut buffer)?;
        upstream.write_all(&request).ok()?;
        let answer = message(&mut upstream, &mut buffer)?;
        let is_upload = request.starts_with(b"POST");
        if is_upload && uploads.fetch_add(1, Ordering::SeqCst) % one_in == one_in - 1 {
            lost.fetch_add(1, Ordering::SeqCst);
            client.shutdown(Shutdown::Both).ok()?;
            return None;
        }
        client.write_all(&answer).ok()?;
    }
}

/// One request or answer: its head, and as many bytes as that announces.
pub fn message(from: &mut TcpStream, buffer: &mut [u8]) -> Option<Vec<u8>> {
    from.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match from.read(buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    assert!(!text.contains("transfer-encoding"), "{text}");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    while bytes.len() < head + length {
        match from.read(buffer).ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    Some(bytes)
}
