//! Client address and scheme behind reverse proxies. `X-Forwarded-For` and `X-Forwarded-Proto` count only if the peer is a
//! trusted proxy; the client is the rightmost address that is not a trusted proxy. What is ignored or missing is counted and
//! logged, since the throttle then takes many clients for one. Nothing else reads these headers: actix's own `ConnectionInfo` takes the
//! leftmost address, which any client can forge. The forms of an entry are parsed in forwarded_for.rs.

use std::net::IpAddr;

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use ipnet::IpNet;

use super::forwarded_for::{Entry, parse_entry};
use crate::clock::Timestamp;
use crate::metrics::ProxyMetrics;
use crate::web::response::log_limit::LogLimit;

pub(in crate::web) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The proxies whose forwarded headers are trusted (TRUSTED_PROXIES).
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

/// An address, and whether an entry that could not be read ended the walk there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvedAddress {
    /// The client's address, or that of the proxy that wrote the unreadable entry.
    pub address: IpAddr,
    /// Whether it is a proxy's in place of the client's.
    pub is_unreadable: bool,
}

impl TrustedProxies {
    /// Whether a trusted proxy reports that the client came over https.
    pub fn is_https(&self, request: &HttpRequest) -> bool {
        let trusted = self.trusts_peer_of(request);
        let last = request.headers().get_all(&FORWARDED_PROTO).last().and_then(|value| value.to_str().ok());
        trusted && last.is_some_and(|value| value.rsplit(',').next().is_some_and(|proto| http_scheme(proto) == "https"))
    }

    /// Whether the request comes from a trusted proxy.
    pub fn trusts_peer_of(&self, request: &HttpRequest) -> bool {
        peer_of(request).is_some_and(|peer| self.trusts(peer))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Walks from the peer outwards and stops at the first address that is not a trusted proxy. An entry that is no address
    /// ends the walk at the proxy that wrote it; an empty one says nothing.
    pub(in crate::web) fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> ResolvedAddress {
        // Parsed entry by entry: a byte that a client put in front must not make the entry of its proxy unreadable.
        let lines: Vec<&[u8]> = headers.get_all(&FORWARDED_FOR).map(HeaderValue::as_bytes).collect();
        let mut client = peer;
        for entry in lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).rev() {
            if !self.trusts(client) {
                break;
            }
            match parse_entry(entry) {
                Entry::Empty => {}
                Entry::Address(address) => client = address,
                Entry::Unreadable => return ResolvedAddress { address: client, is_unreadable: true },
            }
        }
        ResolvedAddress { address: client, is_unreadable: false }
    }
}

/// The address that the connection comes from.
fn peer_of(request: &HttpRequest) -> Option<IpAddr> {
    Some(request.peer_addr()?.ip().to_canonical())
}

/// Request extension: its unreadable entry has been reported. A request may ask for its address several times.
struct UnreadableReported;

/// Request extension: its missing X-Forwarded-For has been reported.
struct MissingReported;

/// Request extension: its untrusted header has been reported.
struct UntrustedReported;

/// Reads the addresses of clients, and reports the forwarded headers that it ignores: a misconfigured proxy has them in every
/// request.
#[derive(Debug)]
pub struct ClientAddresses {
    metrics: ProxyMetrics,
    untrusted: LogLimit,
    unreadable: LogLimit,
    missing: LogLimit,
}

impl ClientAddresses {
    /// Counts into these metrics.
    pub fn new(metrics: ProxyMetrics) -> Self {
        let [untrusted, unreadable, missing] = std::array::from_fn(|_| LogLimit::default());
        Self { metrics, untrusted, unreadable, missing }
    }

    /// The client's address.
    pub fn find(&self, proxies: &TrustedProxies, request: &HttpRequest, now: Timestamp) -> Option<IpAddr> {
        let peer = peer_of(request)?;
        let resolved = proxies.resolve(peer, request.headers());
        if resolved.is_unreadable && request.extensions_mut().insert(UnreadableReported).is_none() {
            self.metrics.unreadable.inc();
            if self.unreadable.count(now).is_some() {
                log::warn!(
                    proxy:% = resolved.address;
                    "X-Forwarded-For has an entry that is not an address; the proxy that sent it counts as the client, so \
                     its clients share one throttle"
                );
            }
        }
        self.report_missing(proxies, request, now);
        self.report_untrusted(proxies, request, now);
        Some(resolved.address)
    }

    /// Reports a trusted proxy that describes the client in a header that is not read, and in no other. A request without any is
    /// not reported: a proxy's own, such as one for its health check.
    fn report_missing(&self, proxies: &TrustedProxies, request: &HttpRequest, now: Timestamp) {
        let headers = request.headers();
        let Some(header) = [FORWARDED, REAL_IP].into_iter().find(|name| headers.contains_key(name)) else { return };
        let Some(peer) = peer_of(request).filter(|peer| proxies.trusts(*peer)) else { return };
        if headers.contains_key(&FORWARDED_FOR) || request.extensions_mut().insert(MissingReported).is_some() {
            return;
        }
        self.metrics.missing.inc();
        if self.missing.count(now).is_some() {
            log::warn!(
                proxy:% = peer, header = header.as_str();
                "a trusted proxy sends no X-Forwarded-For, the only header from which the client's address is read; have it \
                 send that: until then it counts as the client, so its clients share one throttle"
            );
        }
    }

