//! Client address and scheme behind reverse proxies. `X-Forwarded-For` and `X-Forwarded-Proto` count only if the peer is a
//! trusted proxy; the client is the rightmost address that is not a trusted proxy. Nothing else reads these headers: actix's
//! own `ConnectionInfo` takes the leftmost address, which any client can forge.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(in crate::web) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The proxies whose forwarded headers are trusted (TRUSTED_PROXIES).
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// The client's address.
    pub fn client_address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        Some(self.resolve(peer, request.headers()))
    }

    /// Whether a trusted proxy reports that the client came over https.
    pub fn is_https(&self, request: &HttpRequest) -> bool {
        let trusted = self.trusts_peer_of(request);
        let last = request.headers().get_all(&FORWARDED_PROTO).last().and_then(|value| value.to_str().ok());
        trusted && last.is_some_and(|value| value.rsplit(',').next().is_some_and(|proto| proto.trim() == "https"))
    }

    /// Whether the request comes from a trusted proxy.
    pub fn trusts_peer_of(&self, request: &HttpRequest) -> bool {
        request.peer_addr().is_some_and(|peer| self.trusts(peer.ip().to_canonical()))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Walks from the peer outwards and stops at the first address that is not a trusted proxy. An entry that is no address
    /// ends the walk at the proxy that wrote it.
    pub(in crate::web) fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        // Parsed entry by entry: a byte that a client put in front must not make the entry of its proxy unreadable.
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

    fn client(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        client_of_bytes(peer, &lines)
    }

    fn client_of_bytes(peer: &str, lines: &[&[u8]]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap()));
        proxies.resolve(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn rightmost_untrusted_forwarded_for_address_is_the_client() {
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"]), "1.2.3.4");
        assert_eq!(client("::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn forwarded_for_of_an_untrusted_peer_is_ignored() {
        assert_eq!(client("9.9.9.9", &["1.2.3.4"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn unreadable_forwarded_for_entries_hide_no_address() {
        assert_eq!(client_of_bytes("10.0.0.1", &[b"6.6.6.6, \xff, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(client_of_bytes("10.0.0.1", &[b"6.6.6.6", b"\xff", b"10.0.0.2"]), "10.0.0.2", "the walk ends at it");
    }
}
