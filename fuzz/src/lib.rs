//! Fuzz targets for every parser of hostile input: no input makes it panic, and it agrees with a slow reference
//! implementation written in another way. The fuzz targets call these functions, and so does `tests/it/fuzz_seeds.rs`
//! with the seeds. The parsers are exposed by `doorward::web::test_api`.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use actix_codec::Decoder as _;
use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message, MessageType};
use actix_web::http::uri::PathAndQuery;
use actix_web::web::BytesMut;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use doorward::clock::Timestamp;
use doorward::core::account::identifier;
use doorward::core::account::identifier::Identifier;
use doorward::core::error::FieldRule;
use doorward::core::keys::signing_key::{KeyRing, SigningKey};
use doorward::core::token::claims::AccessClaims;
use doorward::core::token::{TokenAuthority, TokenRules};
use doorward::core::{AccountUuid, SessionId};
use doorward::web::response::error::RequestError;
use doorward::web::test_api;
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use url::Url;

use forwarded_for::reference_client;

mod forwarded_for;

const NAME: &str = "__Host-accessToken";

/// The lines of the input as header lines. An HTTP parser passes no control character but the tab.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let sound = |line: &&[u8]| line.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
    bytes.split(|byte| *byte == b'\n').filter(sound).collect()
}

/// Reference parser of a `Cookie` list, byte by byte (RFC 6265 section 5.2, which has no quotes or escapes).
fn reference_cookie(lines: &[&[u8]]) -> Result<Option<Vec<u8>>, ()> {
    let strip = |bytes: &[u8]| {
        let blank = |byte: &u8| *byte != b' ' && *byte != b'\t';
        let (from, to) = (bytes.iter().position(blank), bytes.iter().rposition(blank));
        from.zip(to).map_or(vec![], |(from, to)| bytes[from..=to].to_vec())
    };
    let mut found: Vec<Vec<u8>> = vec![];
    let (mut name, mut value) = (vec![], None::<Vec<u8>>);
    for byte in lines.iter().flat_map(|line| line.iter().chain(b";")) {
        match (byte, value.as_mut()) {
            (b';', _) => {
                found.extend(value.take().filter(|_| strip(&name) == NAME.as_bytes()).map(|value| strip(&value)));
                name.clear();
            }
            (b'=', None) => value = Some(vec![]),
            (byte, None) => name.push(*byte),
            (byte, Some(value)) => value.push(*byte),
        }
    }
    found.dedup();
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop().filter(|value| !value.is_empty())),
        _ => Err(()),
    }
}

/// The cookie parser agrees with the reference.
pub fn cookie(bytes: &[u8]) {
    let lines = lines(bytes);
    let read = test_api::cookie(&lines, NAME);
    let expected =
        reference_cookie(&lines).map(|value| value.map(|value| String::from_utf8_lossy(&value).into_owned()));
    match expected {
        Ok(value) => assert_eq!(read, Ok(value)),
        Err(()) => assert_eq!(read, Err(RequestError::DuplicateCookie)),
    }
}

/// Reference parser of `Bearer TOKEN`: one space, one token of the characters of RFC 6750 section 2.1.
fn reference_bearer(lines: &[&[u8]]) -> Result<Option<String>, &'static str> {
    let line = match lines {
        [] => return Ok(None),
        [line] => *line,
        _ => return Err("authorization_malformed"),
    };
    if line.iter().any(|byte| *byte >= 0x7f) {
        return Err("authorization_malformed");
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if line.len() < 7 || !line[..6].eq_ignore_ascii_case(b"bearer") || line[6] != b' ' || line.len() == 7 {
        return Err("token_invalid");
    }
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    let token = String::from_utf8_lossy(&line[7..]).into_owned();
    if token.chars().all(|letter| letters.contains(letter)) {
        return Ok(Some(token));
    }
    Err("authorization_malformed")
}

/// The bearer parser agrees with the reference.
pub fn bearer(bytes: &[u8]) {
    let lines = lines(bytes);
    assert_eq!(test_api::bearer(&lines), reference_bearer(&lines));
}

/// The `X-Forwarded-For` parser agrees with the reference, and ignores what untrusted peers claim. The first byte
/// chooses the peer.
pub fn forwarded(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|net| net.parse().ok()).collect();
    let peers = ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"];
    let Ok(peer) = peers[usize::from(*first) % peers.len()].parse::<IpAddr>() else { return };
    let lines = lines(rest);
    let read = test_api::client_address(peer, &trusted, &lines);
    let entries: Vec<&[u8]> = lines.iter().flat_map(|line| line.split(|byte| *byte == b',')).collect();
    assert_eq!(read, reference_client(peer, &trusted, &entries));
    assert!(trusted.iter().any(|net| net.contains(&peer)) || read == peer, "{peer} spoke for {read}");
}

const KEY: &[u8] = b"kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4";
const NOW: Timestamp = Timestamp::from_seconds(1_795_262_400);

