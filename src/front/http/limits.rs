//! How much one client may do: requests, new event streams, connections, calls in flight.
//!
//! What is known of an address is found once a connection and carried by it. Clients on this machine are limited by
//! what is set only: the defaults are for those who come over a network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::{Principal, Rate, Window};
use crate::config::ClientLimits;
use crate::rpc::RpcError;
use crate::rpc::error::code;

/// Addresses that are known at once; beyond it those without a connection are forgotten, and nobody new is known.
const N_ADDRESSES_MAX: usize = 16_384;
/// Bits of an address of the new kind that one customer has (RFC 6177): clients choose the rest as they like.
const V6_BITS: u32 = 64;

const REQUESTS: Rate = Rate {
    n: 6_000,
    per: Duration::from_secs(60),
};
const STREAMS: Rate = Rate {
    n: 20,
    per: Duration::from_secs(1),
};
/// Keys that do not open, from an address of another machine.
const WRONG_KEYS: Rate = Rate {
    n: 10,
    per: Duration::from_secs(60),
};
const N_CONNECTIONS: usize = 512;
const N_CALLS: usize = 256;

/// What is known of all addresses.
#[derive(Debug)]
pub struct Gate {
    limits: ClientLimits,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

/// What is known of one address.
#[derive(Debug)]
pub struct Address {
    /// The address itself, as the connection has it.
    pub ip: IpAddr,
    limits: ClientLimits,
    requests: Mutex<Window>,
    streams: Mutex<Window>,
    /// Keys that did not open; `None` where they are not counted.
    wrong_keys: Option<Mutex<Window>>,
    n_connections: AtomicUsize,
    n_calls: Arc<AtomicUsize>,
}

/// One connection; its place is free again when this is dropped.
#[derive(Debug)]
pub struct Connection(Arc<Address>);

/// One call in flight; its place is free again when this is dropped.
#[derive(Debug)]
pub struct CallPlace(Arc<AtomicUsize>);

/// Why a client has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch {
    /// Of what there was too much.
    pub what: &'static str,
    /// When it may come again.
    pub again: Duration,
}

impl Gate {
    /// Nobody is known yet.
    pub fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            addresses: Mutex::default(),
        }
    }

    /// Takes a connection in; `None` when there are as many from there as there may be.
    pub fn connect(&self, ip: IpAddr) -> Option<Connection> {
        let address = self.address(ip);
        let n_before = address.n_connections.fetch_add(1, Ordering::AcqRel);
        // From here on dropping it counts it out.
        let connection = Connection(address);
        let n_max = connection.0.limits.n_connections;
        n_max.is_none_or(|n_max| n_before < n_max).then_some(connection)
    }

    fn address(&self, ip: IpAddr) -> Arc<Address> {
        let key = site(ip);
        let mut all = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&key) {
            return Arc::clone(known);
        }
        let fresh = Arc::new(Address::new(key, self.limits));
        if all.len() >= N_ADDRESSES_MAX {
            all.retain(|_, address| address.n_connections.load(Ordering::Acquire) > 0);
        }
        if all.len() < N_ADDRESSES_MAX {
            all.insert(key, Arc::clone(&fresh));
        }
        fresh
    }
}

/// The part of an address that is one client's for certain.
fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let mask = u128::MAX << (128 - V6_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        known @ (IpAddr::V4(_) | IpAddr::V6(_)) => known,
    }
}

impl Address {
    fn new(ip: IpAddr, set: ClientLimits) -> Self {
        let limits = if ip.is_loopback() {
            set
        } else {
            ClientLimits {
                requests: set.requests.or(Some(REQUESTS)),
                streams: set.streams.or(Some(STREAMS)),
                n_connections: set.n_connections.or(Some(N_CONNECTIONS)),
                n_calls: set.n_calls.or(Some(N_CALLS)),
            }
        };
        Self {
            ip,
            limits,
            requests: Mutex::default(),
            streams: Mutex::default(),
            wrong_keys: (!ip.is_loopback()).then(Mutex::default),
            n_connections: AtomicUsize::new(0),
            n_calls: Arc::default(),
        }
    }

    /// One more request.
    ///
    /// # Errors
    /// There were too many from there.
    pub fn request(&self) -> Result<(), TooMuch> {
        within(self.limits.requests, &self.requests, "requests from this address")
    }

    /// One more event stream.
    ///
    /// # Errors
    /// Too many were opened from there.
    pub fn stream(&self) -> Result<(), TooMuch> {
        within(
            self.limits.streams,
            &self.streams,
            "new event streams from this address",
        )
    }

    /// A key was shown that does not open.
    pub fn wrong_key(&self) {
        if let Some(window) = &self.wrong_keys {
            // That there are too many is told to the next.
            within(Some(WRONG_KEYS), window, "").ok();
        }
    }

