//! Path canonicalisation of the checks' own paths (RFC 3986 section 6.2.2): whether a request that was sent to the proxy was for
//! a check. A proxy that passes such a request on makes the client the one who asks, and its answer would be an assertion for
//! whatever host and method the client likes. Every reading that some server may have of a path counts. What is refused then is
//! decided in forward_auth.rs.

use percent_encoding::percent_decode_str;

/// As often as a chain of proxies and apps may decode a path.
const DECODINGS: usize = 3;

/// Whether the path, in some reading, is one of the checks' paths.
pub fn is_one_of(path: &str, checks: &[String]) -> bool {
    let mut reading = path.to_owned();
    for _ in 0..=DECODINGS {
        let segments = segments(&reading);
        if checks.iter().any(|check| segments.iter().map(String::as_str).eq(check.split('/').skip(1))) {
            return true;
        }
        reading = percent_decode_str(&reading).decode_utf8_lossy().into_owned();
    }
    false
}

/// In lower case, without empty segments, dot segments and path parameters.
fn segments(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']) {
        let name = segment.split([';', '?', '#', '\0']).next().unwrap_or_default().trim();
        match name {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_ascii_lowercase()),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checks_path_is_recognised_in_every_spelling() {
        let checks = ["/auth/verify", "/auth/forward", "/api/auth/verify"].map(ToOwned::to_owned);
        for path in [
            "/auth/verify",
            "/auth/forward/",
            "//auth//verify",
            "/AUTH/Verify",
            "/auth/%76erify",
            "/%61uth/forward",
            "/auth%2fverify",
            "/auth%2Fverify",
            "/auth/%2576erify",
            "/auth/%252576erify",
            "/./auth/./verify",
            "/auth/x/../verify",
            "/x/%2e%2e/auth/verify",
            "/../auth/verify",
            "/auth\\verify",
            "/auth/verify;x=y",
            "/auth;x/verify",
            "/auth/verify%00",
            "/auth/verify%20",
            "/auth/verify%3Fx",
            "/api/auth/verify",
        ] {
            assert!(is_one_of(path, &checks), "{path}");
        }
        for path in ["/", "/auth", "/auth/me", "/auth/verify/x", "/auth/verify-email", "/verify", "/x/auth/verify", ""]
        {
            assert!(!is_one_of(path, &checks), "{path}");
        }
    }
}
