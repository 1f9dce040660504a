//! The HTTP client of the walk: one origin, no redirects, no cookie jar of its own, so that each step sees what was sent
//! and what came.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use url::Url;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most of an answer that is read.
const BODY_MAX: u64 = 256 * 1024;

/// A client of one service.
pub struct Client {
    agent: Agent,
    url: Url,
    prefix: String,
}

/// What came.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Every header line, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every cookie line.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Client {
    /// For this origin; `ca` replaces Mozilla's roots.
    pub fn new(url: &Url, prefix: &str, ca: Option<&Path>) -> Result<Self, String> {
        let roots = ca.map_or(Ok(RootCerts::WebPki), |ca| Ok::<_, String>(read_roots(ca)?.into()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .user_agent("doorward doctor")
            .tls_config(tls)
            .build();
        Ok(Self { agent: config.into(), url: url.clone(), prefix: prefix.trim_end_matches('/').to_owned() })
    }

    /// The origin, as a browser would send it.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host that cookies must be for.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Asks under the mount.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        self.ask_at(method, &format!("{}{path}", self.prefix), headers, body)
    }

    /// Asks at the root.
    pub fn ask_at(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("{method} {path}: {why}");
        let target = self.url.join(path).map_err(|why| wrong(&why))?;
        let mut request = Request::builder().method(method).uri(target.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body).map_err(|why| wrong(&why))?;
        let mut answer = self.agent.run(request).map_err(|why| wrong(&why))?;
        let text = answer.body_mut().with_config().limit(BODY_MAX).read_to_string().map_err(|why| wrong(&why))?;
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().iter().map(header).collect(), text })
    }
}

fn read_roots(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = std::fs::read(path).map_err(|why| format!("--ca {}: {why}", path.display()))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        Err(format!("--ca {} holds no certificate", path.display()))
    } else {
        Ok(certificates)
    }
}
