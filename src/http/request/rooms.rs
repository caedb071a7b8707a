//! Rooms that all share, and the part of each that one user or one address may have.
//!
//! Whatever is bounded for all together is bounded for each as well: whoever takes all that is to be had
//! leaves something to others. A place is given or refused at once, since a queue for it would be one
//! more thing to fill; and who has left the room is forgotten, so that it takes memory for those only
//! who have something of it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::dev::RequestHead;

use crate::http::answer::problem::Problem;
use crate::model::UserId;
use crate::model::limits::{self, Part};

/// The rooms of a site.
pub struct Rooms {
    /// Pushes that are under way: each holds a thread.
    pub pushes: Room,
    /// Bytes of the bodies that are gathered, beyond a little for each: a thousand clients that stop
    /// half-way must not hold a thousand transactions of 16 MiB.
    pub bodies: Room,
    /// Clients that wait for another head.
    pub waiters: Room,
}

impl Rooms {
    /// With so many waiters; the others are of the size that [`limits`] says.
    pub fn new(waiters: usize) -> Self {
        Self {
            pushes: Room::new("bundle", limits::PUSHES, limits::PUSHES_PART),
            bodies: Room::new("large body", limits::GATHERED_BYTES, limits::GATHERED_PART),
            waiters: Room::new("client that waits", waiters, limits::WAITERS_PART),
        }
    }
}

/// An address, as far as it tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl From<IpAddr> for Address {
    /// The first half of one of IPv6, of which any host may have the whole second half.
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(long) => {
                let [a, b, c, d, ..] = long.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            short => short,
        })
    }
}

/// Who asks for a place, as far as it is known: a connection has no user, and a socket in the file
/// system no address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    pub user: Option<UserId>,
    pub address: Option<Address>,
}

impl Who {
    /// Whoever sent this request about this user.
    pub fn of(request: &RequestHead, user: Option<UserId>) -> Self {
        Self {
            user,
            address: request.peer_addr.map(|peer| peer.ip().into()),
        }
    }
}

/// So many places, some for each. To ask for them, and to give them back, costs the same however many
/// have some.
#[derive(Clone)]
pub struct Room(Arc<Shared>);

struct Shared {
    /// What a place is for.
    what: &'static str,
    size: usize,
    a_user: usize,
    an_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    places: usize,
    users: Holders<UserId>,
    addresses: Holders<Address>,
}

/// How many places each has who has any.
struct Holders<K>(HashMap<K, usize>);

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Holders<K> {
    fn may_add(&self, key: Option<K>, places: usize, most: usize) -> bool {
        key.is_none_or(|key| self.0.get(&key).copied().unwrap_or(0) + places <= most)
    }

    fn add(&mut self, key: Option<K>, places: usize) {
        if let Some(key) = key.filter(|_| places > 0) {
            *self.0.entry(key).or_insert(0) += places;
        }
    }

    fn remove(&mut self, key: Option<K>, places: usize) {
        if let Some(key) = key
            && let Some(held) = self.0.get_mut(&key)
        {
            *held -= places;
            if *held == 0 {
                self.0.remove(&key);
            }
        }
    }
}

/// Some places of a room, held until it is dropped.
pub struct Place {
    room: Room,
    who: Who,
    places: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    what: &'static str,
    whose: Whose,
}

/// Whose part is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    All,
    User,
    Address,
}

impl Room {
    /// A room of this size, of which one user may have this part and one address
    /// [`limits::ADDRESS_PART`]; each may have one place in any case, if there is one.
    pub fn new(what: &'static str, size: usize, part: Part) -> Self {
        Self(Arc::new(Shared {
            what,
            size,
            a_user: part.of(size),
            an_address: limits::ADDRESS_PART.of(size),
            taken: Mutex::default(),
        }))
    }

    /// So many places, if they are free, and within the part of who asks.
    pub fn take(&self, who: Who, places: usize) -> Result<Place, Full> {
        let mut place = Place {
            room: self.clone(),
            who,
            places: 0,
        };
        place.widen(places)?;
        Ok(place)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        let taken = self.0.taken.lock();
        taken.expect("no code panics while it holds this")
    }
}

