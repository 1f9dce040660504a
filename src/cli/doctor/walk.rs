//! The walk: sign in, look, refresh, sign out, as a browser behind all proxies would, and what must be true at each step.
//! Stops at the first difference, which is usually the cause of the others.

use serde_json::{Value, json};

use super::client::{Answer, Client};
use crate::secret::Secret;

/// What a proxy that believes its clients would pass on.
const CLAIMED_ADDRESS: &str = "192.0.2.77";

/// Walks; each step that went well is told, the first difference returned.
pub fn walk(client: &Client, identifier: &str, secret: &Secret, mut told: impl FnMut(&str)) -> Result<(), String> {
    let origin = client.origin();
    let own: [(&str, &str); 2] = [("origin", &origin), ("x-forwarded-for", CLAIMED_ADDRESS)];
    healthy(client)?;
    told("/healthz answers");
    let wish = json!({ "identifier": identifier, "password": secret.expose() });
    refuses_foreigners(client, &wish)?;
    told("a foreign page cannot sign anybody in");
    let signed_in = client.ask("POST", "/auth/login", &own, Some(&wish))?;
    entered(&signed_in)?;
    let jar = Jar::of(client, &signed_in)?;
    told(&format!("signed in; the browser keeps {}", jar.names()));
    let cookies = jar.header();
    let with_cookies =
        |more: [(&'static str, &str); 1]| [("cookie", cookies.clone()), (more[0].0, more[0].1.to_owned())];
    let me = client.ask("GET", "/auth/me", &borrowed(&with_cookies([("accept", "application/json")])), None)?;
    expect(&me, 200, "GET /auth/me with the cookies")
        .map_err(|why| format!("{why}; does something in front drop or rename cookies?"))?;
    not_stored(&me)?;
    told("/auth/me knows the caller");
    let nobody = client.ask("GET", "/auth/me", &[], None)?;
    expect(&nobody, 401, "GET /auth/me without cookies")
        .map_err(|why| format!("{why}; does something in front answer from a cache?"))?;
    told("/auth/me knows nobody without cookies");
    address(client, &cookies)?;
    told("the client's address is not taken from what the client claims");
    let refreshed = client.ask("POST", "/auth/refresh", &borrowed(&with_cookies([("origin", &origin)])), None)?;
    expect(&refreshed, 200, "POST /auth/refresh")?;
    let next = Jar::of(client, &refreshed)?;
    if next.header() == cookies {
        return Err(
            "POST /auth/refresh gave the same cookies again; does something in front answer from a cache?".into()
        );
    }
    told("refreshed");
    let (cookies, origin) = (next.header(), client.origin());
    let out = client.ask("POST", "/auth/logout", &[("cookie", &cookies), ("origin", &origin)], None)?;
    expect(&out, 200, "POST /auth/logout")?;
    let cleared = out.set_cookies().filter(|line| line.contains("Max-Age=0")).count();
    if cleared < 2 {
        return Err(format!("POST /auth/logout cleared {cleared} cookies of 2"));
    }
    let dead = client.ask("GET", "/auth/me", &[("cookie", &cookies)], None)?;
    expect(&dead, 401, "GET /auth/me with the cookies of before the sign-out")?;
    told("signed out, and what was signed in is dead");
    Ok(())
}

fn borrowed<'a>(headers: &'a [(&'static str, String); 2]) -> [(&'a str, &'a str); 2] {
    [(headers[0].0, headers[0].1.as_str()), (headers[1].0, headers[1].1.as_str())]
}

fn expect(answer: &Answer, status: u16, what: &str) -> Result<(), String> {
    if answer.status == status {
        return Ok(());
    }
    let said = answer.json();
    let code = said.get("code").and_then(Value::as_str).map(|code| format!(" ({code})")).unwrap_or_default();
    let location = answer.header("location").map(|to| format!(" to {to}")).unwrap_or_default();
    Err(format!("{what} answers {}{code}{location}, not {status}", answer.status))
}

fn healthy(client: &Client) -> Result<(), String> {
    let health = client.ask_at("GET", "/healthz", &[], None);
    let health = health.and_then(|health| expect(&health, 200, "GET /healthz"));
    health.map_err(|why| format!("{why}; does the service run, and does this URL lead to it?"))
}

fn refuses_foreigners(client: &Client, wish: &Value) -> Result<(), String> {
    let answer = client.ask("POST", "/auth/login", &[("origin", "https://foreign.invalid")], Some(wish))?;
    expect(&answer, 403, "a sign-in from a foreign page")
        .map_err(|why| format!("{why}; does something in front remove or rewrite Origin?"))
}

/// The sign-in, or what its refusal most often means.
fn entered(answer: &Answer) -> Result<(), String> {
    expect(answer, 200, "POST /auth/login").map_err(|why| match answer.status {
        400 | 404 | 405 | 422 => format!("{why}; is native mounted there? --prefix says where"),
        401 => format!("{why}; is that the account's password?"),
        429 => format!("{why}; too many sign-ins failed: wait {} s", answer.header("retry-after").unwrap_or("some")),
        _ => why,
    })
}

fn not_stored(answer: &Answer) -> Result<(), String> {
    match answer.header("cache-control") {
        Some(line) if line.contains("no-store") => Ok(()),
        other => Err(format!(
            "an answer with a session says Cache-Control: {}, not no-store; something in front rewrites it",
            other.unwrap_or("nothing")
        )),
    }
}

/// What the sessions list says of where the sign-in came from.
fn address(client: &Client, cookies: &str) -> Result<(), String> {
    let list = client.ask("GET", "/auth/sessions", &[("cookie", cookies)], None)?;
    expect(&list, 200, "GET /auth/sessions")?;
    if list.text.contains(CLAIMED_ADDRESS) {
        return Err(format!(
            "a client that claims X-Forwarded-For: {CLAIMED_ADDRESS} is believed; the proxy must replace or append \
             to that header, and TRUSTED_PROXIES must hold proxies only"
        ));
    }
    Ok(())
}

/// The cookies that a browser would keep.
struct Jar(Vec<(String, String)>);

impl Jar {
    /// Holds each line to the rules of RFC 6265bis section 5.7, by which browsers drop cookies without a word.
    fn of(client: &Client, answer: &Answer) -> Result<Self, String> {
        let mut kept = Vec::new();
        for line in answer.set_cookies() {
            let mut parts = line.split(';').map(str::trim);
            let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).ok_or("a cookie without a name")?;
            let attributes: Vec<(String, &str)> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(k, v)| (k.to_lowercase(), v))
                .collect();
            dropped(client, name, line, &attributes)
                .map_or(Ok(()), |why| Err(format!("the browser drops the cookie {name}: {why}")))?;
            kept.push((name.to_owned(), value.to_owned()));
        }
        // Both tokens of native are JWTs; a known device's cookie is not.
        let tokens = kept.iter().filter(|(_, value)| value.starts_with("ey")).count();
        if tokens < 2 {
            return Err(format!(
                "{tokens} tokens came in cookies, not 2; does something in front keep lines to itself?"
            ));
        }
        Ok(Self(kept))
    }

    fn names(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

fn dropped(client: &Client, name: &str, line: &str, attributes: &[(String, &str)]) -> Option<String> {
    let value = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let secure = value("secure").is_some();
    let local = ["localhost", "127.0.0.1", "[::1]"].contains(&client.host());
    if line.len() > 4096 {
        return Some(format!("it has {} octets", line.len()));
    }
    if secure && !client.is_https() && !local {
        return Some("it is Secure, and this is http; reach the service under its https PUBLIC_URL".to_owned());
    }
    if !secure && client.is_https() {
        return Some(
            "it is not Secure though this is https; set PUBLIC_URL=https://… (or tell the proxy's scheme)".into(),
        );
    }
    if (name.starts_with("__Host-") || name.starts_with("__Secure-")) && !secure {
        return Some("its name promises Secure".to_owned());
    }
    if name.starts_with("__Host-") && (value("domain").is_some() || value("path") != Some("/")) {
        return Some("its name promises Path=/ and no Domain; something in front rewrites cookies".to_owned());
    }
    if value("samesite").is_some_and(|site| site.eq_ignore_ascii_case("none")) && !secure {
        return Some("SameSite=None needs Secure".to_owned());
    }
    if let Some(domain) = value("domain") {
        let domain = domain.trim_start_matches('.');
        if client.host() != domain && !client.host().ends_with(&format!(".{domain}")) {
            return Some(format!("it is for {domain} and came from {}", client.host()));
        }
    }
    if value("httponly").is_none() {
        return Some("it lacks HttpOnly, so scripts could read it; something in front rewrites cookies".to_owned());
    }
    None
}
