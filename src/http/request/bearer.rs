//! `Authorization: Bearer`, which says a user where the path has `-`: so no proxy's log ever holds the id.

use actix_web::http::header::{self, HeaderMap};

use crate::model::UserId;
use crate::wire::Miss;

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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    const USER: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

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
