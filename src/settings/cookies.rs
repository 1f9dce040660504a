//! What the session's cookies are called and how far they reach. Writing and reading them is web/session_cookie.rs's.

use std::str::FromStr;

/// Settings of cookies.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cookies")]
pub struct Cookies {
    /// `__Host-`, `__Secure-`, `none` or `auto`: over https `__Host-`, or `__Secure-` with a COOKIE_DOMAIN; over http none.
    #[arg(long, default_value = "auto")]
    pub cookie_prefix: Prefix,

    /// The domain whose subdomains share the cookies: example.com. Unset: this host only.
    #[arg(long, value_parser = domain)]
    pub cookie_domain: Option<String>,

    /// `Lax`, `Strict` or `None` (cross-site use; needs https).
    #[arg(long, default_value = "Lax")]
    pub cookie_same_site: SameSite,

    /// The access token's cookie, without its prefix.
    #[arg(long, default_value = "accessToken", value_parser = cookie_name)]
    pub cookie_access_name: String,

    /// The refresh token's cookie, without its prefix.
    #[arg(long, default_value = "refreshToken", value_parser = cookie_name)]
    pub cookie_refresh_name: String,

    /// The cookie by which a device that has signed in before is known to the throttle, without its prefix.
    #[arg(long, default_value = "deviceToken", value_parser = cookie_name)]
    pub cookie_device_name: String,
}

/// The name prefix that makes a browser hold a cookie to rules (RFC 6265bis section 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// By the public URL and the domain.
    Auto,
    /// None.
    Plain,
    /// `__Host-`: Secure, no Domain, Path=/.
    Host,
    /// `__Secure-`: Secure.
    Secure,
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::Plain),
            "__Host-" => Ok(Self::Host),
            "__Secure-" => Ok(Self::Secure),
            other => Err(format!("{other:?} is no prefix; use __Host-, __Secure-, none or auto")),
        }
    }
}

/// Which requests from other sites carry the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Top-level navigations only.
    Lax,
    /// None at all.
    Strict,
    /// All.
    None,
}

impl SameSite {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "Lax",
            Self::Strict => "Strict",
            Self::None => "None",
        }
    }
}

impl FromStr for SameSite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "lax" => Ok(Self::Lax),
            "strict" => Ok(Self::Strict),
            "none" => Ok(Self::None),
            other => Err(format!("{other:?} is no SameSite value; use Lax, Strict or None")),
        }
    }
}

/// The token of RFC 9110 section 5.6.2, without the prefixes that COOKIE_PREFIX adds.
fn cookie_name(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(token) {
        return Err(format!("{text:?} is no cookie name; use letters, digits, - and _"));
    }
    if text.to_ascii_lowercase().starts_with("__host-") || text.to_ascii_lowercase().starts_with("__secure-") {
        return Err(format!("{text:?} brings its prefix; leave it out and set COOKIE_PREFIX"));
    }
    Ok(text.to_owned())
}

fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !label.starts_with('-')
    };
    let name = text.strip_prefix('.').unwrap_or(text);
    if !name.contains('.') || !name.split('.').all(label) || name.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{text:?} is no domain that a browser accepts; write example.com"));
    }
    Ok(name.to_ascii_lowercase())
}
