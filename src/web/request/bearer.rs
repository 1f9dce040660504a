//! Bearer authentication headers (RFC 6750): the only place that parses `Authorization` and writes `WWW-Authenticate`. The
//! types fit actix-web-httpauth. Whether a missing or malformed header is an error is for each dialect to decide; tokens are
//! verified by core.
//!
//! The crate's own `Bearer` types are not used: its parser accepts any text after the first space and one spelling of the
//! scheme only, its extractor reads the first of several headers, and its challenge has no commas between parameters.

use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, InvalidHeaderValue, TryIntoHeaderValue};
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use actix_web_httpauth::headers::authorization::{ParseError, Scheme};
use actix_web_httpauth::headers::www_authenticate::Challenge;
use actix_web_httpauth::headers::www_authenticate::bearer::Error as BearerError;

use crate::core::error::Refusal;
use crate::secret::AccessToken;
use crate::web::response::error::{RequestError, WebError};

/// The protection space of every challenge.
const REALM: &str = "doorward";

/// The token of an `Authorization: Bearer TOKEN` header: the scheme in upper or lower case (RFC 9110 section 11.1), one space, one
/// `b64token` (RFC 6750 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken(AccessToken);

impl BearerToken {
    /// The token as it was sent.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The token for core to verify.
    pub fn into_access_token(self) -> AccessToken {
        self.0
    }
}

/// Without the token: a header that is printed must not disclose it.
impl fmt::Display for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer ***")
    }
}

impl TryIntoHeaderValue for BearerToken {
    type Error = InvalidHeaderValue;

    fn try_into_value(self) -> Result<HeaderValue, Self::Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.expose()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Scheme for BearerToken {
    /// `MissingScheme`: another scheme, or none. `MissingField`: the scheme without a token. Else the token is malformed.
    fn parse(header: &HeaderValue) -> Result<Self, ParseError> {
        let line = header.to_str()?;
        let (scheme, token) = line.split_once(' ').unwrap_or((line, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ParseError::MissingScheme);
        }
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match token {
            "" => Err(ParseError::MissingField("token")),
            token if token.bytes().all(is_token_byte) => Ok(Self(AccessToken::new(token))),
            _ => Err(ParseError::Invalid),
        }
    }
}

/// The one bearer token of a request. No header, a malformed one and several of them are errors.
impl FromRequest for BearerToken {
    type Error = WebError;
    type Future = Ready<Result<Self, WebError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(strict_bearer(request.headers()).and_then(|token| token.ok_or_else(|| Refusal::TokenMissing.into())))
    }
}

/// What the `Authorization` headers of a request contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizationHeader {
    /// No header, or an empty one, which counts as none.
    Absent,
    /// One bearer token.
    Bearer(BearerToken),
    /// The scheme without a token.
    MissingToken,
    /// Another scheme, or a text without one.
    OtherScheme(String),
    /// Several headers, or a token with bytes that no token has.
    Malformed,
}

impl AuthorizationHeader {
    /// Reads the headers. Several are malformed, even if they are equal: a proxy may have checked another than the one that is
    /// read here.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(AUTHORIZATION);
        let line = match (lines.next(), lines.next()) {
            (None, _) => return Self::Absent,
            (Some(line), None) => line,
            (Some(_), Some(_)) => return Self::Malformed,
        };
        let text = line.to_str().unwrap_or("\0");
        if text.trim().is_empty() {
            return Self::Absent;
        }
        match BearerToken::parse(line) {
            Ok(token) => Self::Bearer(token),
            Err(ParseError::MissingField(_)) => Self::MissingToken,
            Err(ParseError::MissingScheme) => Self::OtherScheme(text.to_owned()),
            Err(_) => Self::Malformed,
        }
    }
}

/// native's reading, which `Caller` shares: the header is a bearer token or an error of the request.
pub(in crate::web) fn strict_bearer(headers: &HeaderMap) -> Result<Option<BearerToken>, WebError> {
    match AuthorizationHeader::read(headers) {
        AuthorizationHeader::Absent => Ok(None),
        AuthorizationHeader::Bearer(token) => Ok(Some(token)),
        AuthorizationHeader::MissingToken | AuthorizationHeader::OtherScheme(_) => Err(Refusal::TokenInvalid.into()),
        AuthorizationHeader::Malformed => Err(RequestError::AuthorizationMalformed.into()),
    }
}

