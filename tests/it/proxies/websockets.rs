//! WebSockets of the app behind each proxy: they open for a signed-in user alone, and carry messages both ways.

use super::{Proxy, Site, behind_every_proxy, get};
use crate::support::http::{Browser, KeptConnection, Request};

behind_every_proxy!(a_websocket_of_the_app_opens_for_its_user, no_other_upgrade_is_passed_on);

/// A masked text message of a client (RFC 6455 section 5.7), and the server's echo.
const HELLO: [u8; 11] = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const ECHO: [u8; 7] = [0x81, 0x05, b'H', b'e', b'l', b'l', b'o'];

/// The key of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn handshake(connection: &str, upgrade: &str) -> Request {
    let request = Request::new("GET", "/socket?a=b").header("Connection", connection).header("Upgrade", upgrade);
    request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", KEY)
}

fn cookie(browser: &Browser) -> String {
    format!("accessToken={}", browser.cookie("accessToken").unwrap())
}

fn a_websocket_of_the_app_opens_for_its_user(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    for (connection, upgrade) in [("Upgrade", "websocket"), ("keep-alive, Upgrade", "WebSocket")] {
        let refused = site.send(handshake(connection, upgrade));
        assert_eq!(refused.status, 401, "{}", refused.text());
        let mut kept = KeptConnection::open(site.proxy.address()).unwrap();
        let request = handshake(connection, upgrade).header("Host", super::HOST).cookie_header(&cookie(&browser));
        let opened = kept.send_as_it_is(&request).unwrap();
        assert_eq!(opened.status, 101, "{} {}", opened.text(), site.proxy.log());
        assert_eq!(opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for _ in 0..3 {
            kept.write(&HELLO).unwrap();
            let mut echo = [0; ECHO.len()];
            kept.read_bytes(&mut echo).unwrap();
            assert_eq!(echo, ECHO);
        }
    }
    assert_eq!(get(&mut browser, "/").status, 200, "and plain requests go on");
}

/// An upgrade to HTTP/2 would carry requests past the checks (h2c smuggling).
fn no_other_upgrade_is_passed_on(proxy: Proxy) {
    let site = Site::start(proxy);
    let mut browser = site.register("emily");
    let connection = "close, Upgrade, HTTP2-Settings";
    for lines in [
        &["h2c"][..],
        &["TLS/1.0"],
        &["websockets"],
        &["h2c, websocket"],
        &["websocket, h2c"],
        &["h2c", "websocket"],
        &["websocket", "h2c"],
        &["websocket", "TLS/1.0", "websocket"],
    ] {
        // nginx before 1.23 takes the first line alone. It sends a word of its own, so that no other line reaches the app.
        if proxy == Proxy::Nginx && lines.len() > 1 && lines[0] == "websocket" {
            continue;
        }
        for is_handshake in [false, true] {
            let request = Request::new("GET", "/").header("Host", super::HOST).header("Connection", connection);
            let mut request = request.header("HTTP2-Settings", "AAMAAABkAAQAAP__");
            if is_handshake {
                request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", KEY);
            }
            let answer = browser.send(lines.iter().fold(request, |request, line| request.header("Upgrade", line)));
            // HAProxy refuses what names a WebSocket and is none.
            let expected = if is_handshake { &[200][..] } else { &[200, 400] };
            assert!(expected.contains(&answer.status), "{lines:?}: {} {}", answer.status, answer.text());
            assert!(!answer.text().to_ascii_lowercase().contains("upgrade"), "{lines:?}: {}", answer.text());
        }
    }
}
