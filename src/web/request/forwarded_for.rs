//! Parser of one entry of `X-Forwarded-For`. The header has no specification, so gateways write what they like: an address
//! alone, with a port, in brackets, in quotes, with a zone, as RFC 7239 section 6 has it for `Forwarded`. Which entry is the
//! client is decided in client_address.rs.

use std::net::{IpAddr, Ipv6Addr};

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: an empty list element (RFC 9110 section 5.6.1).
    Empty,
    /// An address. One of IPv4 in an IPv6 form is of IPv4.
    Address(IpAddr),
    /// `unknown`, a pseudonym, or anything else.
    Unreadable,
}

/// Parses an entry, without the commas around it.
pub fn parse_entry(entry: &[u8]) -> Entry {
    let Ok(text) = std::str::from_utf8(entry) else { return Entry::Unreadable };
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Entry::Empty;
    }
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    parse_node(quoted.unwrap_or(text)).map_or(Entry::Unreadable, |address| Entry::Address(address.to_canonical()))
}

/// An address with or without a port. Without brackets, an IPv6 address that can end in what looks like a port is one without
/// a port.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let is_port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return parse_ipv6(address).filter(|_| is_port);
    }
    let address = node.parse().ok().or_else(|| parse_ipv6(node));
    address.or_else(|| {
        let (address, port) = node.rsplit_once(':')?;
        address.parse().ok().filter(|_| is_port(port))
    })
}

/// An IPv6 address with or without a zone (RFC 4007 section 11), which only its own machine understands.
fn parse_ipv6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic());
    address.parse::<Ipv6Addr>().ok().filter(|_| zone.is_none_or(is_zone)).map(IpAddr::V6)
}

/// A port, or the pseudonym of one (RFC 7239 section 6.3).
fn is_port(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_pseudonym = |rest: &str| !rest.is_empty() && rest.bytes().all(is_allowed);
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    is_number || text.strip_prefix('_').is_some_and(is_pseudonym)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_for_addresses_have_many_forms() {
        for (entry, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7:_gazonk", "203.0.113.7"),
            ("  203.0.113.7 ", "203.0.113.7"),
            ("\t203.0.113.7:1\t", "203.0.113.7"),
            ("\"203.0.113.7\"", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("\"[2001:db8::7]\"", "2001:db8::7"),
            ("[2001:db8::7]:_sec-ret.1", "2001:db8::7"),
            ("2001:db8:0:0:0:0:0:7:443", "2001:db8::7"),
            ("2001:db8::7:51234", "2001:db8::7"),
            ("fe80::7%eth0", "fe80::7"),
            ("[fe80::7%25eth0]:443", "fe80::7"),
            ("fe80::7%2", "fe80::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("[::ffff:cb00:7107]:80", "203.0.113.7"),
            ("::", "::"),
        ] {
            assert_eq!(parse_entry(entry.as_bytes()), Entry::Address(expected.parse().unwrap()), "{entry:?}");
        }
    }

    #[test]
    fn forwarded_for_entries_without_text_are_empty() {
        for entry in ["", " ", "\t", " \t "] {
            assert_eq!(parse_entry(entry.as_bytes()), Entry::Empty, "{entry:?}");
        }
    }

    #[test]
    fn forwarded_for_entries_that_are_no_address_are_unreadable() {
        for entry in [
            "unknown",
            "_hidden",
            "\"_hidden:80\"",
            "unknown:80",
            "localhost",
            "app.example.com",
            "203.0.113",
            "203.0.113.256",
            "203.0.113.7:",
            "203.0.113.7:70000",
            "203.0.113.7:+80",
            "203.0.113.7:80:80",
            "203.0.113.7:_",
            "203.0.113.7:_a b",
            "203.0.113.7:_a@b",
            "fe80::7%",
            "fe80::7%eth 0",
            "203.0.113.7/32",
            "203.0.113.7%eth0",
            "203.0.113.7 10.0.0.1",
            "[203.0.113.7]",
            "[203.0.113.7]:80",
            "[2001:db8::7",
            "2001:db8::7]",
            "[2001:db8::7]443",
            "[2001:db8::7]:",
            "[2001:db8::7]:_",
            "[]",
            "fe80::7%",
            "[fe80::7%]:1",
            "2001:db8::g",
            "\"",
            "\"\"",
            "\"203.0.113.7",
            "for=203.0.113.7",
            "203.0.113.7\0",
            "٢٠٣.0.113.7",
        ] {
            assert_eq!(parse_entry(entry.as_bytes()), Entry::Unreadable, "{entry:?}");
        }
        assert_eq!(parse_entry(b"\xff"), Entry::Unreadable);
        assert_eq!(parse_entry(b"203.0.113.7\xff"), Entry::Unreadable);
    }
}