/// As `strict_bearer`, where the header may be for another service: one that does not end in a token of ours counts as none.
/// Several headers are malformed as everywhere.
pub(in crate::web) fn own_bearer(
    headers: &HeaderMap,
    is_own: impl FnOnce(&str) -> bool,
) -> Result<Option<BearerToken>, WebError> {
    let mut lines = headers.get_all(AUTHORIZATION);
    if let (Some(line), None) = (lines.next(), lines.next()) {
        // Whatever precedes it: a token of ours under another scheme is an error and not another service's.
        let last = line.to_str().ok().and_then(|text| text.rsplit([' ', '\t', '=', ',']).next());
        if !last.is_some_and(is_own) {
            return Ok(None);
        }
    }
    strict_bearer(headers)
}

/// The challenge of a `WWW-Authenticate` header: realm and error, separated by a comma (RFC 6750 section 3, RFC 9110 section
/// 11.6.1). A request without credentials gets no error (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BearerChallenge {
    error: Option<BearerError>,
}

impl BearerChallenge {
    /// The challenge to a request without credentials.
    pub const fn without_error() -> Self {
        Self { error: None }
    }

    /// The token is expired, revoked or invalid for other reasons.
    pub const fn invalid_token() -> Self {
        Self { error: Some(BearerError::InvalidToken) }
    }

    /// The token is valid and lacks the required permission.
    pub const fn insufficient_scope() -> Self {
        Self { error: Some(BearerError::InsufficientScope) }
    }

    /// The header itself is malformed.
    pub const fn invalid_request() -> Self {
        Self { error: Some(BearerError::InvalidRequest) }
    }
}

impl fmt::Display for BearerChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer realm=\"{REALM}\"")?;
        self.error.map_or(Ok(()), |error| write!(f, ", error=\"{error}\""))
    }
}

impl TryIntoHeaderValue for BearerChallenge {
    type Error = InvalidHeaderValue;

    fn try_into_value(self) -> Result<HeaderValue, Self::Error> {
        HeaderValue::from_maybe_shared(self.to_bytes())
    }
}

impl Challenge for BearerChallenge {
    fn to_bytes(&self) -> Bytes {
        Bytes::from(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap()));
        let token = strict_bearer(&headers).map_err(|error| error.reason())?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn bearer_scheme_has_any_case_and_the_token_one_space() {
        for line in ["Bearer a.b-c_d", "bearer a.b-c_d", "BEARER a.b-c_d"] {
            assert_eq!(read(&[line]), Ok(Some("a.b-c_d".to_owned())), "{line}");
        }
        for line in ["Bearer  a", "Bearer a b", "Bearer a,b", "Bearer a\tb"] {
            assert_eq!(read(&[line]), Err("authorization_malformed"), "{line}");
        }
        for line in ["Bearer", "Bearer ", "Basic eDp5", "Token a", "a.b.c"] {
            assert_eq!(read(&[line]), Err("token_invalid"), "{line}");
        }
    }

    #[test]
    fn an_empty_bearer_header_is_absent_and_two_are_malformed() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[""]), Ok(None));
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err("authorization_malformed"));
    }

    #[test]
    fn a_header_of_another_service_is_none_and_one_of_ours_is_read_strictly() {
        let read = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap()));
            let token = own_bearer(&headers, |token| token == "o.u.r").map_err(|error| error.reason())?;
            Ok(token.map(|token| token.expose().to_owned()))
        };
        for line in
            ["", "Basic eDp5", "Bearer", "Bearer a.b.c", "Bearer a b", "Bearer o.u.r x", "Digest a=\"o.u.r\"", "x"]
        {
            assert_eq!(read(&[line]), Ok(None), "{line}");
        }
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer o.u.r"]), Ok(Some("o.u.r".to_owned())));
        assert_eq!(read(&["bearer o.u.r"]), Ok(Some("o.u.r".to_owned())));
        for line in ["Token o.u.r", "o.u.r", "Token token=o.u.r"] {
            assert_eq!(read(&[line]), Err("token_invalid"), "{line}");
        }
        assert_eq!(read(&["Bearer  o.u.r"]), Err("authorization_malformed"));
        assert_eq!(read(&["Basic eDp5", "Bearer a.b.c"]), Err("authorization_malformed"));
    }

    #[test]
    fn challenge_parameters_are_separated_by_a_comma() {
        let challenge = |challenge: BearerChallenge| challenge.try_into_value().unwrap();
        assert_eq!(challenge(BearerChallenge::without_error()), "Bearer realm=\"doorward\"");
        let expected = "Bearer realm=\"doorward\", error=\"invalid_token\"";
        assert_eq!(challenge(BearerChallenge::invalid_token()), expected);
    }

    #[test]
    fn a_printed_bearer_token_is_hidden_and_its_header_is_sensitive() {
        let token = BearerToken::parse(&HeaderValue::from_static("bearer a.b.c")).unwrap();
        assert!(!format!("{token} {token:?}").contains("a.b.c"));
        let header = token.try_into_value().unwrap();
        assert!(header == "Bearer a.b.c" && header.is_sensitive());
    }
}
