//! Owns arithmetic on IPv4 ranges.

use std::net::Ipv4Addr;

/// A range in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub base: u32,
    pub prefix: u8,
}

impl Range {
    /// Reads `10.0.0.0/16`; `None` when it is not a range or has host bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let base = u32::from(address.parse::<Ipv4Addr>().ok()?);
        let prefix: u8 = prefix.parse().ok()?;
        let range = Self { base, prefix };
        (prefix <= 32 && base & range.mask() == base).then_some(range)
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// How many addresses it has.
    pub fn size(self) -> u64 {
        1_u64 << (32 - u32::from(self.prefix))
    }

    /// Whether the address lies in it.
    pub fn has(self, address: u32) -> bool {
        address & self.mask() == self.base
    }

    /// Whether the other range lies in it.
    pub fn covers(self, other: Range) -> bool {
        self.prefix <= other.prefix && self.has(other.base)
    }

    /// Whether they share an address.
    pub fn overlaps(self, other: Range) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The nth address.
    pub fn nth(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base.wrapping_add(n))
    }

    /// The first part of the range with this prefix that shares nothing with those in use.
    pub fn free_part(self, prefix: u8, used: &[Range]) -> Option<Range> {
        let step = Range { base: 0, prefix }.size();
        let mut offset = 0_u64;
        while prefix >= self.prefix && offset < self.size() {
            let part = Range { base: self.base.wrapping_add(u32::try_from(offset).ok()?), prefix };
            if used.iter().all(|one| !one.overlaps(part)) {
                return Some(part);
            }
            offset += step;
        }
        None
    }

    /// The first address from `first` on, short of the last `kept_back`, that is not in use.
    pub fn free_address(self, first: u32, kept_back: u32, used: impl Fn(u32) -> bool) -> Option<Ipv4Addr> {
        let end = u32::try_from(self.size().saturating_sub(u64::from(kept_back))).unwrap_or(u32::MAX);
        (first..end).map(|n| self.base.wrapping_add(n)).find(|address| !used(*address)).map(Ipv4Addr::from)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_what_they_hold() {
        let net = Range::parse("10.0.0.0/16").unwrap();
        let sub = Range::parse("10.0.1.0/24").unwrap();
        assert!(net.covers(sub) && sub.overlaps(net) && !sub.covers(net));
        assert!(
            Range::parse("10.0.0.1/16").is_none()
                && Range::parse("x/8").is_none()
                && Range::parse("1.2.3.4/33").is_none()
        );
        assert_eq!(net.free_part(24, &[Range::parse("10.0.0.0/24").unwrap()]).unwrap().to_string(), "10.0.1.0/24");
        assert_eq!(sub.free_address(2, 1, |address| address == sub.base + 2).unwrap().to_string(), "10.0.1.3");
        assert!(Range::parse("10.0.1.0/30").unwrap().free_address(2, 1, |address| address == sub.base + 2).is_none());
        assert_eq!(Range::parse("0.0.0.0/0").unwrap().size(), 1 << 32);
    }
}
