//! Reference parser of `X-Forwarded-For`: every way to divide an entry into an address and a port is tried.

use std::net::IpAddr;

use ipnet::IpNet;

/// Reference resolution of the client address: from the peer outwards, through trusted proxies only.
pub fn reference_client(client: IpAddr, trusted: &[IpNet], entries: &[&[u8]]) -> IpAddr {
    let vouched = trusted.iter().any(|net| net.contains(&client));
    let Some((last, rest)) = entries.split_last().filter(|_| vouched) else { return client };
    match reference_entry(last) {
        Some(None) => reference_client(client, trusted, rest),
        Some(Some(address)) => reference_client(address, trusted, rest),
        None => client,
    }
}

/// The address of an entry, `Some(None)` of an empty one: by every way to divide it into an address and a port, the longest
/// address first.
fn reference_entry(entry: &[u8]) -> Option<Option<IpAddr>> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Some(None);
    }
    let is_quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let text = if is_quoted { &text[1..text.len() - 1] } else { text };
    let divided = (0..=text.len()).rev().filter_map(|at| text.split_at_checked(at));
    let found = divided.filter(|(_, port)| reference_port(port)).find_map(|(address, _)| reference_address(address));
    found.map(|address| Some(address.to_canonical()))
}

fn reference_address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (text, is_bracketed) = inner.filter(|inner| !inner.contains(']')).map_or((text, false), |inner| (inner, true));
    let (address, zone) = text.split_once('%').unwrap_or((text, "none"));
    let is_zone = !zone.is_empty() && zone.chars().all(|letter| letter.is_ascii_graphic());
    let address: IpAddr = address.parse().ok()?;
    (is_zone && (address.is_ipv6() || !(is_bracketed || text.contains('%')))).then_some(address)
}

fn reference_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c))
        }
        None => port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}
