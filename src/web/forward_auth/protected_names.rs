//! Header name confusion (header spoofing): recognises a request header that some app would read as one of the headers on
//! which an identity or a decision rests. CGI and its heirs (RFC 3875 section 4.1.18) replace bytes of a header's name to make
//! a variable's, and do not agree on which: `Remote_User`, `Remote.User` and `Remote~User` are all `HTTP_REMOTE_USER` somewhere.
//! A proxy overwrites the name as it is written here and no other, so every other spelling of it is a client's. What is done
//! about one is decided in forward_auth.rs and fast_path.rs.

/// What the names begin with that are all protected, whatever follows: apps trust more of these than a check reads.
const FAMILIES: [&str; 2] = ["x-forwarded-", "x-original-"];

/// Names of headers of which no other spelling is accepted.
#[derive(Debug)]
pub struct ProtectedNames {
    names: Vec<String>,
    /// A bit for each letter that one of the names begins with: most headers of a request need no closer look.
    initials: u32,
}

impl ProtectedNames {
    /// From names in lower case, with hyphens.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.map(ToOwned::to_owned).collect();
        let initials = names.iter().map(String::as_str).chain(FAMILIES).fold(0, |bits, name| bits | initial(name));
        Self { names, initials }
    }

    /// Whether a header imitates one of the names: letters and digits are equal, and another byte than a hyphen stands for a
    /// hyphen (oauth2-proxy CVE-2025-64484, Traefik CVE-2026-39858, Caddy CVE-2026-52845).
    pub fn is_imitated_by(&self, name: &str) -> bool {
        self.initials & initial(name) != 0 && !name.bytes().all(is_plain) && self.is_equivalent_to_any(name)
    }

    fn is_equivalent_to_any(&self, name: &str) -> bool {
        let belongs = |family: &&str| name.get(..family.len()).is_some_and(|begin| are_equivalent(begin, family));
        FAMILIES.iter().any(belongs) || self.names.iter().any(|known| are_equivalent(name, known))
    }
}

/// The bit of a name's first letter, in upper or lower case.
fn initial(name: &str) -> u32 {
    name.bytes().next().map_or(0, |byte| 1 << (byte & 31))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn are_equivalent(name: &str, known: &str) -> bool {
    let is_equivalent =
        |(one, other): (u8, u8)| one.eq_ignore_ascii_case(&other) || (other == b'-' && !one.is_ascii_alphanumeric());
    name.len() == known.len() && name.bytes().zip(known.bytes()).all(is_equivalent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> ProtectedNames {
        ProtectedNames::new(["remote-user", "x-who", "x-real-ip"].into_iter())
    }

    #[test]
    fn every_byte_but_letters_and_digits_stands_for_a_hyphen() {
        // Every byte that a header's name may have (RFC 9110 section 5.6.2).
        for odd in "!#$%&'*+.^_`|~".chars() {
            for name in ["remote-user", "Remote-User", "REMOTE-USER", "X-Who", "x-real-ip", "X-Forwarded-Anything"] {
                let imitation = name.replace('-', &odd.to_string());
                assert!(names().is_imitated_by(&imitation), "{imitation}");
            }
            assert!(names().is_imitated_by(&format!("x-real{odd}ip")));
            assert!(names().is_imitated_by(&format!("X-Forwarded-Client{odd}Cert")));
            for other in ["remote-users", "remote-use", "remoteuser", "x-whom", "x-realm", "forwarded", "x-forward-ed"]
            {
                let other = other.replace('-', &odd.to_string());
                assert!(!names().is_imitated_by(&other), "{other}");
            }
        }
    }

    #[test]
    fn no_letter_or_digit_stands_for_a_hyphen() {
        for name in ["xareal_ip", "x0real~ip", "x-real.0p", "remotexus_r", "xZforwarded_for"] {
            assert!(!names().is_imitated_by(name), "{name}");
        }
    }

    #[test]
    fn a_name_as_the_proxy_writes_it_is_no_imitation() {
        for name in ["remote-user", "Remote-User", "X-WHO", "x-forwarded-for", "X-Forwarded-Client-Cert", "", "_", "-"]
        {
            assert!(!names().is_imitated_by(name), "{name}");
        }
    }
}
