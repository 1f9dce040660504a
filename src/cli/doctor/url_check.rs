//! URL check of the doctor: signs in, reads the account, refreshes and signs out as a browser behind all proxies does, and
//! compares each response with what the service itself would send. It stops at the first difference, which is usually the
//! cause of the others.

use serde_json::{Value, json};

use super::http_client::{CheckError, HttpClient, HttpResponse};
use crate::secret::Secret;

/// A client address that the check claims in X-Forwarded-For. A proxy must not pass it on as true.
const FORGED_ADDRESS: &str = "192.0.2.77";

/// Runs the check; reports each step that passed, and returns the first problem.
pub fn run(
    client: &HttpClient,
    identifier: &str,
    secret: &Secret,
    mut report: impl FnMut(&str),
) -> Result<(), CheckError> {
    let origin = client.origin();
    check_health(client)?;
    report("/healthz answers");
    let credentials = json!({ "identifier": identifier, "password": secret.expose() });
    check_foreign_origin(client, &credentials)?;
    report("a sign-in from another origin is refused");
    let headers = [("origin", origin.as_str()), ("x-forwarded-for", FORGED_ADDRESS)];
    let signed_in = client.send("POST", "/auth/login", &headers, Some(&credentials))?;
    check_sign_in(&signed_in)?;
    let jar = CookieJar::of(client, &signed_in)?;
    report(&format!("signed in; the browser stores {}", jar.names()));
    let cookies = jar.header();
    check_me(client, &cookies)?;
    report("/auth/me identifies the caller");
    check_me_without_cookies(client)?;
    report("/auth/me without cookies answers 401");
    check_client_address(client, &cookies)?;
    report("a forged X-Forwarded-For is ignored");
    let refreshed = client.send("POST", "/auth/refresh", &[("cookie", &cookies), ("origin", &origin)], None)?;
    expect(&refreshed, 200, "POST /auth/refresh")?;
    let renewed = CookieJar::of(client, &refreshed)?.header();
    if renewed == cookies {
        return Err(CheckError(
            "POST /auth/refresh returned the same cookies; does a cache in front of the service answer?".to_owned(),
        ));
    }
    report("refreshed");
    check_sign_out(client, &renewed)?;
    report("signed out; the tokens of the session are refused");
    Ok(())
}

/// The same error with a hint at its cause.
fn with_hint(error: &CheckError, hint: &str) -> CheckError {
    CheckError(format!("{error}; {hint}"))
}

fn check_me(client: &HttpClient, cookies: &str) -> Result<(), CheckError> {
    let me = client.send("GET", "/auth/me", &[("cookie", cookies), ("accept", "application/json")], None)?;
    expect(&me, 200, "GET /auth/me with the cookies")
        .map_err(|error| with_hint(&error, "does a proxy drop or rename cookies?"))?;
    check_not_cacheable(&me)
}

fn check_me_without_cookies(client: &HttpClient) -> Result<(), CheckError> {
    let anonymous = client.send("GET", "/auth/me", &[], None)?;
    expect(&anonymous, 401, "GET /auth/me without cookies")
        .map_err(|error| with_hint(&error, "does a cache in front of the service answer?"))
}

fn check_sign_out(client: &HttpClient, cookies: &str) -> Result<(), CheckError> {
    let origin = client.origin();
    let signed_out = client.send("POST", "/auth/logout", &[("cookie", cookies), ("origin", &origin)], None)?;
    expect(&signed_out, 200, "POST /auth/logout")?;
    let cleared = signed_out.set_cookies().filter(|line| line.contains("Max-Age=0")).count();
    if cleared < 2 {
        return Err(CheckError(format!("POST /auth/logout cleared {cleared} cookies, not 2")));
    }
    let ended = client.send("GET", "/auth/me", &[("cookie", cookies)], None)?;
    expect(&ended, 401, "GET /auth/me with the cookies of the ended session")
}

fn expect(response: &HttpResponse, status: u16, request: &str) -> Result<(), CheckError> {
    if response.status == status {
        return Ok(());
    }
    let body = response.json();
    let code = body.get("code").and_then(Value::as_str).map(|code| format!(" ({code})")).unwrap_or_default();
    let location = response.header("location").map(|to| format!(" to {to}")).unwrap_or_default();
    Err(CheckError(format!("{request} answers {}{code}{location}, not {status}", response.status)))
}

fn check_health(client: &HttpClient) -> Result<(), CheckError> {
    let health = client.send_at_root("GET", "/healthz", &[], None);
    let health = health.and_then(|health| expect(&health, 200, "GET /healthz"));
    health.map_err(|error| with_hint(&error, "is the service running, and does this URL lead to it?"))
}

fn check_foreign_origin(client: &HttpClient, credentials: &Value) -> Result<(), CheckError> {
    let response = client.send("POST", "/auth/login", &[("origin", "https://foreign.invalid")], Some(credentials))?;
    expect(&response, 403, "a sign-in from another origin")
        .map_err(|error| with_hint(&error, "does a proxy remove or rewrite Origin?"))
}

