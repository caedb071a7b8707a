//! Ids in JSON: strings, in the one spelling that `model` reads and prints.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use crate::model::MalformedId;

/// An id that may be malformed: JSON that is well formed apart from that is told from JSON that is not.
pub struct Spelled<T>(pub Result<T, MalformedId>);

impl<'de, T: FromStr<Err = MalformedId>> Deserialize<'de> for Spelled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromStr<Err = MalformedId>> Visitor<'_> for Text<T> {
            type Value = Spelled<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Spelled<T>, E> {
                Ok(Spelled(text.parse()))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// A list of at most `MOST` ids. What comes beyond is read but not kept: a body of nothing but
/// commas must not cost many times its length.
pub enum SpelledList<T, const MOST: usize> {
    All(Vec<T>),
    /// The first that is malformed.
    Malformed(MalformedId),
    TooLong,
}

impl<'de, T: FromStr<Err = MalformedId>, const MOST: usize> Deserialize<'de>
    for SpelledList<T, MOST>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: FromStr<Err = MalformedId>, const MOST: usize> Visitor<'de> for List<T, MOST> {
            type Value = SpelledList<T, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of ids")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut read = SpelledList::All(Vec::new());
                while let Some(Spelled(id)) = list.next_element::<Spelled<T>>()? {
                    match (&mut read, id) {
                        (SpelledList::All(ids), _) if ids.len() == MOST => {
                            read = SpelledList::TooLong;
                        }
                        (SpelledList::All(ids), Ok(id)) => ids.push(id),
                        (SpelledList::All(_), Err(malformed)) => {
                            read = SpelledList::Malformed(malformed);
                        }
                        _ => {}
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// One id, for `#[serde(with)]`.
pub mod id {
    use super::{Deserialize, Deserializer, FromStr, MalformedId, Serializer, Spelled, de, fmt};

    /// Writes an id as text.
    pub fn serialize<T: fmt::Display, S: Serializer>(id: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }

    /// Reads an id. Fails where it is not spelled as ids are.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err = MalformedId>,
        D: Deserializer<'de>,
    {
        let Spelled(id) = Spelled::deserialize(deserializer)?;
        id.map_err(de::Error::custom)
    }
}

/// An id or null, for `#[serde(with)]`.
pub mod optional_id {
    use super::{Deserialize, Deserializer, FromStr, MalformedId, Serializer, Spelled, de, fmt};

    /// Writes an id as text, or null.
    pub fn serialize<T, S>(id: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: fmt::Display,
        S: Serializer,
    {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    /// Reads an id or null. Fails where an id is not spelled as ids are.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err = MalformedId>,
        D: Deserializer<'de>,
    {
        match Option::<Spelled<T>>::deserialize(deserializer)? {
            Some(Spelled(id)) => id.map(Some).map_err(de::Error::custom),
            None => Ok(None),
        }
    }
}

struct Shown<'a, T>(&'a T);

impl<T: fmt::Display> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// A list of ids, for `#[serde(with)]`.
pub mod ids {
    use super::{Deserialize, Deserializer, FromStr, MalformedId, SerializeSeq, Serializer, Shown};
    use super::{Spelled, de, fmt};

    /// Writes a list of ids.
    pub fn serialize<T, S>(ids: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        T: fmt::Display,
        S: Serializer,
    {
        let mut list = serializer.serialize_seq(Some(ids.len()))?;
        for id in ids {
            list.serialize_element(&Shown(id))?;
        }
        list.end()
    }

    /// Reads a list of ids. Fails where one is not spelled as ids are.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err = MalformedId>,
        D: Deserializer<'de>,
    {
        let list = Vec::<Spelled<T>>::deserialize(deserializer)?;
        let list = list
            .into_iter()
            .map(|Spelled(id)| id)
            .collect::<Result<_, _>>();
        list.map_err(de::Error::custom)
    }
}

/// A list of ids that is left out where there is none, for `#[serde(with)]`.
pub mod optional_ids {
    use super::{Deserializer, FromStr, MalformedId, Serializer, fmt};

    /// Writes a list of ids. Not called where there is none.
    pub fn serialize<T, S>(list: &Option<Vec<T>>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: fmt::Display,
        S: Serializer,
    {
        super::ids::serialize(list.as_deref().unwrap_or_default(), serializer)
    }

    /// Reads a list of ids, if there is one. Fails where an id is not spelled as ids are.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
    where
        T: FromStr<Err = MalformedId>,
        D: Deserializer<'de>,
    {
        super::ids::deserialize(deserializer).map(Some)
    }
}
