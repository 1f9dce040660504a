//! Browser check of a single-page app: what keeps a page of another origin from using the service with cookies. Browsers drop
//! cookies and answers without a word to the page, so every fault is named, not only the first. The settings are not read: a
//! proxy may have changed what browsers see.

use url::{Host, Url};

use super::configuration::same_site;
use super::finding::Finding::{self, Failed, Passed, Warning};
use super::http_client::{CheckError, HttpClient, HttpResponse};

/// Every fault that a page at `app` meets, with its remedy.
pub fn check(client: &HttpClient, app: &Url) -> Result<Vec<Finding>, CheckError> {
    let page = app.origin().ascii_serialization();
    if page == client.origin() {
        return Ok(vec![Passed(format!("{page} is the origin of the service itself: cookies need nothing else"))]);
    }
    let mut findings = Vec::new();
    findings.extend(hosts(client.url(), app));
    findings.extend(schemes(client.url(), app));
    // Answers a stranger, and clears the cookies: their attributes are those of a sign-in.
    let own = client.origin();
    let cleared = client.send("POST", "/auth/logout", &[("origin", &own)], None)?;
    findings.extend(cookies(&cleared, client.url(), app));
    findings.extend(cors(client, &page)?);
    if findings.is_empty() {
        findings.push(Passed(format!("a page of {page} can sign in, with credentials: \"include\" in each fetch")));
    }
    Ok(findings)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// One machine by two names: for cookies these are two sites.
fn hosts(service: &Url, app: &Url) -> Option<Finding> {
    let (own, other) = (service.host_str()?, app.host_str()?);
    (is_loopback(service) && is_loopback(app) && own != other).then(|| {
        Failed(format!(
            "the page is at {other} and the service at {own}: to a browser these are two sites, and it drops the cookies; use {other} \
             for both"
        ))
    })
}

fn schemes(service: &Url, app: &Url) -> Option<Finding> {
    match (app.scheme(), service.scheme()) {
        ("https", "http") if !is_loopback(service) => Some(Failed(
            "the page is https and the service http: browsers block such requests (mixed content); serve both over https".to_owned(),
        )),
        (page, own) if page != own && app.host_str() == service.host_str() => Some(Failed(format!(
            "the page is {page} and the service {own}: to a browser these are two sites; use the same scheme for both"
        ))),
        _ => None,
    }
}

fn cookies(cleared: &HttpResponse, service: &Url, app: &Url) -> Vec<Finding> {
    let attribute = |line: &str, name: &str| {
        line.split(';').skip(1).map(str::trim).any(|attribute| attribute.eq_ignore_ascii_case(name))
    };
    let lines: Vec<&str> = cleared.set_cookies().collect();
    let mut findings = Vec::new();
    if lines.is_empty() {
        let status = cleared.status;
        findings.push(Failed(format!(
            "POST /auth/logout answers {status} and no cookie; is the native API there (--prefix), and does a proxy drop Set-Cookie?"
        )));
        return findings;
    }
    let is_secure = lines.iter().all(|line| attribute(line, "Secure"));
    if is_secure && service.scheme() == "http" && !is_loopback(service) {
        findings.push(Failed(
            "the cookies are Secure and the service is http: browsers do not store them; use https, or an http PUBLIC_URL in development"
                .to_owned(),
        ));
    }
    if same_site(service, app) {
        return findings;
    }
    if lines.iter().all(|line| attribute(line, "SameSite=None")) {
        findings.push(Warning(
            "the page is on another site: browsers block third-party cookies even with SameSite=None; serve the page and the service \
             under one domain"
                .to_owned(),
        ));
    } else if !(is_loopback(service) && is_loopback(app)) {
        findings.push(Failed(
            "the page is on another site, and the cookies are not SameSite=None: browsers do not send them with its requests; serve both \
             under one domain (app.example.com and auth.example.com), or set COOKIE_SAME_SITE=None"
                .to_owned(),
        ));
    }
    findings
}

fn cors(client: &HttpClient, page: &str) -> Result<Vec<Finding>, CheckError> {
    let mut findings = Vec::new();
    let read = client.send("GET", "/auth/session", &[("origin", page)], None)?;
    let allowed = read.header("access-control-allow-origin") == Some(page);
    if !allowed {
        findings.push(Failed(format!(
            "the answers have no Access-Control-Allow-Origin: {page}, so that the page cannot read them; add it to CORS_ORIGINS"
        )));
    } else if read.header("access-control-allow-credentials") != Some("true") {
        findings.push(Failed(
            "the answers have no Access-Control-Allow-Credentials: true; does a proxy write CORS headers of its own?"
                .to_owned(),
        ));
    }
    if read.headers.iter().filter(|(name, _)| name == "access-control-allow-origin").count() > 1 {
        findings.push(Failed(
            "the answers have Access-Control-Allow-Origin twice, which browsers refuse; let only the service write CORS headers".to_owned(),
        ));
    }
    let preflight = [
        ("origin", page),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let asked = client.send("OPTIONS", "/auth/login", &preflight, None)?;
    let grants =
        asked.header("access-control-allow-headers").is_some_and(|names| names.to_lowercase().contains("content-type"));
    if allowed && !((200..300).contains(&asked.status) && grants) {
        let status = asked.status;
        findings.push(Failed(format!(
            "the preflight OPTIONS /auth/login is answered {status} and does not allow Content-Type; does a proxy answer OPTIONS itself?"
        )));
    }
    Ok(findings)
}
