//! Token forgery: genuine tokens taken apart and reassembled with one change, by someone who has the signing key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value, json};

/// `JWT_SECRET` of the service under test.
pub const KEY: &str = "kX0w9q5VZr3JcYt7uBn1mLs8dFg2hPq4aEiOyTzWvRk6";
/// The key of another service.
pub const OTHER_KEY: &str = "Zq8vT2mNc6RyLx0pKd4sHf9wBg1jUa7eOiYt5XzWnVk3";

/// What is wrong with it, and the token.
pub type Case = (String, String);

/// A genuine token taken apart, to be put together again with one thing changed.
pub struct Forge {
    pub header: String,
    pub payload: String,
    pub claims: Map<String, Value>,
    token: String,
}

impl Forge {
    pub fn of(token: &str) -> Self {
        let parts: Vec<&str> = token.split('.').collect();
        let text = |part: &str| String::from_utf8(BASE64.decode(part).unwrap()).unwrap();
        let payload = text(parts[1]);
        let claims = serde_json::from_str(&payload).unwrap();
        Self { header: text(parts[0]), payload, claims, token: token.to_owned() }
    }

    fn with_header(&self, header: &str) -> String {
        signed(header, &self.payload, KEY.as_bytes())
    }

    /// Adds a member to the header and leaves every other byte as it was.
    fn with_in_header(&self, member: &str) -> String {
        self.with_header(&self.header.replace('}', &format!(",{member}}}")))
    }

    pub fn with_payload(&self, payload: &str) -> String {
        signed(&self.header, payload, KEY.as_bytes())
    }

    pub fn with(&self, claim: &str, value: &Value) -> String {
        let mut claims = self.claims.clone();
        claims.insert(claim.to_owned(), value.clone());
        self.with_payload(&Value::Object(claims).to_string())
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = self.claims.clone();
        claims.remove(claim).unwrap();
        self.with_payload(&Value::Object(claims).to_string())
    }

    /// One more member in the payload, raw, so that it may stand twice.
    fn with_in_payload(&self, member: &str) -> String {
        self.with_payload(&self.payload.replacen('{', &format!("{{{member},"), 1))
    }

    fn part(&self, index: usize) -> &str {
        self.token.split('.').nth(index).unwrap()
    }
}

fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(payload))
}

pub fn signed(header: &str, payload: &str, key: &[u8]) -> String {
    signed_with(hmac::HMAC_SHA256, header, payload, key)
}

fn signed_with(algorithm: hmac::Algorithm, header: &str, payload: &str, key: &[u8]) -> String {
    let message = unsigned(header, payload);
    let signature = hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature.as_ref()))
}

/// Signed with a key that the token itself contains: `jwk` of RFC 7515 section 4.1.3.
fn signed_by_its_own_jwk(forge: &Forge) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..65]));
    let jwk = format!(r#","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}"#);
    let header = forge.header.replace("HS256", "ES256").replace('}', &jwk);
    let message = unsigned(&header, &forge.payload);
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64.encode(signature.as_ref()))
}

/// Every kind of forgery of a token that has these claims.
pub fn forgeries(forge: &Forge, strings: &[&str], numbers: &[&str]) -> Vec<Case> {
    let cases = [
        algorithms(forge),
        keys(forge),
        headers(forge),
        absent_claims(forge, &[strings, numbers].concat()),
        mistyped_claims(forge, strings, numbers),
        foreign_claims(forge, strings),
        torn(forge),
    ]
    .concat();
    assert!(cases.len() >= 60, "{} kinds are too few", cases.len());
    cases
}

fn case(name: impl Into<String>, token: String) -> Case {
    (name.into(), token)
}

fn algorithms(forge: &Forge) -> Vec<Case> {
    let mut cases = vec![];
    for none in ["none", "None", "nOnE", "NONE", ""] {
        let header = forge.header.replace("HS256", none);
        let bare = unsigned(&header, &forge.payload);
        cases.push(case(format!("alg {none:?}, two segments"), bare.clone()));
        cases.push(case(format!("alg {none:?}, empty signature"), format!("{bare}.")));
        cases.push(case(format!("alg {none:?}, signed all the same"), forge.with_header(&header)));
    }
    for other in ["HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 "] {
        let header = forge.header.replace("HS256", other);
        cases.push(case(format!("alg {other:?} over the right signature"), forge.with_header(&header)));
    }
    for (name, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        let header = forge.header.replace("HS256", name);
        let token = signed_with(algorithm, &header, &forge.payload, KEY.as_bytes());
        cases.push(case(format!("{name} by the right key"), token));
        let token = signed_with(algorithm, &forge.header, &forge.payload, KEY.as_bytes());
        cases.push(case(format!("{name} that says HS256"), token));
    }
    for odd in ["null", "[\"HS256\"]", "256", "{}"] {
        let header = forge.header.replace("\"HS256\"", odd);
        cases.push(case(format!("alg {odd}"), forge.with_header(&header)));
    }
    cases
}

