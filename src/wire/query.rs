//! The query after the `?`, read strictly: a parameter that is known is right or refused.

use std::time::Duration;

use crate::model::{MalformedId, TransactionId, limits};

/// Why a query was refused. The words are for a person, and quote nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadQuery {
    /// A parameter stands there twice.
    Repeated(&'static str),
    /// `limit` is no number, or out of its bounds.
    Limit,
    /// The `limit` of a bundle is no number, or out of its bounds.
    BundleLimit,
    /// `chunks` is something else than `none`.
    Chunks,
    /// `last` is no number, or out of its bounds.
    Last,
    /// `last` beside `from` or `limit`.
    LastBesideOthers,
    /// `to` comes before `from`.
    ToBeforeFrom,
    /// `wait` is no number of seconds, or too many.
    Wait,
    /// `from` is not spelled as ids are.
    Id(MalformedId),
}

/// The parameters of `GET …/transactions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListingQuery {
    /// The list starts after this one.
    pub from: TransactionId,
    /// At most so many.
    pub limit: u64,
}

impl ListingQuery {
    /// Reads a query string, which is never percent-decoded: no value that is right needs it.
    /// Parameters of other names are somebody else's and ignored.
    pub fn parse(query: Option<&str>) -> Result<Self, BadQuery> {
        let query = query.unwrap_or_default();
        let from = single(query, "from")?;
        let limit = single(query, "limit")?;
        Ok(Self {
            from: from.map_or(Ok(TransactionId::ROOT), |text| {
                text.parse().map_err(BadQuery::Id)
            })?,
            limit: limit.map_or(Ok(limits::LISTING), |text| {
                number(text)
                    .filter(|limit| (1..=limits::LISTING).contains(limit))
                    .ok_or(BadQuery::Limit)
            })?,
        })
    }
}

/// The parameters of `GET …/transactions?last=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestQuery {
    /// The number of them, or as many as there are.
    pub last: u64,
    /// The newest of them; HEAD if none is named.
    pub to: Option<TransactionId>,
}

impl NewestQuery {
    /// Reads a query string as [`ListingQuery::parse`] does; `None` where it asks for no newest ones.
    pub fn parse(query: Option<&str>) -> Result<Option<Self>, BadQuery> {
        let query = query.unwrap_or_default();
        let Some(last) = single(query, "last")? else {
            return Ok(None);
        };
        let to = single(query, "to")?;
        if single(query, "from")?.is_some() || single(query, "limit")?.is_some() {
            return Err(BadQuery::LastBesideOthers);
        }
        let last = number(last).filter(|last| (1..=limits::LISTING).contains(last));
        Ok(Some(Self {
            last: last.ok_or(BadQuery::Last)?,
            to: match to {
                Some(text) => Some(text.parse().map_err(BadQuery::Id)?),
                None => None,
            },
        }))
    }
}

/// The parameters of `GET …/bundle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleQuery {
    /// The last transaction before the bundle.
    pub from: TransactionId,
    /// The last transaction in the bundle; HEAD if there is none.
    pub to: Option<TransactionId>,
    /// Transactions that it may have at most.
    pub limit: u64,
    /// With the chunks; without them (`chunks=none`) it is the transactions and HEAD alone.
    pub chunks: bool,
}

impl BundleQuery {
    /// Reads a query string as [`ListingQuery::parse`] does.
    pub fn parse(query: Option<&str>) -> Result<Self, BadQuery> {
        let query = query.unwrap_or_default();
        let id = |name| match single(query, name)? {
            Some(text) => text.parse().map(Some).map_err(BadQuery::Id),
            None => Ok(None),
        };
        let limit = single(query, "limit")?;
        Ok(Self {
            from: id("from")?.unwrap_or(TransactionId::ROOT),
            to: id("to")?,
            limit: limit.map_or(Ok(limits::BUNDLE_TRANSACTIONS), |text| {
                number(text)
                    .filter(|limit| (1..=limits::BUNDLE_TRANSACTIONS).contains(limit))
                    .ok_or(BadQuery::BundleLimit)
            })?,
            chunks: match single(query, "chunks")? {
                None => true,
                Some("none") => false,
                Some(_) => return Err(BadQuery::Chunks),
            },
        })
    }
}

/// Reads the `wait` of `GET …/head`: whole seconds, at most [`limits::LONGEST_WAIT`]; none are zero.
pub fn parse_wait(query: Option<&str>) -> Result<Duration, BadQuery> {
    let Some(text) = single(query.unwrap_or_default(), "wait")? else {
        return Ok(Duration::ZERO);
    };
    number(text)
        .map(Duration::from_secs)
        .filter(|wait| *wait <= limits::LONGEST_WAIT)
        .ok_or(BadQuery::Wait)
}

/// The value of a parameter that may stand there once.
fn single<'a>(query: &'a str, name: &'static str) -> Result<Option<&'a str>, BadQuery> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    });
    let value = values.next();
    if values.next().is_some() {
        return Err(BadQuery::Repeated(name));
    }
    Ok(value)
}