    /// Whether a key may be shown: whoever guesses has to wait, whatever is guessed next.
    ///
    /// # Errors
    /// Too many from there did not open.
    pub fn may_show_a_key(&self) -> Result<(), TooMuch> {
        let Some(window) = &self.wrong_keys else {
            return Ok(());
        };
        // A copy: that one is shown is nothing wrong yet.
        let window = *window.lock().unwrap_or_else(PoisonError::into_inner);
        within(
            Some(WRONG_KEYS),
            &Mutex::new(window),
            "wrong keys from this address",
        )
    }

    /// One more call in flight: of the key where one was shown, else of the address. `None` where nobody counts.
    ///
    /// # Errors
    /// There are too many.
    pub fn call(&self, principal: &Principal) -> Result<Option<CallPlace>, TooMuch> {
        let Some(n_max) = self.limits.n_calls else {
            return Ok(None);
        };
        let counter = if principal.has_key() {
            &principal.n_calls
        } else {
            &self.n_calls
        };
        let n_before = counter.fetch_add(1, Ordering::AcqRel);
        let place = CallPlace(Arc::clone(counter));
        if n_before < n_max {
            return Ok(Some(place));
        }
        Err(TooMuch {
            what: "calls of this client are in flight",
            again: Duration::from_secs(1),
        })
    }
}

impl TooMuch {
    /// What the client is told.
    pub fn error(&self) -> RpcError {
        let text = format!("too many {}; try again later", self.what);
        RpcError::new(code::CLIENT_LIMIT, text)
    }
}

/// One more request of the holder of a key.
///
/// # Errors
/// There were more than its key allows.
pub fn request_of(principal: &Principal) -> Result<(), TooMuch> {
    match principal.rate() {
        None => Ok(()),
        Some((rate, window)) => within(Some(rate), window, "requests with this key"),
    }
}

fn within(rate: Option<Rate>, window: &Mutex<Window>, what: &'static str) -> Result<(), TooMuch> {
    let Some(rate) = rate else { return Ok(()) };
    let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
    window
        .take(rate, Instant::now())
        .map_err(|again| TooMuch { what, again })
}

impl Connection {
    /// Where it comes from.
    pub fn address(&self) -> &Arc<Address> {
        &self.0
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.n_connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_by_address_and_on_this_machine_only_where_that_is_set() {
        let gate = Gate::new(ClientLimits::default());
        let from = |text| gate.connect(ip(text));
        let all: Vec<_> = (0..N_CONNECTIONS).map(|_| from("192.0.2.1").unwrap()).collect();
        assert!(from("192.0.2.1").is_none() && from("::ffff:192.0.2.1").is_none());
        assert!(from("192.0.2.2").is_some());
        drop(all);
        assert!(from("192.0.2.1").is_some());
        let here: Vec<_> = (0..=N_CONNECTIONS).map(|_| from("127.0.0.1").unwrap()).collect();
        assert!(
            here.iter()
                .all(|connection| connection.address().request().is_ok())
        );
        let set = ClientLimits {
            n_connections: Some(1),
            ..ClientLimits::default()
        };
        let gate = Gate::new(set);
        let _one = gate.connect(ip("::1")).unwrap();
        assert!(gate.connect(ip("::1")).is_none());
    }

    #[test]
    fn a_customer_with_many_addresses_is_one() {
        assert_eq!(site(ip("2001:db8:1:2:3::4")), site(ip("2001:db8:1:2:9::")));
        assert_ne!(site(ip("2001:db8:1:2::")), site(ip("2001:db8:1:3::")));
        assert_eq!(site(ip("::1")), ip("::1"));
    }

    #[test]
    fn addresses_that_are_known_are_bounded() {
        let gate = Gate::new(ClientLimits::default());
        for n in 0..2 * u32::try_from(N_ADDRESSES_MAX).unwrap() {
            drop(gate.connect(IpAddr::V4((0x0a00_0000 + n).into())));
        }
        assert!(gate.addresses.lock().unwrap().len() <= N_ADDRESSES_MAX);
    }

    #[test]
    fn who_guesses_has_to_wait_and_on_this_machine_nobody_has() {
        for (from, waits) in [("192.0.2.1", true), ("127.0.0.1", false)] {
            let address = Address::new(ip(from), ClientLimits::default());
            for _ in 0..WRONG_KEYS.n {
                assert!(address.may_show_a_key().is_ok());
                address.wrong_key();
            }
            assert_eq!(address.may_show_a_key().is_err(), waits, "{from}");
        }
    }

    #[test]
    fn calls_are_counted_by_key_where_there_is_one_and_until_they_end() {
        let set = ClientLimits {
            n_calls: Some(1),
            ..ClientLimits::default()
        };
        let address = Address::new(ip("127.0.0.1"), set);
        let anybody = Principal::anybody();
        let one = address.call(&anybody).unwrap().unwrap();
        assert!(address.call(&anybody).is_err());
        drop(one);
        assert!(address.call(&anybody).is_ok());
    }
}
