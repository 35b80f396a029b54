//! Networks, as they are written: an address and how many of its first bits count.

use std::net::IpAddr;
use std::str::FromStr;

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    n_bits: u32,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: write it as 192.168.1.0/24, fd00::/8, or one address")]
pub struct BadNetwork(String);

/// An address of the old kind is that address in the new kind (RFC 4291, 2.5.5.2), so that both are compared alike.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.n_bits).unwrap_or(0);
        (number(address) ^ self.address) & mask == 0
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, n_bits) = match text.split_once('/') {
            Some((address, n_bits)) => (address, Some(n_bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let (n_all, n_before) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let n_bits = match n_bits {
            Some(n_bits) => n_bits.parse().ok().filter(|n| *n <= n_all).ok_or_else(bad)?,
            None => n_all,
        };
        Ok(Self {
            address: number(address),
            n_bits: n_bits + n_before,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_when_the_first_bits_are_the_same() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::1"),
            ("192.168.1.7", "192.168.1.7", "192.168.1.8"),
            ("fd00::/8", "fdab::1", "fe80::1"),
            ("0.0.0.0/0", "1.2.3.4", "::2"),
            ("::/0", "1.2.3.4", ""),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            if let Ok(outside) = outside.parse() {
                assert!(!parsed.contains(outside), "{network} {outside}");
            }
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "a",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/-1",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
