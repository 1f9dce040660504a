//! HTTP client of the URL check: one origin, no redirects, no cookie jar, so that each step sees exactly what was sent and
//! received.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use url::Url;

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a response body.
const RESPONSE_BODY_MAX: u64 = 256 * 1024;

/// Why a check of the URL failed: the problem, and its likely cause or remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CheckError(pub String);

/// A client of one service.
pub struct HttpClient {
    agent: Agent,
    url: Url,
    prefix: String,
}

/// A response.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Every header line, with the name in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub text: String,
}

impl HttpResponse {
    /// The first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Every Set-Cookie line.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `null` when it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl HttpClient {
    /// A client of this origin. `ca` replaces Mozilla's root certificates.
    pub fn new(url: &Url, prefix: &str, ca: Option<&Path>) -> Result<Self, CheckError> {
        let roots = ca.map_or(Ok(RootCerts::WebPki), |ca| Ok::<_, CheckError>(read_root_certificates(ca)?.into()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent("doorward doctor")
            .tls_config(tls)
            .build();
        Ok(Self { agent: config.into(), url: url.clone(), prefix: prefix.trim_end_matches('/').to_owned() })
    }

    /// The origin, as browsers send it.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL of the service.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the service is reached over https.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host that cookies must match.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Sends a request to a path under the mount.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<HttpResponse, CheckError> {
        self.send_at_root(method, &format!("{}{path}", self.prefix), headers, body)
    }

    /// Sends a request to a path of the origin.
    pub fn send_at_root(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<HttpResponse, CheckError> {
        let failed = |error: &dyn std::fmt::Display| CheckError(format!("{method} {path}: {error}"));
        let target = self.url.join(path).map_err(|error| failed(&error))?;
        let mut request = Request::builder().method(method).uri(target.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(body).map_err(|error| failed(&error))?;
        let mut response = self.agent.run(request).map_err(|error| failed(&error))?;
        let text = response
            .body_mut()
            .with_config()
            .limit(RESPONSE_BODY_MAX)
            .read_to_string()
            .map_err(|error| failed(&error))?;
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(header).collect(),
            text,
        })
    }
}

fn read_root_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CheckError> {
    let pem =
        std::fs::read(path).map_err(|error| CheckError(format!("--ca: {} cannot be read: {error}", path.display())))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        Err(CheckError(format!("--ca: {} contains no certificate; use a PEM file", path.display())))
    } else {
        Ok(certificates)
    }
}
