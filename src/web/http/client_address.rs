//! The client's address and scheme behind proxies. `X-Forwarded-For` and `X-Forwarded-Proto` count only when the peer is
//! a trusted proxy; the client is the rightmost address that is not one. Nothing else reads a forwarded header: what
//! actix offers takes the leftmost address from anybody.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(in crate::web) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies that may speak for a client.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// The client's address.
    pub fn client_address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        Some(self.look_through(peer, request.headers()))
    }

    /// Whether the client came over https to a trusted proxy, by that proxy's word.
    pub fn says_https(&self, request: &HttpRequest) -> bool {
        let trusted = self.trust_the_peer_of(request);
        let last = request.headers().get_all(&FORWARDED_PROTO).last().and_then(|value| value.to_str().ok());
        trusted && last.is_some_and(|value| value.rsplit(',').next().is_some_and(|proto| proto.trim() == "https"))
    }

    /// Whether the request comes from a trusted proxy.
    pub fn trust_the_peer_of(&self, request: &HttpRequest) -> bool {
        request.peer_addr().is_some_and(|peer| self.trusts(peer.ip().to_canonical()))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Walks from the peer outwards and stops at the first address that nobody vouches for. A proxy whose entry cannot
    /// be read is as far as the walk gets.
    pub(in crate::web) fn look_through(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        // Entry by entry: an octet that a client put in front must not make its proxy's entry unreadable.
        let lines: Vec<&[u8]> = headers.get_all(&FORWARDED_FOR).map(HeaderValue::as_bytes).collect();
        let mut client = peer;
        for entry in lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).rev() {
            if !self.trusts(client) {
                break;
            }
            let address = std::str::from_utf8(entry).ok().and_then(|entry| entry.trim().parse::<IpAddr>().ok());
            let Some(address) = address else { break };
            client = address.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        seen_in(peer, &lines)
    }

    fn seen_in(peer: &str, lines: &[&[u8]]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap()));
        proxies.look_through(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen("::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn a_stranger_speaks_for_nobody() {
        assert_eq!(seen("9.9.9.9", &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, unknown"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn octets_that_no_address_has_hide_nobody() {
        assert_eq!(seen_in("10.0.0.1", &[b"6.6.6.6, \xff, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(seen_in("10.0.0.1", &[b"6.6.6.6", b"\xff", b"10.0.0.2"]), "10.0.0.2", "nobody is believed past it");
    }
}