/// Digits and nothing else; Rust's own parser would also take a `+`.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    #[test]
    fn the_newest_are_asked_for_by_their_number_alone() {
        let parse = |query: &str| NewestQuery::parse(Some(query));
        let to = Some(ID.parse().unwrap());
        assert_eq!(parse("last=3"), Ok(Some(NewestQuery { last: 3, to: None })));
        let both = format!("to={ID}&last=1000000");
        let most = NewestQuery {
            last: limits::LISTING,
            to,
        };
        assert_eq!(parse(&both), Ok(Some(most)));
        assert_eq!(parse("limit=3"), Ok(None));
        for bad in ["last=", "last=0", "last=-1", "last=1000001", "last=x"] {
            assert_eq!(parse(bad), Err(BadQuery::Last), "{bad}");
        }
        for beside in ["limit=1".to_owned(), format!("from={ID}")] {
            let query = format!("last=1&{beside}");
            assert_eq!(parse(&query), Err(BadQuery::LastBesideOthers), "{query}");
        }
        assert_eq!(parse("last=1&last=1"), Err(BadQuery::Repeated("last")));
        assert!(matches!(parse("last=1&to=x"), Err(BadQuery::Id(_))));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let all = ListingQuery {
            from: TransactionId::ROOT,
            limit: limits::LISTING,
        };
        for query in [
            None,
            Some(""),
            Some("&&"),
            Some("x=1&y=%20"),
            Some("fro=1&limits=0"),
        ] {
            assert_eq!(ListingQuery::parse(query), Ok(all), "{query:?}");
        }
        let both = ListingQuery::parse(Some(&format!("limit=7&from={ID}"))).unwrap();
        assert_eq!((both.from.to_string().as_str(), both.limit), (ID, 7));
        assert_eq!(ListingQuery::parse(Some("limit=1000000")), Ok(all));
    }

    #[test]
    fn a_bundle_is_from_one_to_another() {
        let query = BundleQuery::parse(Some(&format!("to={ID}"))).unwrap();
        assert_eq!(query.from, TransactionId::ROOT);
        assert_eq!(query.to, Some(ID.parse().unwrap()));
        assert_eq!(query.limit, 100_000);
        assert_eq!(BundleQuery::parse(None).unwrap().to, None);
        for (query, chunks) in [(None, true), (Some("limit=1&chunks=none"), false)] {
            assert_eq!(BundleQuery::parse(query).unwrap().chunks, chunks);
        }
        for (query, bad) in [
            ("limit=0", BadQuery::BundleLimit),
            ("limit=100001", BadQuery::BundleLimit),
            ("to=x&to=x", BadQuery::Repeated("to")),
            ("chunks", BadQuery::Chunks),
            ("chunks=", BadQuery::Chunks),
            ("chunks=all", BadQuery::Chunks),
            ("chunks=None", BadQuery::Chunks),
            ("chunks=none,", BadQuery::Chunks),
            ("chunks=none&chunks=none", BadQuery::Repeated("chunks")),
        ] {
            assert_eq!(BundleQuery::parse(Some(query)), Err(bad), "{query}");
        }
        for query in ["to=", "from=x", "to=HEAD"] {
            let result = BundleQuery::parse(Some(query));
            assert!(matches!(result, Err(BadQuery::Id(_))), "{query}");
        }
    }

    #[test]
    fn a_limit_is_a_number_within_its_bounds() {
        for limit in [
            "",
            "0",
            "1000001",
            "-1",
            "+1",
            " 1",
            "1.0",
            "1e3",
            "x",
            "%31",
            "99999999999999999999",
        ] {
            let query = format!("limit={limit}");
            assert_eq!(
                ListingQuery::parse(Some(&query)),
                Err(BadQuery::Limit),
                "{query}"
            );
        }
        assert_eq!(ListingQuery::parse(Some("limit")), Err(BadQuery::Limit));
    }

    #[test]
    fn a_parameter_stands_there_once() {
        for (query, name) in [
            (format!("from={ID}&from={ID}"), "from"),
            ("limit=1&x&limit=1".to_owned(), "limit"),
        ] {
            assert_eq!(
                ListingQuery::parse(Some(&query)),
                Err(BadQuery::Repeated(name))
            );
        }
    }

    #[test]
    fn from_is_an_id() {
        for from in ["", "x", &ID.to_uppercase(), &ID.replace('-', "%2d")] {
            let query = format!("from={from}");
            assert!(
                matches!(ListingQuery::parse(Some(&query)), Err(BadQuery::Id(_))),
                "{query}"
            );
        }
    }

    #[test]
    fn a_wait_is_whole_seconds_within_bounds() {
        for (query, wait) in [
            (None, Ok(0)),
            (Some("wait=0"), Ok(0)),
            (Some("x=1&wait=300"), Ok(300)),
            (Some("wait=301"), Err(BadQuery::Wait)),
            (Some("wait="), Err(BadQuery::Wait)),
            (Some("wait=1.5"), Err(BadQuery::Wait)),
            (Some("wait=-1"), Err(BadQuery::Wait)),
            (Some("wait=1&wait=1"), Err(BadQuery::Repeated("wait"))),
        ] {
            assert_eq!(
                parse_wait(query),
                wait.map(Duration::from_secs),
                "{query:?}"
            );
        }
    }
}