fn keys(forge: &Forge) -> Vec<Case> {
    let by = |key: &[u8]| signed(&forge.header, &forge.payload, key);
    let kid = forge.header.split("\"kid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let digest = digest::digest(&digest::SHA256, KEY.as_bytes());
    let mut cases = vec![
        case("an empty key", by(b"")),
        case("another key", by(OTHER_KEY.as_bytes())),
        case("the key and a line feed", by(format!("{KEY}\n").as_bytes())),
        case("half the key", by(&KEY.as_bytes()[..22])),
        case("the key decoded as base64", by(&STANDARD.decode(KEY).unwrap())),
        case("the key's digest", by(digest.as_ref())),
        case("the key's id as key", by(kid.as_bytes())),
        case("a key in the token", signed_by_its_own_jwk(forge)),
        case("the header's own secret", {
            let header = forge.header.replace('}', r#","jwk":{"kty":"oct","k":"AAAA"}}"#);
            signed(&header, &forge.payload, &[0, 0, 0])
        }),
    ];
    let long = "k".repeat(2000);
    for id in ["unknown", "", "../../../../dev/null", "/dev/null", "' OR '1'='1", "x' UNION SELECT 'AAAA' --", &long] {
        for (whose, key) in [("the right", KEY), ("an empty", "")] {
            let header = forge.header.replace(kid, id);
            let name = format!("kid {:?} by {whose} key", &id[..id.len().min(30)]);
            cases.push(case(name, signed(&header, &forge.payload, key.as_bytes())));
        }
    }
    cases.push(case("no kid", forge.with_header(&forge.header.replace(&format!(",\"kid\":\"{kid}\""), ""))));
    cases.push(case("kid a number", forge.with_header(&forge.header.replace(&format!("\"{kid}\""), "1"))));
    cases
}

fn headers(forge: &Forge) -> Vec<Case> {
    let mut cases = vec![];
    for member in [
        r#""crit":["x"]"#,
        r#""crit":[]"#,
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":"exp""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""jku":"http://127.0.0.1:1/keys""#,
        r#""x5u":"http://127.0.0.1:1/certificate""#,
        r#""x5c":["MIIB"]"#,
        r#""x5t":"AAAA""#,
        r#""zip":"DEF""#,
        r#""cty":"JWT""#,
        r#""enc":"A256GCM""#,
        r#""alg":"none""#,
        r#""kid":"unknown""#,
        r#""typ":"JWT""#,
        r#""x":1"#,
    ] {
        cases.push(case(format!("{member} in the header"), forge.with_in_header(member)));
    }
    let typ = forge.header.split("\"typ\":\"").nth(1).unwrap().split('"').next().unwrap();
    for other in ["JWT", "jwt", "", "at+JWT", "RT+jwt", "application/at+jwt", "dpop+jwt", "logout+jwt"] {
        cases.push(case(format!("typ {other:?}"), forge.with_header(&forge.header.replace(typ, other))));
    }
    cases.push(case("no typ", forge.with_header(&forge.header.replace(&format!("\"typ\":\"{typ}\","), ""))));
    cases.push(case("white space in the header", forge.with_header(&forge.header.replace(',', ", "))));
    cases.push(case("a header that is no JSON", forge.with_header("HS256")));
    cases.push(case("an empty header", forge.with_header("")));
    cases.push(case("an array for a header", forge.with_header(&format!("[{}]", forge.header))));
    cases
}

fn absent_claims(forge: &Forge, claims: &[&str]) -> Vec<Case> {
    claims.iter().map(|claim| case(format!("no {claim}"), forge.without(claim))).collect()
}

/// A claim of the wrong type must not count as absent (CVE-2026-25537).
fn mistyped_claims(forge: &Forge, strings: &[&str], numbers: &[&str]) -> Vec<Case> {
    let mut cases = vec![];
    let anywhere = [json!(null), json!([]), json!({}), json!(true), json!(1.5), json!(1e300)];
    for claim in strings {
        let genuine = &forge.claims[*claim];
        for odd in anywhere.iter().chain([&json!([genuine]), &json!(1), &json!(-1), &json!(u64::MAX)]) {
            cases.push(case(format!("{claim} {odd}"), forge.with(claim, odd)));
        }
    }
    for claim in numbers.iter().chain([&"nbf"]) {
        let genuine = forge.claims.get(*claim).and_then(Value::as_i64).unwrap_or(1);
        #[expect(clippy::cast_precision_loss, reason = "times of this century fit")]
        let float = json!(genuine as f64);
        for odd in anywhere.iter().chain([&json!([genuine]), &json!(genuine.to_string()), &float, &json!(u64::MAX)]) {
            cases.push(case(format!("{claim} {odd}"), forge.with(claim, odd)));
        }
    }
    cases
}

fn foreign_claims(forge: &Forge, strings: &[&str]) -> Vec<Case> {
    let mut cases = vec![];
    for claim in strings.iter().filter(|claim| !["role", "jti"].contains(claim)) {
        for foreign in ["", "somebody else", "https://evil.example", "null", "%00", " "] {
            cases.push(case(format!("{claim} {foreign:?}"), forge.with(claim, &json!(foreign))));
        }
        let twice = format!("\"{claim}\":{}", forge.claims[*claim]);
        cases.push(case(format!("{claim} twice"), forge.with_in_payload(&twice)));
    }
    for sub in ["01", "+1", "-1x", "1.0", "1e0", " 1", "1 ", "0x1", "１", "9223372036854775808", "1;2"] {
        cases.push(case(format!("sub {sub:?}"), forge.with("sub", &json!(sub))));
    }
    for issuer in ["Doorward", "doorward/", "doorward ", "http://doorward"] {
        cases.push(case(format!("iss {issuer:?}"), forge.with("iss", &json!(issuer))));
    }
    cases
}

fn torn(forge: &Forge) -> Vec<Case> {
    let (token, signature) = (&forge.token, forge.part(2));
    let body = token.rsplit_once('.').unwrap().0;
    let mut cases = vec![
        case("no signature", body.to_owned()),
        case("an empty signature", format!("{body}.")),
        case("only a header", forge.part(0).to_owned()),
        case("a fourth segment", format!("{token}.x")),
        case("a fourth segment, empty", format!("{token}.")),
        case("five segments", format!("{token}.x.y")),
        case("an empty segment in front", format!(".{token}")),
        case("dots", "..".to_owned()),
        case("a word", "x".to_owned()),
        case("three words", "a.b.c".to_owned()),
        case("padding", format!("{token}=")),
        case("padding in the payload", format!("{}.{}=.{signature}", forge.part(0), forge.part(1))),
        case("plain base64", token.replace('-', "+").replace('_', "/") + "+/"),
        case("cut by one", token[..token.len() - 1].to_owned()),
        case("cut in half", token[..token.len() / 2].to_owned()),
        case("the payload twice", format!("{}.{}{}.{signature}", forge.part(0), forge.part(1), forge.part(1))),
        case("five kilobytes", forge.with("x", &json!("x".repeat(5000)))),
        case("five kilobytes of signature", format!("{body}.{}", "A".repeat(5000))),
        case("a payload that is an array", forge.with_payload(&format!("[{}]", forge.payload))),
        case("an empty payload", forge.with_payload("")),
        case("a payload that goes on", forge.with_payload(&format!("{}{{}}", forge.payload))),
    ];
    for position in [0, 1, 20, signature.len() - 2] {
        let mut changed = signature.as_bytes().to_vec();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        cases.push(case(format!("letter {position} of the signature changed"), format!("{body}.{changed}")));
    }
    // The last letter carries four bits and two spare ones: another spelling of the same 32 bytes.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.iter().position(|letter| signature.as_bytes().last() == Some(letter)).unwrap();
    let respelt = char::from(alphabet[last | 1]);
    cases.push(case("spare bits", format!("{body}.{}{respelt}", &signature[..signature.len() - 1])));
    cases
}
