//! Judging a head before actix sees it: a head that actix would refuse never gets there, since actix refuses
//! without a body, in the middle of whatever answer it is writing just then.

use std::mem::MaybeUninit;

use actix_codec::Decoder;
use actix_http::error::ParseError;
use actix_http::h1::{Codec, Message};
use actix_web::http::header;
use bytes::BytesMut;

use super::refusal::Refusal;
use super::upgrade;

/// The most fields that a usual head has.
const USUAL_FIELDS: usize = 32;

/// The methods of usual requests.
const USUAL_METHODS: &[&str] = &["GET", "HEAD", "PUT", "POST", "DELETE"];

/// Judges a head, which is whole, by whether actix takes it. Most heads are of a kind that is known to be
/// taken, which costs one parse without an allocation; actix itself is asked about the others. Of those a wish
/// for another protocol is passed over first, which actix must not see.
///
/// # Errors
/// The refusal with which the head is to be answered.
pub fn sound(head: &mut [u8]) -> Result<(), Refusal> {
    if is_usual(head).unwrap_or(false) {
        return Ok(());
    }
    upgrade::pass_over(head);
    match Codec::default().decode(&mut BytesMut::from(&*head)) {
        Ok(Some(Message::Item(_))) => Ok(()),
        Err(ParseError::TooLarge) => Err(Refusal::TooLong),
        _ => Err(Refusal::Malformed),
    }
}

/// Whether the head is of a kind that actix takes for certain: HTTP/1.1, a plain path, one host, a body that
/// is announced once or not at all, and no wish for another protocol. `None` where httparse takes it for no head.
fn is_usual(head: &[u8]) -> Option<bool> {
    let mut fields = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, &mut fields).ok()?;
    if parsed != httparse::Status::Complete(head.len()) || request.version != Some(1) {
        return Some(false);
    }
    let (method, path) = (request.method?, request.path?);
    let (mut hosts, mut bodies) = (0, 0);
    for field in &*request.headers {
        let is = |name: header::HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
        match field.name.len() {
            4 if is(header::HOST) => hosts += 1,
            14 if is(header::CONTENT_LENGTH) => {
                // A u64 holds any number of so many digits.
                let is_number = (1..=18).contains(&field.value.len())
                    && field.value.iter().all(u8::is_ascii_digit);
                bodies += if is_number { 1 } else { 2 };
            }
            17 if is(header::TRANSFER_ENCODING) => {
                let is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
                bodies += if is_chunked { 1 } else { 2 };
            }
            _ if upgrade::asks_for_one(field.name, field.value) => return Some(false),
            _ => {}
        }
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.?=&".contains(&byte);
    Some(
        USUAL_METHODS.contains(&method)
            && path.starts_with('/')
            && path.bytes().all(is_plain)
            && hosts == 1
            && bodies < 2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_http::h1::MessageType;
    use actix_web::http::{ConnectionType, Method};
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    fn run<T>(test: impl FnOnce() -> T) -> T {
        actix_web::rt::System::new().block_on(async { test() })
    }

    /// Heads of which most are sound, and some of a kind that is not.
    fn almost_usual() -> impl Strategy<Value = Vec<u8>> {
        let methods = [
            "GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "get", "X", "",
        ];
        let paths = [
            "/",
            "/0.1/x",
            "/?a=b&c",
            "x",
            "*",
            "//",
            "/%00",
            "/\u{e9}",
            "/#",
            "/a b",
            "http://x/y",
        ];
        let versions = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.10"];
        let fields = [
            "host: x",
            "Host: y",
            "host:",
            "content-length: 5",
            "content-length: 0",
            "content-length: 05",
            "content-length: +5",
            "content-length: 18446744073709551616",
            "content-length: ",
            "Transfer-Encoding: Chunked",
            "transfer-encoding: identity",
            "transfer-encoding: chunked, chunked",
            "expect: 100-continue",
            "connection: close",
            "connection: Keep-Alive, Upgrade",
            "connection: upgrade,close",
            "Connection: UPGRADE",
            "upgrade: websocket",
            "Upgrade: h2c",
            "a: b",
            "a : b",
            "a: \u{e9}",
            "a: \u{7f}",
            "a b: c",
            ": x",
            "a:",
        ];
        let fields = prop::collection::vec(prop::sample::select(fields.to_vec()), 0..5);
        let select = |of: &[&'static str]| prop::sample::select(of.to_vec());
        (select(&methods), select(&paths), select(&versions), fields).prop_map(
            |(method, path, version, fields)| {
                let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
                format!("{method} {path} {version}\r\nhost: x\r\n{fields}\r\n").into_bytes()
            },
        )
    }

    #[test]
    fn what_our_clients_send_needs_no_second_look() {
        for head in [
            "GET /0.1/67e55044-10b1-426f-9247-bb680e5fe0c8/head?wait=60 HTTP/1.1\r\nHost: x\r\n\r\n",
            "PUT /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
            "PUT /x HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\nexpect: 100-continue\r\n\r\n",
        ] {
            assert_eq!(is_usual(head.as_bytes()), Some(true), "{head}");
        }
    }

    #[test]
    fn an_unusual_head_may_be_sound() {
        run(|| {
            for head in [
                "GET http://x/ HTTP/1.1\r\nhost: x\r\n\r\n",
                "GET / HTTP/1.0\r\n\r\n",
                "PATCH /%20 HTTP/1.1\r\nhost: x\r\n\r\n",
                "\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
            ] {
                assert_eq!(sound(&mut head.as_bytes().to_vec()), Ok(()), "{head}");
            }
        });
    }

    proptest! {
        #[test]
        fn what_is_usual_is_taken(head in almost_usual()) {
            if is_usual(&head) == Some(true) {
                let taken = run(|| Codec::default().decode(&mut BytesMut::from(head.as_slice())));
                prop_assert!(matches!(taken, Ok(Some(Message::Item(_)))));
            }
        }

        #[test]
        fn no_sound_head_says_anything_of_another_protocol(head in almost_usual()) {
            let mut handed = head.clone();
            let told = run(|| {
                sound(&mut handed).ok()?;
                let mut codec = Codec::default();
                let decoded = codec.decode(&mut BytesMut::from(handed.as_slice()));
                let Ok(Some(Message::Item(request))) = decoded else {
                    panic!("it is sound");
                };
                let is_connect = request.method() == Method::CONNECT;
                let is_stream = matches!(codec.message_type(), MessageType::Stream);
                Some((request.head().connection_type(), is_stream && !is_connect))
            });
            if let Some((kind, is_stream)) = told {
                prop_assert!(kind != ConnectionType::Upgrade);
                prop_assert!(!is_stream);
                prop_assert_eq!(handed.len(), head.len());
            }
        }
    }
}
