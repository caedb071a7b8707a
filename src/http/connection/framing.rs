//! Finding where a request ends among the bytes of a connection (RFC 9112), and whether its body is framed at
//! all. actix reads the same bytes after this, and must find nothing that it would refuse: so the rules here
//! are as strict as its own, or stricter. actix takes a line feed alone for a line end, which a proxy in front
//! may not, and a head of 128 KiB. `sound` judges what a head says.

use actix_web::http::header::{self, HeaderMap};

use super::refusal::Refusal;
use crate::model::limits;

/// The length of the body that these headers announce; `None` where they announce none, or no number.
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A search for the end of a request's head, which goes on from one read to the next.
#[derive(Default)]
pub struct HeadEnd {
    /// A byte of the request line has come: line ends alone may stand before it.
    begun: bool,
    /// The current line has something in it.
    in_line: bool,
    /// The last byte was a carriage return.
    returned: bool,
    length: usize,
}

/// The result of a search in some more bytes, of a head or of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The end is not among the bytes.
    More,
    /// The end comes after so many of the bytes.
    End(usize),
    /// After so many of the bytes comes one that may not stand there, or that makes a part too long.
    Wrong(usize),
}

impl HeadEnd {
    /// Whether anything of the head has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The number of bytes that have been looked at.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The refusal of a head in which [`HeadEnd::find`] met something wrong.
    pub fn refusal(&self) -> Refusal {
        if self.length > limits::HEAD_BYTES {
            Refusal::TooLong
        } else {
            Refusal::Malformed
        }
    }

    /// Searches the next bytes for the end of the head. Costs one look at each byte.
    pub fn find(&mut self, bytes: &[u8]) -> Scan {
        for (index, &byte) in bytes.iter().enumerate() {
            self.length += 1;
            // A line ends with CR LF (RFC 9112, 2.2), and neither stands anywhere else.
            if self.returned != (byte == b'\n') || self.length > limits::HEAD_BYTES {
                return Scan::Wrong(index);
            }
            match byte {
                // Other control characters stand nowhere. TLS begins with one, and is refused at once.
                ..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => return Scan::Wrong(index),
                b'\n' if self.begun && !self.in_line => return Scan::End(index + 1),
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => {
                    self.begun = true;
                    self.in_line = true;
                }
            }
            self.returned = byte == b'\r';
        }
        Scan::More
    }
}

/// A search for the end of a body in chunks: each a line with its size in hexadecimal, its bytes and a
/// line end; one of size 0; then trailer lines up to an empty one (RFC 9112, 7.1).
#[derive(Default)]
pub struct ChunkedEnd {
    spot: Spot,
    /// Bytes of the framing since the last of a chunk.
    framing: usize,
}

/// A spot in a body in chunks, between two bytes; with the size of the chunk at hand where that matters.
#[derive(Clone, Copy, Default)]
enum Spot {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// In the digits of a size, which are this number so far.
    Size(u64),
    /// In the space after the digits.
    Space(u64),
    /// In a chunk extension, up to the end of its line.
    Extension(u64),
    /// Within the line end after a size.
    SizeEnd(u64),
    /// In a chunk, of which so many bytes are left.
    Bytes(u64),
    /// Before the line end after a chunk.
    AfterBytes,
    /// Within the line end after a chunk.
    AfterBytesEnd,
    /// At the start of a line of the trailer, of which an empty one is the last.
    Trailer,
    /// In a line of the trailer.
    TrailerLine,
    /// Within the line end of a line of the trailer.
    TrailerLineEnd,
    /// Within the last line end of the body.
    End,
}

impl ChunkedEnd {
    /// Searches the next bytes for the end of the body. [`Scan::Wrong`] also where one makes a line of the
    /// framing longer than [`limits::FRAMING_BYTES`]. Costs a look at each byte of the framing.
    pub fn find(&mut self, bytes: &[u8]) -> Scan {
        let mut index = 0;
        while index < bytes.len() {
            if let Spot::Bytes(left) = self.spot {
                self.framing = 0;
                let here = usize::try_from(left).map_or(usize::MAX, |left| left);
                let step = here.min(bytes.len() - index);
                index += step;
                self.spot = match left - step as u64 {
                    0 => Spot::AfterBytes,
                    left => Spot::Bytes(left),
                };
                continue;
            }
            let byte = bytes[index];
            if let (Spot::End, b'\n') = (self.spot, byte) {
                return Scan::End(index + 1);
            }
            self.framing += 1;
            match self.spot.after(byte) {
                Some(spot) if self.framing <= limits::FRAMING_BYTES => self.spot = spot,
                _ => return Scan::Wrong(index),
            }
            index += 1;
        }
        Scan::More
    }
}

