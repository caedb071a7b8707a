//! Passing over the wish for another protocol. A server may ignore `Upgrade` (RFC 9110, 7.8), and this one does:
//! the request is answered as any other. actix, told of the wish, takes it for granted that somebody fulfils it,
//! says `connection: upgrade` in the answer, and takes what follows for no request. So it is not told.

use actix_web::http::header;

/// The option of `Connection` that goes with `Upgrade`.
const OPTION: &[u8] = b"upgrade";

/// Whether a field says something of another protocol, in a way that actix would heed.
pub fn asks_for_one(name: &str, value: &[u8]) -> bool {
    let is = |field: header::HeaderName| name.eq_ignore_ascii_case(field.as_str());
    match name.len() {
        7 => is(header::UPGRADE),
        10 if is(header::CONNECTION) => value.split(|&byte| byte == b',').any(is_option),
        _ => false,
    }
}

/// Makes spaces of the wish for another protocol in a head, which is whole: of the value of `Upgrade`, and of that
/// option among those of `Connection`, of which the others stay. So nothing changes its place, and an empty element
/// of a list counts for nothing (RFC 9110, 5.6.1). Costs a look at each byte.
pub fn pass_over(head: &mut [u8]) {
    for line in head.split_mut(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at_mut(colon);
        // The line ends with a carriage return, before which it may be empty.
        let [_, value @ .., b'\r'] = value else {
            continue;
        };
        if name.eq_ignore_ascii_case(header::UPGRADE.as_str().as_bytes()) {
            value.fill(b' ');
        } else if name.eq_ignore_ascii_case(header::CONNECTION.as_str().as_bytes()) {
            let options = value.split_mut(|&byte| byte == b',');
            for option in options.filter(|option| is_option(option)) {
                option.fill(b' ');
            }
        }
    }
}

fn is_option(option: &[u8]) -> bool {
    option.trim_ascii().eq_ignore_ascii_case(OPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head with these fields, and the same after the wish has been passed over.
    fn passed_over(fields: &str) -> String {
        let mut head = format!("GET /connection:upgrade HTTP/1.1\r\n{fields}\r\n").into_bytes();
        pass_over(&mut head);
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn the_wish_for_another_protocol_becomes_spaces_and_nothing_else_does() {
        for (said, left) in [
            ("connection: upgrade", "connection:        "),
            ("Connection:UPGRADE", "Connection:       "),
            ("CONNECTION: Upgrade, close", "CONNECTION:        , close"),
            (
                "Connection: keep-alive,\tUpgrade , HTTP2-Settings",
                "Connection: keep-alive,         , HTTP2-Settings",
            ),
            ("Upgrade: h2c, websocket", "Upgrade:               "),
            ("upgrade:", "upgrade:"),
            ("connection: upgraded, x-upgrade, upgrade x", ""),
            ("connection: close", ""),
            ("x-upgrade: websocket", ""),
            ("x: upgrade", ""),
            ("upgrade-insecure-requests: 1", ""),
        ] {
            let left = if left.is_empty() { said } else { left };
            for (before, after) in [("", ""), ("a: b\r\n", "connection: keep-alive\r\n")] {
                let head = passed_over(&format!("{before}{said}\r\n{after}"));
                let expected =
                    format!("GET /connection:upgrade HTTP/1.1\r\n{before}{left}\r\n{after}\r\n");
                assert_eq!(head, expected);
            }
        }
        let several =
            passed_over("connection: upgrade\r\nupgrade: x\r\nConnection: Upgrade, te\r\n");
        assert!(
            !several
                .replacen("upgrade", "", 1)
                .to_lowercase()
                .contains(": upgrade"),
            "{several}"
        );
    }

    #[test]
    fn what_asks_for_another_protocol_is_known_by_its_field() {
        for (name, value) in [
            ("Upgrade", "h2c"),
            ("connection", "close, UPGRADE "),
            ("upgrade", ""),
        ] {
            assert!(asks_for_one(name, value.as_bytes()), "{name}: {value}");
        }
        for (name, value) in [
            ("x", "upgrade"),
            ("connection", "keep-alive"),
            ("connection", "upgrades"),
        ] {
            assert!(!asks_for_one(name, value.as_bytes()), "{name}: {value}");
        }
    }
}
