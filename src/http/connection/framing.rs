//! Where a request ends among the bytes of a connection (RFC 9112), and whether its body is framed at all.
//! actix reads the same bytes after us, and must find nothing that it would refuse: so this is as strict as
//! it is, or stricter. It takes a line feed alone for a line end, which a proxy in front may not, and a head
//! of 128 KiB. What a head says is judged in `sound`.

use super::turn::Refusal;
use crate::model::limits;

/// Looks for the end of a request's head.
#[derive(Default)]
pub struct HeadEnd {
    /// Something other than the line ends that may stand before a request has come.
    begun: bool,
    /// The current line has something in it.
    in_line: bool,
    /// The last byte was a carriage return.
    returned: bool,
    length: usize,
}

/// What became of a head, or of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It goes on.
    More,
    /// After so many of the bytes it ends.
    End(usize),
    /// After so many of the bytes comes one that is not to stand there, or that makes it too long.
    Wrong(usize),
}

impl HeadEnd {
    /// Whether anything of the head has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// How many bytes have been looked at.
    pub fn length(&self) -> usize {
        self.length
    }

    /// What is to be said of a head that is wrong.
    pub fn refusal(&self) -> Refusal {
        if self.length > limits::HEAD_BYTES {
            Refusal::TooLong
        } else {
            Refusal::Malformed
        }
    }

    /// Whether, and after which of these bytes, the head ends.
    pub fn find(&mut self, bytes: &[u8]) -> Found {
        for (index, &byte) in bytes.iter().enumerate() {
            self.length += 1;
            // A line ends with both (RFC 9112, 2.2), and neither stands anywhere else.
            if self.returned != (byte == b'\n') || self.length > limits::HEAD_BYTES {
                return Found::Wrong(index);
            }
            match byte {
                // Nor does any other of these. TLS begins with one: it need not be waited for.
                ..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => return Found::Wrong(index),
                b'\n' if self.begun && !self.in_line => return Found::End(index + 1),
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => {
                    self.begun = true;
                    self.in_line = true;
                }
            }
            self.returned = byte == b'\r';
        }
        Found::More
    }
}

/// Looks for the end of a body in chunks: each a line with its size in hexadecimal, its bytes and a
/// line end; one of size 0; then trailer lines up to an empty one (RFC 9112, 7.1).
#[derive(Default)]
pub struct ChunkedEnd {
    place: Place,
    /// Bytes of the framing since the last of a chunk.
    framing: usize,
}

#[derive(Clone, Copy, Default)]
enum Place {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// In its digits, which are this so far.
    Size(u64),
    /// In the space after them.
    Space(u64),
    /// In what may follow it on its line.
    Extension(u64),
    /// In the line end after it.
    SizeEnd(u64),
    /// So many bytes of a chunk are left.
    Bytes(u64),
    /// In the line end after a chunk.
    AfterBytes,
    AfterBytesEnd,
    /// At the start of a line of the trailer, of which an empty one is the last.
    Trailer,
    /// In such a line.
    TrailerLine,
    /// In its end.
    TrailerLineEnd,
    /// In the line end after which it ends.
    End,
}

impl ChunkedEnd {
    /// Whether, and after which of these bytes, the body ends; or which of them is not to stand there, or
    /// makes a line of the framing too long.
    pub fn find(&mut self, bytes: &[u8]) -> Found {
        let mut index = 0;
        while index < bytes.len() {
            if let Place::Bytes(left) = self.place {
                self.framing = 0;
                let here = usize::try_from(left).map_or(usize::MAX, |left| left);
                let step = here.min(bytes.len() - index);
                index += step;
                self.place = match left - step as u64 {
                    0 => Place::AfterBytes,
                    left => Place::Bytes(left),
                };
                continue;
            }
            let byte = bytes[index];
            if let (Place::End, b'\n') = (self.place, byte) {
                return Found::End(index + 1);
            }
            self.framing += 1;
            match self.place.after(byte) {
                Some(place) if self.framing <= limits::FRAMING_BYTES => self.place = place,
                _ => return Found::Wrong(index),
            }
            index += 1;
        }
        Found::More
    }
}