impl Place {
    /// So many places more, on the same terms; without them it stays as it is.
    pub fn widen(&mut self, places: usize) -> Result<(), Full> {
        let Shared {
            what,
            size,
            a_user,
            an_address,
            ..
        } = *self.room.0;
        let full = |whose| Err(Full { what, whose });
        let Who { user, address } = self.who;
        let mut taken = self.room.taken();
        if !taken.users.may_add(user, places, a_user) {
            return full(Whose::User);
        }
        if !taken.addresses.may_add(address, places, an_address) {
            return full(Whose::Address);
        }
        if taken.places + places > size {
            return full(Whose::All);
        }
        taken.places += places;
        taken.users.add(user, places);
        taken.addresses.add(address, places);
        self.places += places;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.places -= self.places;
        taken.users.remove(self.who.user, self.places);
        taken.addresses.remove(self.who.address, self.places);
    }
}

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.whose {
            Whose::All => "all of it is taken",
            Whose::User => "this user has the part that one user may have",
            Whose::Address => "this address has the part that one address may have",
        };
        write!(formatter, "no room for one more {} now: {whose}", self.what)
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        Problem::busy(full.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Part = Part(1, 2);

    fn who(user: u8, address: [u8; 4]) -> Who {
        Who {
            user: Some(UserId::from_bytes([user; 16])),
            address: Some(IpAddr::from(address).into()),
        }
    }

    /// How many places this one gets, one by one, and what stops it.
    fn fill(room: &Room, who: Who) -> (Vec<Place>, Whose) {
        let mut places = Vec::new();
        loop {
            match room.take(who, 1) {
                Ok(place) => places.push(place),
                Err(full) => return (places, full.whose),
            }
        }
    }

    const HERE: [u8; 4] = [10, 0, 0, 1];
    const THERE: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn one_user_and_one_address_leave_something_to_others() {
        let room = Room::new("place", 16, HALF);
        let (ada, why) = fill(&room, who(1, HERE));
        assert_eq!((ada.len(), why), (8, Whose::User));
        let (bob, why) = fill(&room, who(2, HERE));
        assert_eq!((bob.len(), why), (4, Whose::Address));
        // The user is the same one wherever it comes from.
        let (elsewhere, why) = fill(&room, who(1, THERE));
        assert_eq!((elsewhere.len(), why), (0, Whose::User));
        let (eve, why) = fill(&room, who(3, THERE));
        assert_eq!((eve.len(), why), (4, Whose::All));
        drop(ada);
        assert_eq!(fill(&room, who(2, HERE)).0.len(), 4);
    }

    #[test]
    fn who_has_no_user_or_no_address_has_no_part_of_its_own() {
        let room = Room::new("place", 16, HALF);
        let (all, why) = fill(&room, Who::default());
        assert_eq!((all.len(), why), (16, Whose::All));
        drop(all);
        let mut socket = who(1, HERE);
        socket.address = None;
        assert_eq!(fill(&room, socket).0.len(), 8);
    }

    #[test]
    fn a_small_room_has_a_place_for_one() {
        for (size, part, users, addresses) in [
            (1, Part(1, 4), 1, 1),
            (2, Part(1, 4), 1, 2),
            (3, HALF, 2, 3),
            (4, Part(1, 4), 1, 3),
            (5, Part(1, 4), 2, 4),
            (10, HALF, 5, 8),
        ] {
            let room = Room::new("place", size, part);
            assert_eq!(fill(&room, who(1, HERE)).0.len(), users, "of {size}");
            let mut nobody = who(1, HERE);
            nobody.user = None;
            assert_eq!(fill(&room, nobody).0.len(), addresses, "of {size}");
        }
        assert!(Room::new("place", 0, HALF).take(Who::default(), 1).is_err());
    }

    #[test]
    fn a_place_that_cannot_be_widened_stays_as_it_is() {
        let room = Room::new("place", 16, HALF);
        let mut place = room.take(who(1, HERE), 3).unwrap();
        place.widen(5).unwrap();
        assert!(place.widen(1).is_err());
        assert!(room.take(who(1, HERE), 1).is_err());
        assert!(room.take(who(2, HERE), 5).is_err());
        assert!(room.take(who(2, HERE), 4).is_ok());
        drop(place);
        assert!(room.take(who(1, HERE), 8).is_ok());
    }

    #[test]
    fn whoever_has_left_is_forgotten() {
        let room = Room::new("place", 16, HALF);
        for user in 0..100 {
            let refused = room.take(who(user, [10, 0, 0, user]), 17);
            assert!(refused.is_err());
            drop(room.take(who(user, [10, 0, 0, user]), 0).unwrap());
            drop(room.take(who(user, [10, 0, 0, user]), 2).unwrap());
        }
        let taken = room.taken();
        assert_eq!(taken.places, 0);
        assert!(taken.users.0.is_empty() && taken.addresses.0.is_empty());
    }

    #[test]
    fn a_host_is_one_address_however_it_is_written() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(address("2001:db8:1:2::3"), address("2001:db8:1:2:ff::4"));
        assert_ne!(address("2001:db8:1:2::3"), address("2001:db8:1:3::3"));
    }
}
