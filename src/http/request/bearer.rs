//! `Authorization: Bearer`, which says a user where the path has `-`: so no proxy's log ever holds the id.

use actix_web::http::header::{self, HeaderMap};

use crate::model::UserId;
use crate::wire::Miss;
use crate::wire::taskchampion::{CLIENT_ID, id};

/// The scheme of RFC 6750, in any case.
const SCHEME: &[u8] = b"bearer";

/// The user that these headers name.
///
/// # Errors
/// [`Miss::NoUser`] where they have no `Authorization`, or one of another scheme; [`Miss::MalformedId`] where
/// what it says is no id in its one spelling, or it stands there twice.
pub fn bearer(headers: &HeaderMap) -> Result<UserId, Miss> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let value = values.next().ok_or(Miss::NoUser)?.as_bytes();
    let end = value.iter().position(|&byte| byte == b' ');
    let (scheme, rest) = value.split_at(end.unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Miss::NoUser);
    }
    let said = match values.next() {
        None => str::from_utf8(rest).unwrap_or_default().trim_matches(' '),
        // Which of them counts nobody can say.
        Some(_) => "",
    };
    Ok(said.parse()?)
}

/// The user whom TaskChampion's client names, in a header of its own; or, as for any path that names none, in
/// `Authorization`, which is not looked at where there is the other. In its own header the id may be in either case.
///
/// # Errors
/// [`Miss::NoClient`] where nobody is named; [`Miss::MalformedId`] where the header is no id with hyphens, or
/// stands there twice.
pub fn client(headers: &HeaderMap) -> Result<UserId, Miss> {
    let mut values = headers.get_all(CLIENT_ID);
    let Some(value) = values.next() else {
        return match bearer(headers) {
            Err(Miss::NoUser) => Err(Miss::NoClient),
            other => other,
        };
    };
    let said = match values.next() {
        None => value.to_str().unwrap_or_default(),
        Some(_) => "",
    };
    Ok(id(said)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    const USER: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    #[test]
    fn a_client_says_its_id_in_a_header_of_its_own_or_as_anybody_may() {
        let said = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                let name = header::HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            client(&headers)
        };
        let bearer = format!("Bearer {USER}");
        let upper = USER.to_uppercase();
        for pairs in [
            &[(CLIENT_ID, USER)][..],
            &[(CLIENT_ID, &upper)],
            &[(CLIENT_ID, USER), ("authorization", "Basic YTpi")],
            &[(CLIENT_ID, USER), ("authorization", "Bearer x")],
            &[("authorization", &bearer)],
        ] {
            assert_eq!(said(pairs), Ok(USER.parse().unwrap()), "{pairs:?}");
        }
        for pairs in [&[][..], &[("authorization", "Basic YTpi")]] {
            assert_eq!(said(pairs), Err(Miss::NoClient));
        }
        for pairs in [
            &[(CLIENT_ID, "")][..],
            &[(CLIENT_ID, &USER.replace('-', ""))],
            &[(CLIENT_ID, &format!("{{{USER}}}"))],
            &[(CLIENT_ID, USER), (CLIENT_ID, USER)],
            &[(CLIENT_ID, "x"), ("authorization", &bearer)],
            &[("authorization", "Bearer x")],
        ] {
            let read = said(pairs);
            assert!(matches!(read, Err(Miss::MalformedId(_))), "{pairs:?}");
        }
    }

    fn of(values: &[&str]) -> Result<UserId, Miss> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(header::AUTHORIZATION, value);
        }
        bearer(&headers)
    }

    #[test]
    fn the_scheme_may_be_spelt_in_any_case_and_the_id_in_one() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(
                of(&[&format!("{scheme} {USER}")]),
                Ok(USER.parse().unwrap())
            );
        }
        assert_eq!(
            of(&[&format!("Bearer   {USER}")]),
            Ok(USER.parse().unwrap())
        );
        let upper = USER.to_uppercase();
        for malformed in ["Bearer", "Bearer ", "Bearer x", &format!("Bearer {upper}")] {
            assert!(
                matches!(of(&[malformed]), Err(Miss::MalformedId(_))),
                "{malformed}"
            );
        }
        let twice = format!("Bearer {USER}");
        assert!(matches!(of(&[&twice, &twice]), Err(Miss::MalformedId(_))));
        for other in [&[][..], &["Basic YTpi"], &[USER], &["Bearerx y"], &[""]] {
            assert_eq!(of(other), Err(Miss::NoUser), "{other:?}");
        }
    }
}
