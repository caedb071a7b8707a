//! Shards: which users a box among several is for, by the first hex digits of their ids.

use std::str::FromStr;

use super::UserId;

/// The most digits that a bound has: as many as stand before the first hyphen of an id.
const MOST_DIGITS: usize = 8;

/// The users that one box is for: ranges of first hex digits, such as `0-5` or `00-7f,c0` (DESIGN, More than one box).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    digits: usize,
    /// The first and the last of each range; both are in it.
    ranges: Vec<(u32, u32)>,
}

impl Shard {
    /// Whether this box is for the user.
    pub fn has(&self, user: &UserId) -> bool {
        let [a, b, c, d, ..] = *user.as_bytes();
        let first = u32::from_be_bytes([a, b, c, d]) >> (4 * (MOST_DIGITS - self.digits));
        (self.ranges.iter()).any(|&(from, to)| (from..=to).contains(&first))
    }

    /// The id with first digits that this box is for; by chance a digit is as good as another, so they are drawn from the
    /// digits that the id has. One that is in already stays as it is.
    pub fn bring_in(&self, id: UserId) -> UserId {
        let mut bytes = *id.as_bytes();
        let [a, b, c, d, ..] = bytes;
        let first = u32::from_be_bytes([a, b, c, d]);
        let bits = 4 * (MOST_DIGITS - self.digits);
        let of = usize::try_from(first).unwrap_or_default() % self.ranges.len();
        let (from, to) = self.ranges[of];
        let digits = match self.has(&id) {
            true => first >> bits,
            false => from + (first >> bits) % (to - from + 1),
        };
        let below = first & ((1_u64 << bits) - 1) as u32;
        bytes[..4].copy_from_slice(&(digits << bits | below).to_be_bytes());
        UserId::from_bytes(bytes)
    }
}

/// The text names no users by their first digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedShard {
    #[error("{0:?} is no hex digits in lower case, 1 to {MOST_DIGITS} (such as 0-5 or 00-7f,c0)")]
    NoDigits(String),
    #[error("all bounds have equally many digits (such as 0-5 or 00-7f,c0), and {0:?} has others")]
    OtherLength(String),
    #[error("{0:?} ends before it begins")]
    Backwards(String),
}

impl FromStr for Shard {
    type Err = MalformedShard;

    fn from_str(text: &str) -> Result<Self, MalformedShard> {
        let digits = text.split([',', '-']).next().unwrap_or_default().len();
        let bound = |bound: &str| {
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if !(1..=MOST_DIGITS).contains(&bound.len()) || !bound.bytes().all(is_hex) {
                return Err(MalformedShard::NoDigits(bound.to_owned()));
            }
            if bound.len() != digits {
                return Err(MalformedShard::OtherLength(bound.to_owned()));
            }
            u32::from_str_radix(bound, 16).map_err(|_| MalformedShard::NoDigits(bound.to_owned()))
        };
        let range = |range: &str| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            match (bound(from)?, bound(to)?) {
                (from, to) if from <= to => Ok((from, to)),
                _ => Err(MalformedShard::Backwards(range.to_owned())),
            }
        };
        let ranges = text.split(',').map(range).collect::<Result<_, _>>()?;
        Ok(Self { digits, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_the_users_whose_first_digits_are_in_one_of_its_ranges() {
        let user = |first: &str| {
            format!("{first}-10b1-426f-9247-bb680e5fe0c8")
                .parse()
                .unwrap()
        };
        let table = [
            ("0-5", "00000000 5fffffff", "60000000 ffffffff"),
            (
                "00-7f,c0",
                "00000000 7fffffff c0ffffff",
                "80000000 bfffffff c1000000",
            ),
            ("f", "f0000000 ffffffff", "efffffff 0f000000"),
            ("0-f", "00000000 ffffffff", ""),
            (
                "00000001-00000002",
                "00000001 00000002",
                "00000000 00000003",
            ),
        ];
        for (text, inside, outside) in table {
            let shard: Shard = text.parse().unwrap();
            for first in inside.split_whitespace() {
                assert!(shard.has(&user(first)), "{text}: {first}");
            }
            for first in outside.split_whitespace() {
                assert!(!shard.has(&user(first)), "{text}: {first}");
            }
        }
    }

    #[test]
    fn a_range_has_bounds_of_equal_lengths_in_lower_case_and_in_order() {
        for bad in [
            "",
            ",",
            "-",
            "0-",
            "-5",
            "0-5,",
            ",0-5",
            "5-0",
            "0-05",
            "00-7f,c",
            "A-F",
            "0-F",
            "g",
            "0-5-7",
            " 0-5",
            "0 - 5",
            "0x0-0x5",
            "+1",
            "000000000",
            "0-5, 7",
            "é",
            "0–5",
        ] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
