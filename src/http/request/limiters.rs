//! Limiters that all requests share, and the part of each that one user or one address may have.
//!
//! Whatever is bounded for all together is bounded for each as well: a client that takes as much as it can
//! leaves something to others. A permit is given or refused at once, since a queue for it would be one
//! more thing to fill; and a client that holds none is forgotten, so that a limiter takes memory for
//! holders only.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::dev::RequestHead;

use crate::http::answer::problem::Problem;
use crate::model::UserId;
use crate::model::limits::{self, Part};

/// The limiters of a site.
pub struct Limiters {
    /// Pushes that are under way: each holds a thread.
    pub pushes: Limiter,
    /// Bytes of the bodies that are gathered, beyond a little for each: a thousand clients that stop
    /// half-way must not hold a thousand transactions of 16 MiB.
    pub bodies: Limiter,
    /// Chunk ids of the longer lists that `chunks/get` is answering: a list is in memory for as long as its reader takes.
    pub asked: Limiter,
    /// Clients that wait for another head.
    pub waiters: Limiter,
}

impl Limiters {
    /// Limiters for so many waiters; the others are of the size that [`limits`] says.
    pub fn new(waiters: usize) -> Self {
        Self {
            pushes: Limiter::new("bundle", limits::PUSHES, limits::PUSHES_PART),
            bodies: Limiter::new("large body", limits::GATHERED_BYTES, limits::GATHERED_PART),
            asked: Limiter::new("long list of chunks", limits::ASKED_IDS, limits::ASKED_PART),
            waiters: Limiter::new("client that waits", waiters, limits::WAITERS_PART),
        }
    }
}

/// An address, as far as it tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl From<IpAddr> for Address {
    /// Takes an address of IPv4 whole, and of IPv6 the first half, since any host may have the whole second half.
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

/// The client that asks for a permit, as far as it is known: a connection has no user, and a socket in the
/// file system no address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    /// The user that the request is about.
    pub user: Option<UserId>,
    /// The address that the connection comes from.
    pub address: Option<Address>,
}

impl Who {
    /// The client that sent this request about this user.
    pub fn of(request: &RequestHead, user: Option<UserId>) -> Self {
        Self {
            user,
            address: request.peer_addr.map(|peer| peer.ip().into()),
        }
    }
}

/// A number of permits, of which each client may have a part. To ask for some, and to give them back, costs the
/// same however many clients hold some. A clone is the same limiter.
#[derive(Clone)]
pub struct Limiter(Arc<Bounds>);

struct Bounds {
    /// The thing that a permit is for, for a person.
    what: &'static str,
    size: usize,
    a_user: usize,
    an_address: usize,
    granted: Mutex<Granted>,
}

#[derive(Default)]
struct Granted {
    permits: usize,
    users: Holders<UserId>,
    addresses: Holders<Address>,
}

/// The number of permits of each holder.
struct Holders<K>(HashMap<K, usize>);

impl<K> Default for Holders<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Holders<K> {
    fn may_add(&self, key: Option<K>, permits: usize, most: usize) -> bool {
        key.is_none_or(|key| self.0.get(&key).copied().unwrap_or(0) + permits <= most)
    }

    fn add(&mut self, key: Option<K>, permits: usize) {
        if let Some(key) = key.filter(|_| permits > 0) {
            *self.0.entry(key).or_insert(0) += permits;
        }
    }

    fn remove(&mut self, key: Option<K>, permits: usize) {
        if let Some(key) = key
            && let Some(held) = self.0.get_mut(&key)
        {
            *held -= permits;
            if *held == 0 {
                self.0.remove(&key);
            }
        }
    }
}

/// Some permits of a limiter, held until this is dropped.
pub struct Permit {
    limiter: Limiter,
    who: Who,
    permits: usize,
}

/// The refusal of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    what: &'static str,
    whose: Whose,
}

/// The part that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    All,
    User,
    Address,
}

impl Limiter {
    /// A limiter of this size, of which one user may have this part and one address
    /// [`limits::ADDRESS_PART`]; each may have one permit in any case, if there is one.
    pub fn new(what: &'static str, size: usize, part: Part) -> Self {
        Self(Arc::new(Bounds {
            what,
            size,
            a_user: part.of(size),
            an_address: limits::ADDRESS_PART.of(size),
            granted: Mutex::default(),
        }))
    }

    /// Takes so many permits for this client, at once.
    ///
    /// # Errors
    /// When so many are not free, or are more than the part of this user or address.
    pub fn take(&self, who: Who, permits: usize) -> Result<Permit, Full> {
        let mut permit = Permit {
            limiter: self.clone(),
            who,
            permits: 0,
        };
        permit.widen(permits)?;
        Ok(permit)
    }

    /// The number of permits that are held.
    pub fn taken(&self) -> usize {
        self.granted().permits
    }

    fn granted(&self) -> MutexGuard<'_, Granted> {
        let granted = self.0.granted.lock();
        granted.expect("no code panics while it holds this")
    }
}

