//! Cookie settings: names, prefixes, domain and SameSite of the session's cookies. Writing and reading cookies is
//! web/request/session_cookie.rs's.

use std::str::FromStr;

use crate::settings::values::InvalidValue;

/// Settings of cookies.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cookies")]
pub struct CookieSettings {
    /// The prefix of cookie names: `__Host-`, `__Secure-`, `none` or `auto`. With an https PUBLIC_URL `auto` means `__Host-`,
    /// or `__Secure-` if there is a COOKIE_DOMAIN; otherwise none.
    #[arg(long, default_value = "auto")]
    pub cookie_prefix: CookiePrefix,

    /// The domain whose subdomains share the cookies: example.com. Default: only the service's own host.
    #[arg(long, value_parser = domain)]
    pub cookie_domain: Option<String>,

    /// `Lax`, `Strict` or `None` (cross-site use; needs an https PUBLIC_URL).
    #[arg(long, default_value = "Lax")]
    pub cookie_same_site: SameSite,

    /// The name of the access token's cookie, without its prefix.
    #[arg(long, default_value = "accessToken", value_parser = cookie_name)]
    pub cookie_access_name: String,

    /// The name of the refresh token's cookie, without its prefix.
    #[arg(long, default_value = "refreshToken", value_parser = cookie_name)]
    pub cookie_refresh_name: String,

    /// The name of the trusted device's cookie, without its prefix. By it the throttle recognises a device that has signed in
    /// before.
    #[arg(long, default_value = "deviceToken", value_parser = cookie_name)]
    pub cookie_device_name: String,
}

/// The name prefix by which browsers enforce attributes of a cookie (RFC 6265bis section 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookiePrefix {
    /// Chosen by the public URL and the domain.
    Auto,
    /// No prefix.
    Plain,
    /// `__Host-`: Secure, no Domain, Path=/.
    Host,
    /// `__Secure-`: Secure.
    Secure,
}

impl FromStr for CookiePrefix {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::Plain),
            "__Host-" => Ok(Self::Host),
            "__Secure-" => Ok(Self::Secure),
            other => Err(InvalidValue::new(format!(
                "{other:?} is not a valid cookie prefix; use __Host-, __Secure-, none or auto"
            ))),
        }
    }
}

/// Which requests from other sites carry the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Top-level navigations.
    Lax,
    /// None.
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
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "lax" => Ok(Self::Lax),
            "strict" => Ok(Self::Strict),
            "none" => Ok(Self::None),
            other => {
                Err(InvalidValue::new(format!("{other:?} is not a valid SameSite value; use Lax, Strict or None")))
            }
        }
    }
}

/// A token of RFC 9110 section 5.6.2, without the prefixes that COOKIE_PREFIX adds.
fn cookie_name(text: &str) -> Result<String, InvalidValue> {
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(is_token_char) {
        return Err(InvalidValue::new(format!("{text:?} is not a valid cookie name; use letters, digits, - and _")));
    }
    if text.to_ascii_lowercase().starts_with("__host-") || text.to_ascii_lowercase().starts_with("__secure-") {
        return Err(InvalidValue::new(format!(
            "{text:?} includes a prefix; write the name alone and set COOKIE_PREFIX"
        )));
    }
    Ok(text.to_owned())
}

/// A domain of at least two labels: browsers refuse a cookie for a single label or an IP address.
fn domain(text: &str) -> Result<String, InvalidValue> {
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !label.starts_with('-')
    };
    let name = text.strip_prefix('.').unwrap_or(text);
    if !name.contains('.') || !name.split('.').all(is_label) || name.parse::<std::net::IpAddr>().is_ok() {
        return Err(InvalidValue::new(format!(
            "{text:?} is not a domain that browsers accept for cookies; write a domain such as example.com"
        )));
    }
    Ok(name.to_ascii_lowercase())
}