/// The sign-in, with the usual cause when it fails.
fn check_sign_in(response: &HttpResponse) -> Result<(), CheckError> {
    expect(response, 200, "POST /auth/login").map_err(|error| match response.status {
        400 | 404 | 405 | 422 => with_hint(&error, "is the native API mounted there? --prefix sets its prefix"),
        401 => with_hint(&error, "is the password correct?"),
        429 => {
            let wait = response.header("retry-after").unwrap_or("some");
            with_hint(&error, &format!("too many sign-ins failed: try again in {wait} s"))
        }
        _ => error,
    })
}

fn check_not_cacheable(response: &HttpResponse) -> Result<(), CheckError> {
    match response.header("cache-control") {
        Some(line) if line.contains("no-store") => Ok(()),
        other => Err(CheckError(format!(
            "the Cache-Control of /auth/me is {}, not no-store; does a proxy rewrite it?",
            other.unwrap_or("absent")
        ))),
    }
}

/// The forged address must not be the one that the sessions list shows for the sign-in.
fn check_client_address(client: &HttpClient, cookies: &str) -> Result<(), CheckError> {
    let list = client.send("GET", "/auth/sessions", &[("cookie", cookies)], None)?;
    expect(&list, 200, "GET /auth/sessions")?;
    if list.text.contains(FORGED_ADDRESS) {
        return Err(CheckError(format!(
            "X-Forwarded-For: {FORGED_ADDRESS} from a client is trusted; the proxy must replace the header or append to \
             it, and TRUSTED_PROXIES must list proxies only"
        )));
    }
    Ok(())
}

/// The cookies that a browser would store.
struct CookieJar(Vec<(String, String)>);

impl CookieJar {
    /// Applies the rules of RFC 6265bis section 5.7, by which browsers drop cookies silently.
    fn of(client: &HttpClient, response: &HttpResponse) -> Result<Self, CheckError> {
        let mut stored = Vec::new();
        for line in response.set_cookies() {
            let mut parts = line.split(';').map(str::trim);
            let pair = parts.next().and_then(|pair| pair.split_once('='));
            let (name, value) = pair.ok_or_else(|| CheckError("a Set-Cookie header without a name".to_owned()))?;
            let attributes: Vec<(String, &str)> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| (name.to_lowercase(), value))
                .collect();
            if let Some(reason) = reason_to_drop(client, name, line, &attributes) {
                return Err(CheckError(format!("browsers drop the cookie {name}: {reason}")));
            }
            stored.push((name.to_owned(), value.to_owned()));
        }
        // Both tokens of the native API are JWTs; the trusted device's cookie is not.
        let tokens = stored.iter().filter(|(_, value)| value.starts_with("ey")).count();
        if tokens < 2 {
            return Err(CheckError(format!(
                "{tokens} of 2 tokens arrived in cookies; does a proxy drop Set-Cookie headers?"
            )));
        }
        Ok(Self(stored))
    }

    fn names(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

/// Why a browser would drop a cookie, or why it is not the cookie that the service has set.
fn reason_to_drop(client: &HttpClient, name: &str, line: &str, attributes: &[(String, &str)]) -> Option<String> {
    let value = |attribute: &str| attributes.iter().find(|(name, _)| name == attribute).map(|(_, value)| *value);
    let is_secure = value("secure").is_some();
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&client.host());
    if line.len() > 4096 {
        return Some(format!("it has {} bytes, more than 4096", line.len()));
    }
    if is_secure && !client.is_https() && !is_local {
        return Some("it is Secure, but this URL is http; use the https PUBLIC_URL".to_owned());
    }
    if !is_secure && client.is_https() {
        return Some("it is not Secure, but this URL is https; set PUBLIC_URL=https://…".to_owned());
    }
    if (name.starts_with("__Host-") || name.starts_with("__Secure-")) && !is_secure {
        return Some("its name prefix requires Secure".to_owned());
    }
    if name.starts_with("__Host-") && (value("domain").is_some() || value("path") != Some("/")) {
        return Some("its name prefix requires Path=/ and no Domain; does a proxy rewrite cookies?".to_owned());
    }
    if value("samesite").is_some_and(|site| site.eq_ignore_ascii_case("none")) && !is_secure {
        return Some("SameSite=None requires Secure".to_owned());
    }
    if let Some(domain) = value("domain") {
        let domain = domain.trim_start_matches('.');
        if client.host() != domain && !client.host().ends_with(&format!(".{domain}")) {
            return Some(format!("its domain is {domain}, but it was set by {}", client.host()));
        }
    }
    if value("httponly").is_none() {
        return Some("it is not HttpOnly, so scripts can read it; does a proxy rewrite cookies?".to_owned());
    }
    None
}