impl Permit {
    /// Takes so many permits more, for the same client.
    ///
    /// # Errors
    /// Those of [`Limiter::take`]; then it stays as it is.
    pub fn widen(&mut self, permits: usize) -> Result<(), Full> {
        let Bounds {
            what,
            size,
            a_user,
            an_address,
            ..
        } = *self.limiter.0;
        let full = |whose| Err(Full { what, whose });
        let Who { user, address } = self.who;
        let mut granted = self.limiter.granted();
        if !granted.users.may_add(user, permits, a_user) {
            return full(Whose::User);
        }
        if !granted.addresses.may_add(address, permits, an_address) {
            return full(Whose::Address);
        }
        if granted.permits + permits > size {
            return full(Whose::All);
        }
        granted.permits += permits;
        granted.users.add(user, permits);
        granted.addresses.add(address, permits);
        self.permits += permits;
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut granted = self.limiter.granted();
        granted.permits -= self.permits;
        granted.users.remove(self.who.user, self.permits);
        granted.addresses.remove(self.who.address, self.permits);
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

    /// The permits that this client gets, one by one, and what stops it.
    fn fill(limiter: &Limiter, who: Who) -> (Vec<Permit>, Whose) {
        let mut permits = Vec::new();
        loop {
            match limiter.take(who, 1) {
                Ok(permit) => permits.push(permit),
                Err(full) => return (permits, full.whose),
            }
        }
    }

    const HERE: [u8; 4] = [10, 0, 0, 1];
    const THERE: [u8; 4] = [10, 0, 0, 2];

    #[test]
    fn one_user_and_one_address_leave_something_to_others() {
        let limiter = Limiter::new("permit", 16, HALF);
        let (ada, why) = fill(&limiter, who(1, HERE));
        assert_eq!((ada.len(), why), (8, Whose::User));
        let (bob, why) = fill(&limiter, who(2, HERE));
        assert_eq!((bob.len(), why), (4, Whose::Address));
        // The user is the same one wherever it comes from.
        let (elsewhere, why) = fill(&limiter, who(1, THERE));
        assert_eq!((elsewhere.len(), why), (0, Whose::User));
        let (eve, why) = fill(&limiter, who(3, THERE));
        assert_eq!((eve.len(), why), (4, Whose::All));
        drop(ada);
        assert_eq!(fill(&limiter, who(2, HERE)).0.len(), 4);
    }

    #[test]
    fn who_has_no_user_or_no_address_has_no_part_of_its_own() {
        let limiter = Limiter::new("permit", 16, HALF);
        let (all, why) = fill(&limiter, Who::default());
        assert_eq!((all.len(), why), (16, Whose::All));
        drop(all);
        let mut socket = who(1, HERE);
        socket.address = None;
        assert_eq!(fill(&limiter, socket).0.len(), 8);
    }

    #[test]
    fn a_small_limiter_has_a_permit_for_one() {
        for (size, part, users, addresses) in [
            (1, Part(1, 4), 1, 1),
            (2, Part(1, 4), 1, 2),
            (3, HALF, 2, 3),
            (4, Part(1, 4), 1, 3),
            (5, Part(1, 4), 2, 4),
            (10, HALF, 5, 8),
        ] {
            let limiter = Limiter::new("permit", size, part);
            assert_eq!(fill(&limiter, who(1, HERE)).0.len(), users, "of {size}");
            let mut nobody = who(1, HERE);
            nobody.user = None;
            assert_eq!(fill(&limiter, nobody).0.len(), addresses, "of {size}");
        }
        assert!(
            Limiter::new("permit", 0, HALF)
                .take(Who::default(), 1)
                .is_err()
        );
    }

    #[test]
    fn a_permit_that_cannot_be_widened_stays_as_it_is() {
        let limiter = Limiter::new("permit", 16, HALF);
        let mut permit = limiter.take(who(1, HERE), 3).unwrap();
        permit.widen(5).unwrap();
        assert!(permit.widen(1).is_err());
        assert!(limiter.take(who(1, HERE), 1).is_err());
        assert!(limiter.take(who(2, HERE), 5).is_err());
        assert!(limiter.take(who(2, HERE), 4).is_ok());
        drop(permit);
        assert!(limiter.take(who(1, HERE), 8).is_ok());
    }

    #[test]
    fn whoever_has_left_is_forgotten() {
        let limiter = Limiter::new("permit", 16, HALF);
        for user in 0..100 {
            let refused = limiter.take(who(user, [10, 0, 0, user]), 17);
            assert!(refused.is_err());
            drop(limiter.take(who(user, [10, 0, 0, user]), 0).unwrap());
            drop(limiter.take(who(user, [10, 0, 0, user]), 2).unwrap());
        }
        let granted = limiter.granted();
        assert_eq!(granted.permits, 0);
        assert!(granted.users.0.is_empty() && granted.addresses.0.is_empty());
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