/// A token authority with one key, and the two tokens that it has issued.
static AUTHORITY: LazyLock<(TokenAuthority, [String; 2])> = LazyLock::new(|| {
    let rules = TokenRules { issuer: "doorward".into(), audience: "apps".into(), clock_skew: Duration::from_secs(5) };
    let authority =
        TokenAuthority::new(rules, &KeyRing::new(SigningKey::hs256("k1", KEY), [])).expect("a token authority");
    let claims = AccessClaims {
        account: AccountUuid(uuid::Uuid::from_u128(7)),
        session: SessionId(uuid::Uuid::from_u128(1)),
        generation: 2,
        epoch: 3,
        role: "USER".into(),
        must_change_password: false,
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(900)),
        id: "j".into(),
    };
    let access = authority.mint_access(&claims, "k1").expect("an access token").expose().to_owned();
    let refresh = doorward::core::token::claims::RefreshClaims {
        account: claims.account,
        session: claims.session,
        generation: claims.generation,
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
    };
    let refresh = authority.mint_refresh(&refresh, "k1").expect("a refresh token").expose().to_owned();
    (authority, [access, refresh])
});

/// A token with the right key and header, and an arbitrary payload.
fn signed(kind: usize, payload: &[u8]) -> String {
    let header = AUTHORITY.1[kind].split('.').next().unwrap_or_default();
    let message = format!("{header}.{}", BASE64.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    format!("{message}.{}", BASE64.encode(tag.as_ref()))
}

/// Whether the token authority issued it.
pub fn is_issued(token: &str) -> bool {
    AUTHORITY.1.iter().any(|issued| issued == token)
}

/// Reference check of a payload: every claim is present, of its type, and right. A member that is not read may have any
/// value: whoever has the key can write it.
fn reference_payload(kind: usize, payload: &[u8]) -> bool {
    let Ok(Value::Object(claims)) = serde_json::from_str(&String::from_utf8_lossy(payload)) else { return false };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let of_kind = if kind == 0 {
        let strings = text("aud") == Some("apps") && text("role").is_some() && text("jti").is_some();
        strings && text("use") == Some("access") && number("epoch").is_some_and(|epoch| epoch >= 0)
    } else {
        text("use") == Some("refresh")
    };
    let (now, iat, exp) = (NOW.seconds(), number("iat"), number("exp"));
    let times = iat.is_some_and(|iat| iat <= now + 5) && exp > iat && exp > Some(now);
    let begun = !claims.contains_key("nbf") || number("nbf").is_some_and(|nbf| nbf <= now + 5);
    let subject = text("sub").is_some_and(|sub| uuid::Uuid::try_parse(sub).is_ok());
    let session = text("sid").is_some_and(|sid| uuid::Uuid::try_parse(sid).is_ok());
    let generation = number("gen").is_some_and(|generation| generation >= 0);
    of_kind && times && begun && subject && session && generation && text("iss") == Some("doorward")
}

/// Without the key only issued tokens are accepted; with it, only a payload that is right in every claim. The first
/// byte chooses which.
pub fn token(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (authority, issued) = &*AUTHORITY;
    let accepted =
        |text: &str| [authority.verify_access(text, NOW).is_ok(), authority.verify_refresh(text, NOW).is_ok()];
    if first % 3 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else { return };
        assert_eq!(accepted(text), [text == issued[0], text == issued[1]], "{text:?}");
        return;
    }
    let kind = usize::from(first % 3) - 1;
    let answers = accepted(&signed(kind, rest));
    assert!(!answers[1 - kind], "one kind stands in for the other");
    assert!(!answers[kind] || reference_payload(kind, rest), "{:?} was accepted", String::from_utf8_lossy(rest));
}

type Reader = fn(&str) -> Result<Identifier, FieldRule>;

/// Normalisation of an identifier is idempotent, and the result contains nothing that breaks a header or a page.
pub fn identifier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let canonical = identifier::canonical(text);
    assert_eq!(identifier::canonical(&canonical), canonical, "{text:?} has two canonical forms");
    let readers: [(Reader, usize); 3] = [(identifier::email, 254), (identifier::username, 64), (identifier::name, 64)];
    for (read, longest) in readers {
        let Ok(read_once) = read(text) else { continue };
        let canonical = identifier::canonical(text.trim());
        assert_eq!((read_once.shown.as_str(), read_once.canonical.as_str()), (text.trim(), canonical.as_str()));
        assert!(canonical.chars().count() <= longest, "{canonical:?} is too long");
        assert_eq!(read(&canonical).map(|again| again.canonical), Ok(canonical.clone()), "{text:?}");
        let broken = |c: char| c.is_control() || "\"<>\\;,:()[]".contains(c) || (c.is_whitespace() && c != ' ');
        assert!(!canonical.contains(broken) && canonical.trim() == canonical, "{canonical:?}");
    }
}

/// The number of members of all objects in a JSON text, duplicates included.
struct Members(usize);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Count)
    }
}

struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_unit<E>(self) -> Result<Members, E> {
        Ok(Members(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Members, A::Error> {
        let mut count = 0;
        while let Some(item) = items.next_element::<Members>()? {
            count += item.0;
        }
        Ok(Members(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut count = 0;
        while let Some((_, value)) = members.next_entry::<String, Members>()? {
            count += 1 + value.0;
        }
        Ok(Members(count))
    }
}

fn members_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members_of).sum(),
        Value::Object(members) => members.values().map(|value| 1 + members_of(value)).sum(),
        _ => 0,
    }
}

/// A body is accepted exactly if serde_json parses it as an object without duplicate members; no dialect's parser
/// panics on it, and none accepts a body made of another dialect's fields alone.
pub fn body(bytes: &[u8]) {
    let read = test_api::bodies(bytes);
    let expected = serde_json::from_slice::<Value>(bytes).ok();
    let counted = serde_json::from_slice::<Members>(bytes).ok().map(|members| members.0);
    let unambiguous = expected.as_ref().map(members_of) == counted;
    let object = expected.as_ref().is_some_and(Value::is_object) && unambiguous;
    assert_eq!(read.is_ok(), object, "{:?}", String::from_utf8_lossy(bytes));
    if let (Ok(taken), Some(Value::Object(fields))) = (read, expected) {
        let text = |name: &str| fields.get(name).is_some_and(Value::is_string);
        assert!(!taken.contains(&"pin login") || (text("name") && text("pin")));
        assert!(!taken.contains(&"native confirm") || (text("token") && text("password")));
        assert!(!taken.contains(&"native login") || text("password") || text("pin"));
        assert!(!taken.contains(&"envelope login") || (text("email") && text("password")));
        // native's requests deny unknown fields: none sets a role, a status or an id.
        let closed = ["role", "status", "id", "permissions", "isAdmin", "password_hash"];
        let native = taken.iter().any(|name| name.starts_with("native"));
        assert!(!native || !closed.iter().any(|name| fields.contains_key(*name)), "{fields:?}");
    }
}

/// Whatever the redirect target, a browser that follows it stays on this host or goes to a listed host over https, at
/// the place that the text meant; and normalising the target again changes nothing.
pub fn redirect(bytes: &[u8]) {
    let Ok(back) = std::str::from_utf8(bytes) else { return };
    let target = test_api::redirect(back);
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?} breaks a header");
    let Ok(here) = Url::parse("https://auth.example/login") else { return };
    let there = here.join(&target).expect("a browser can read it");
    let host = there.host_str().unwrap_or_default();
    let listed = there.scheme() == "https" && (host == "good.test" || host.ends_with(".good.test"));
    assert!(listed || there.origin() == here.origin(), "{back:?} leads to {there}");
    assert!(there.username().is_empty() && there.password().is_none() && !host.ends_with('.'), "{back:?}: {there}");
    if target != "/home" {
        assert_eq!(here.join(back).ok().as_ref(), Some(&there), "{back:?} meant another place");
        assert_eq!(test_api::redirect(&target), target, "{back:?}");
    }
}

thread_local! {
    /// actix's settings, which need a runtime for their clock when they are created.
    static ACTIX: ServiceConfig = actix_web::rt::System::new().block_on(async { ServiceConfig::default() });
}

/// A request that the fast path's framing accepts as a single request without a body is the same to actix: nothing is
/// left over, nothing is missing, and method, target and headers are equal. And no proper prefix of it is accepted as a
/// request.
pub fn head(bytes: &[u8]) {
    let Some((method, target, headers)) = test_api::whole_head(bytes) else { return };
    for end in [bytes.len() / 2, bytes.len() - 1] {
        assert!(test_api::whole_head(&bytes[..end]).is_none(), "{end} of {:?}", String::from_utf8_lossy(bytes));
    }
    let (mut codec, mut left) = (ACTIX.with(|actix| Codec::new(actix.clone())), BytesMut::from(bytes));
    let request = match codec.decode(&mut left) {
        Ok(Some(Message::Item(request))) => request,
        Ok(other) => panic!("actix waits, or reads a body: {other:?}"),
        // actix refuses some requests that httparse accepts, but none that a check on the fast path may be.
        Err(why) => {
            let hosts = headers.iter().filter(|(name, _)| name == "host").count();
            let is_check = method == "GET" && target == "/auth/verify" && hosts == 1;
            return assert!(!is_check, "actix refuses {:?}: {why}", String::from_utf8_lossy(bytes));
        }
    };
    assert!(left.is_empty(), "actix leaves {left:?}");
    assert!(matches!(codec.message_type(), MessageType::None), "actix waits for a body");
    assert_eq!(request.method().as_str(), method);
    if target.starts_with('/') && !target.contains('#') {
        assert_eq!(request.uri().path_and_query().map(PathAndQuery::as_str), Some(target.as_str()));
    }
    let sorted = |mut headers: Vec<(String, Vec<u8>)>| {
        headers.sort();
        headers
    };
    let theirs =
        request.head().headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    assert_eq!(sorted(theirs.collect()), sorted(headers));
}