    /// Reports a forwarded header of a peer that is not trusted: a proxy that is missing in TRUSTED_PROXIES, or a client that
    /// tries to choose its address.
    pub fn report_untrusted(&self, proxies: &TrustedProxies, request: &HttpRequest, now: Timestamp) {
        // First what is cheap: most checks come from a trusted proxy.
        let Some(peer) = peer_of(request).filter(|peer| !proxies.trusts(*peer)) else { return };
        let is_sent = |name: &HeaderName| request.headers().contains_key(name);
        let Some(header) = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED].into_iter().find(is_sent) else { return };
        if request.extensions_mut().insert(UntrustedReported).is_some() {
            return;
        }
        self.metrics.untrusted.inc();
        if self.untrusted.count(now).is_some() {
            log::warn!(
                peer:%, header = header.as_str();
                "a forwarded header is ignored, since its sender is not in TRUSTED_PROXIES; if it is your proxy, add it \
                 there: all its clients share one throttle"
            );
        }
    }
}

/// The scheme of the request that a proxy describes. A WebSocket begins as a request over HTTP (RFC 6455 section 3), and some
/// proxies name the WebSocket's scheme instead of the request's.
pub(in crate::web) fn http_scheme(proto: &str) -> &str {
    let proto = proto.trim();
    let is_any_of = |schemes: [&str; 2]| schemes.iter().any(|scheme| proto.eq_ignore_ascii_case(scheme));
    match proto {
        _ if is_any_of(["https", "wss"]) => "https",
        _ if is_any_of(["http", "ws"]) => "http",
        other => other,
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
        let resolved = proxies.resolve(peer.parse().unwrap(), &headers);
        let proxy = if resolved.is_unreadable { "proxy " } else { "" };
        format!("{proxy}{}", resolved.address)
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
        assert_eq!(client("10.0.0.1", &["1.2.3.4, unknown"]), "proxy 10.0.0.1");
        assert_eq!(client("10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn unreadable_forwarded_for_entries_hide_no_address() {
        assert_eq!(client_of_bytes("10.0.0.1", &[b"6.6.6.6, \xff, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(
            client_of_bytes("10.0.0.1", &[b"6.6.6.6", b"\xff", b"10.0.0.2"]),
            "proxy 10.0.0.2",
            "the walk ends at it"
        );
    }

    #[test]
    fn forwarded_for_entries_are_read_in_every_form() {
        for entry in [
            "203.0.113.7",
            "203.0.113.7:51234",
            " 203.0.113.7\t",
            "\"203.0.113.7:51234\"",
            "::ffff:203.0.113.7",
            "[::ffff:203.0.113.7]:51234",
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), "203.0.113.7", "{entry}");
            assert_eq!(client("10.0.0.1", &[&format!("6.6.6.6, {entry}, 10.0.0.2:80")]), "203.0.113.7", "{entry}");
            assert_eq!(client("10.0.0.1", &[&format!("6.6.6.6,,{entry} , ,"), ""]), "203.0.113.7", "{entry}");
            assert_eq!(client("9.9.9.9", &[entry]), "9.9.9.9", "{entry}");
        }
    }

    #[test]
    fn unreadable_forwarded_for_entries_are_reported_if_their_sender_is_trusted() {
        for entry in
            ["unknown", "_hidden", "203.0.113.7:", "203.0.113", "[::1", "app.example.com", "\"", "1.2.3.4 5.6.7.8"]
        {
            assert_eq!(client("10.0.0.1", &[&format!("6.6.6.6, {entry}")]), "proxy 10.0.0.1", "{entry}");
            assert_eq!(client("10.0.0.1", &[&format!("{entry}, 10.0.0.2")]), "proxy 10.0.0.2", "{entry}");
            assert_eq!(client("10.0.0.1", &[&format!("{entry}, 1.2.3.4")]), "1.2.3.4", "{entry}");
            assert_eq!(client("9.9.9.9", &[entry]), "9.9.9.9", "{entry}");
        }
    }

    #[test]
    fn a_websocket_has_the_scheme_of_the_request_that_begins_it() {
        for (proto, expected) in [
            ("https", "https"),
            ("HTTPS", "https"),
            ("wss", "https"),
            (" WSS", "https"),
            ("http", "http"),
            ("ws", "http"),
            ("Ws ", "http"),
            ("ftp", "ftp"),
            ("wsss", "wsss"),
            ("", ""),
        ] {
            assert_eq!(http_scheme(proto), expected, "{proto:?}");
        }
    }
}