impl Spot {
    /// The spot behind this byte; `None` where it may not stand here.
    fn after(self, byte: u8) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (self, byte) {
            (Spot::Start, _) => digit.map(Spot::Size),
            (Spot::Size(size), _) if digit.is_some() => {
                Some(Spot::Size(size.checked_mul(16)? + digit?))
            }
            (Spot::Size(size) | Spot::Space(size), b' ' | b'\t') => Some(Spot::Space(size)),
            (Spot::Size(size) | Spot::Space(size), b';') => Some(Spot::Extension(size)),
            (Spot::Size(size) | Spot::Space(size) | Spot::Extension(size), b'\r') => {
                Some(Spot::SizeEnd(size))
            }
            (Spot::Extension(size), _) => is_text(byte).then_some(Spot::Extension(size)),
            (Spot::SizeEnd(0), b'\n') => Some(Spot::Trailer),
            (Spot::SizeEnd(size), b'\n') => Some(Spot::Bytes(size)),
            (Spot::AfterBytes, b'\r') => Some(Spot::AfterBytesEnd),
            (Spot::AfterBytesEnd, b'\n') => Some(Spot::Start),
            (Spot::Trailer, b'\r') => Some(Spot::End),
            (Spot::TrailerLine, b'\r') => Some(Spot::TrailerLineEnd),
            (Spot::TrailerLineEnd, b'\n') => Some(Spot::Trailer),
            (Spot::Trailer | Spot::TrailerLine, _) => is_text(byte).then_some(Spot::TrailerLine),
            _ => None,
        }
    }
}