impl Place {
    /// Where this byte leads, if it may stand here.
    fn after(self, byte: u8) -> Option<Self> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (self, byte) {
            (Place::Start, _) => digit.map(Place::Size),
            (Place::Size(size), _) if digit.is_some() => {
                Some(Place::Size(size.checked_mul(16)? + digit?))
            }
            (Place::Size(size) | Place::Space(size), b' ' | b'\t') => Some(Place::Space(size)),
            (Place::Size(size) | Place::Space(size), b';') => Some(Place::Extension(size)),
            (Place::Size(size) | Place::Space(size) | Place::Extension(size), b'\r') => {
                Some(Place::SizeEnd(size))
            }
            (Place::Extension(size), _) => is_text(byte).then_some(Place::Extension(size)),
            (Place::SizeEnd(0), b'\n') => Some(Place::Trailer),
            (Place::SizeEnd(size), b'\n') => Some(Place::Bytes(size)),
            (Place::AfterBytes, b'\r') => Some(Place::AfterBytesEnd),
            (Place::AfterBytesEnd, b'\n') => Some(Place::Start),
            (Place::Trailer, b'\r') => Some(Place::End),
            (Place::TrailerLine, b'\r') => Some(Place::TrailerLineEnd),
            (Place::TrailerLineEnd, b'\n') => Some(Place::Trailer),
            (Place::Trailer | Place::TrailerLine, _) => is_text(byte).then_some(Place::TrailerLine),
            _ => None,
        }
    }
}

/// Whether this may stand in a line.
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
    fn everywhere(bytes: &[u8], new: impl Fn() -> Box<dyn FnMut(&[u8]) -> Found>) -> Found {
        let whole = new()(bytes);
        for cut in 0..=bytes.len() {
            let mut find = new();
            let found = match find(&bytes[..cut]) {
                Found::More => match find(&bytes[cut..]) {
                    Found::More => Found::More,
                    Found::End(end) => Found::End(cut + end),
                    Found::Wrong(at) => Found::Wrong(cut + at),
                },
                found => found,
            };
            assert_eq!(found, whole, "cut at {cut}");
        }
        whole
    }

    fn head(bytes: &str) -> Found {
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
            Found::End(end) => Some(end),
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
            assert_eq!(found, Found::End(one.len()), "{one:?}");
        }
        for none in [
            "",
            "\r\n\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET /\r\nx\r",
        ] {
            assert_eq!(head(none), Found::More, "{none:?}");
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
            assert_eq!(found, Found::Wrong(sound.len()), "{sound:?}");
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
        assert_eq!(of(most), Found::End(most));
        assert_eq!(of(most + 1), Found::Wrong(most));
        let empty = "\r\n".repeat(most);
        assert_eq!(
            HeadEnd::default().find(empty.as_bytes()),
            Found::Wrong(most)
        );
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
            assert_eq!(found, Found::Wrong(most), "{start:?}");
            let fits = format!("{}{end}", &long[..most - 20]);
            let found = ChunkedEnd::default().find(fits.as_bytes());
            assert_eq!(found, Found::End(fits.len()), "{start:?}");
        }
        // Of many chunks, each has its own.
        let many = "1;yyyyyyyy\r\nx\r\n".repeat(most);
        assert_eq!(ChunkedEnd::default().find(many.as_bytes()), Found::More);
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

    /// What actix makes of these bytes: how many are left behind the end that it finds, if it does.
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
                Found::End(end) => {
                    let parsed = request.parse(&bytes[..end]);
                    prop_assert!(!matches!(parsed, Ok(httparse::Status::Partial)), "{parsed:?}");
                    if let Ok(httparse::Status::Complete(there)) = parsed {
                        prop_assert_eq!(there, end);
                    }
                }
                // Nothing of it is handed out.
                Found::Wrong(_) => {}
                Found::More => {
                    let parsed = request.parse(&bytes);
                    prop_assert!(!matches!(parsed, Ok(httparse::Status::Complete(_))), "{parsed:?}");
                }
            }
        }

        /// Of a body in chunks actix gets what comes before something wrong, and must find nothing wrong
        /// there; and where it ends for us it ends for actix.
        #[test]
        fn actix_finds_nothing_wrong_in_a_body_that_it_is_handed(bytes in almost_chunks()) {
            let head = b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
            let found = ChunkedEnd::default().find(&bytes);
            let (handed, ended) = match found {
                Found::End(end) => (end, true),
                Found::More => (bytes.len(), false),
                Found::Wrong(at) => (at, false),
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
            prop_assert_eq!(ChunkedEnd::default().find(&body), Found::End(length));
        }
    }
}