/// Whether this byte may stand in a line of the framing.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_codec::Decoder;
    use actix_http::h1::{Codec, Message};
    use bytes::BytesMut;
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    /// Looks for the end in all cuts of the bytes in two, and says where it is, if all agree.
    fn everywhere(bytes: &[u8], new: impl Fn() -> Box<dyn FnMut(&[u8]) -> Scan>) -> Scan {
        let whole = new()(bytes);
        for cut in 0..=bytes.len() {
            let mut find = new();
            let found = match find(&bytes[..cut]) {
                Scan::More => match find(&bytes[cut..]) {
                    Scan::More => Scan::More,
                    Scan::End(end) => Scan::End(cut + end),
                    Scan::Wrong(at) => Scan::Wrong(cut + at),
                },
                found => found,
            };
            assert_eq!(found, whole, "cut at {cut}");
        }
        whole
    }

    fn head(bytes: &str) -> Scan {
        everywhere(bytes.as_bytes(), || {
            let mut head = HeadEnd::default();
            Box::new(move |bytes| head.find(bytes))
        })
    }

    fn chunked(bytes: &str) -> Option<usize> {
        let found = everywhere(bytes.as_bytes(), || {
            let mut chunked = ChunkedEnd::default();
            Box::new(move |bytes| chunked.find(bytes))
        });
        match found {
            Scan::End(end) => Some(end),
            _ => None,
        }
    }

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        for (one, rest) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET"),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\n"),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", "x"),
        ] {
            let found = head(&format!("{one}{rest}"));
            assert_eq!(found, Scan::End(one.len()), "{one:?}");
        }
        for none in [
            "",
            "\r\n\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET /\r\nx\r",
        ] {
            assert_eq!(head(none), Scan::More, "{none:?}");
        }
    }

    #[test]
    fn a_line_ends_with_both_characters() {
        for (sound, rest) in [
            ("GET / HTTP/1.1", "\nHost: x\n\n"),
            ("GET / HTTP/1.1\r\nHost: x\r\n", "\n"),
            ("GET / HTTP/1.1\r\nHost: x\r", "y: z\r\n\r\n"),
            ("GET / HTTP/1.1\r", "\r\n\r\n"),
            ("\r\n", "\nGET / HTTP/1.1\r\n\r\n"),
            ("", "\u{16}\u{3}\u{1}\u{2}\0\u{1}"),
            ("GET / HTTP/1.1\r\nx: y", "\0\r\n\r\n"),
            ("GET /", "\u{7f}"),
        ] {
            let found = head(&format!("{sound}{rest}"));
            assert_eq!(found, Scan::Wrong(sound.len()), "{sound:?}");
        }
    }

    #[test]
    fn a_head_has_so_many_bytes_and_no_more() {
        let of = |length: usize| {
            let (start, end) = ("GET / HTTP/1.1\r\nx: ", "\r\n\r\n");
            let value = "y".repeat(length - start.len() - end.len());
            HeadEnd::default().find(format!("{start}{value}{end}").as_bytes())
        };
        let most = limits::HEAD_BYTES;
        assert_eq!(of(most), Scan::End(most));
        assert_eq!(of(most + 1), Scan::Wrong(most));
        let empty = "\r\n".repeat(most);
        assert_eq!(HeadEnd::default().find(empty.as_bytes()), Scan::Wrong(most));
    }

    #[test]
    fn a_body_in_chunks_ends_after_its_trailer() {
        for (one, rest) in [
            ("0\r\n\r\n", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"),
            ("a;x=\"y\"\r\n0\r\n\r\n34567\r\n00\r\n\r\n", "x"),
            ("1 \r\n\n\r\n0\r\nA: b\r\nC: d\r\n\r\n", "x"),
        ] {
            assert_eq!(chunked(&format!("{one}{rest}")), Some(one.len()), "{one:?}");
        }
        for none in [
            "",
            "0\r\n",
            "0\r\nA: b\r\n",
            "5\r\nhel",
            "x\r\n\r\n",
            "\r\n0\r\n\r\n",
            "5\r\nhellox0\r\n\r\n",
            "fffffffffffffffff\r\n0\r\n\r\n",
        ] {
            assert_eq!(chunked(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_line_of_framing_has_so_many_bytes_and_no_more() {
        let most = limits::FRAMING_BYTES;
        for (start, end) in [("1;", "\r\nx\r\n0\r\n\r\n"), ("0\r\nx: ", "\r\n\r\n")] {
            let long = format!("{start}{}", "y".repeat(most));
            let found = ChunkedEnd::default().find(long.as_bytes());
            assert_eq!(found, Scan::Wrong(most), "{start:?}");
            let fits = format!("{}{end}", &long[..most - 20]);
            let found = ChunkedEnd::default().find(fits.as_bytes());
            assert_eq!(found, Scan::End(fits.len()), "{start:?}");
        }
        // Of many chunks, each has its own.
        let many = "1;yyyyyyyy\r\nx\r\n".repeat(most);
        assert_eq!(ChunkedEnd::default().find(many.as_bytes()), Scan::More);
    }

    /// Bytes that are much like a head.
    fn almost_a_head() -> impl Strategy<Value = Vec<u8>> {
        let parts = [
            "GET / HTTP/1.1",
            "GET / HTTP/1.0",
            "PUT /x HTTP/1.1",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            " ",
            "\t",
            "\0",
            "Host: x",
            "A:b",
            ":",
            "A",
            "\u{e9}",
            "hello",
            "\r\n\r\n",
            "\n\n",
        ];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..12)
            .prop_map(|parts| parts.concat().into_bytes())
    }

    /// Bytes that are much like a body in chunks.
    fn almost_chunks() -> impl Strategy<Value = Vec<u8>> {
        let parts = [
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "0\r\n",
            "\r\n",
            "\r\n",
            "\r",
            "\n",
            "5",
            "A",
            "0",
            " ",
            "\t",
            ";",
            ";x=\"y\"",
            "x: y\r\n",
            "hello",
            "ffffffffffffffff",
            "\0",
            "\u{7f}",
            "\u{e9}",
            "-",
        ];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..12)
            .prop_map(|parts| parts.concat().into_bytes())
    }

    /// The number of bytes that actix leaves behind the end that it finds in these, if it does.
    fn actix(bytes: &[u8]) -> Result<Option<usize>, String> {
        actix_web::rt::System::new().block_on(async {
            let (mut codec, mut bytes) = (Codec::default(), BytesMut::from(bytes));
            loop {
                match codec.decode(&mut bytes) {
                    Ok(Some(Message::Chunk(None))) => return Ok(Some(bytes.len())),
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(None),
                    Err(error) => return Err(error.to_string()),
                }
            }
        })
    }

    proptest! {
        /// actix reads heads with httparse. Where we say that one ends, it must not wait for more: it
        /// would not get any. Where it says so, we must have said it too, or that something is wrong.
        #[test]
        fn a_head_ends_where_actix_finds_its_end(bytes in almost_a_head()) {
            let found = HeadEnd::default().find(&bytes);
            let mut headers = [httparse::EMPTY_HEADER; 96];
            let mut request = httparse::Request::new(&mut headers);
            match found {
                Scan::End(end) => {
                    let parsed = request.parse(&bytes[..end]);
                    prop_assert!(!matches!(parsed, Ok(httparse::Status::Partial)), "{parsed:?}");
                    if let Ok(httparse::Status::Complete(there)) = parsed {
                        prop_assert_eq!(there, end);
                    }
                }
                // Nothing of it is handed out.
                Scan::Wrong(_) => {}
                Scan::More => {
                    let parsed = request.parse(&bytes);
                    prop_assert!(!matches!(parsed, Ok(httparse::Status::Complete(_))), "{parsed:?}");
                }
            }
        }

        /// actix gets the part of a body in chunks before something wrong, and must find nothing wrong
        /// there; and where it ends for us it ends for actix.
        #[test]
        fn actix_finds_nothing_wrong_in_a_body_that_it_is_handed(bytes in almost_chunks()) {
            let head = b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
            let found = ChunkedEnd::default().find(&bytes);
            let (handed, ended) = match found {
                Scan::End(end) => (end, true),
                Scan::More => (bytes.len(), false),
                Scan::Wrong(at) => (at, false),
            };
            let seen = actix(&[head, &bytes[..handed]].concat());
            prop_assert_eq!(seen, Ok(ended.then_some(0)), "{:?}", found);
        }

        #[test]
        fn a_body_ends_after_its_last_chunk(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
            trailer in prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nC: d\r\n"]),
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(format!("0\r\n{trailer}\r\n").into_bytes());
            let length = body.len();
            body.extend(after);
            prop_assert_eq!(ChunkedEnd::default().find(&body), Scan::End(length));
        }
    }
}
