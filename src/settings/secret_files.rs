//! Secrets from files: `NAME_FILE` for each setting whose value is a secret or may contain one, as container platforms mount
//! them. What a valid value is, the setting itself decides.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The settings that may be read from a file: secrets, and URLs with passwords.
pub const SECRET_SETTINGS: [&str; 5] = ["DATABASE_URL", "JWT_SECRET", "PEPPER", "SMTP_URL", "METRICS_TOKEN"];

const SUFFIX: &str = "_FILE";

/// The setting whose value the file of this variable holds.
pub fn setting_of_file(name: &str) -> Option<&'static str> {
    let setting = name.strip_suffix(SUFFIX)?;
    SECRET_SETTINGS.into_iter().find(|known| *known == setting)
}

/// Replaces each `NAME_FILE` by `NAME` with the contents of that file, without one line break at its end. Returns an error for each
/// that cannot be.
pub fn resolve(vars: &BTreeMap<String, String>) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut resolved, mut errors) = (vars.clone(), Vec::new());
    for (variable, path) in vars {
        let Some(setting) = setting_of_file(variable) else { continue };
        resolved.remove(variable);
        let path = path.trim();
        if path.is_empty() {
            continue;
        }
        if vars.get(setting).is_some_and(|value| !value.trim().is_empty()) {
            errors.push(format!("{variable}: {setting} is set too; remove one of the two"));
            continue;
        }
        match read(Path::new(path)) {
            Ok(value) => drop(resolved.insert(setting.to_owned(), value)),
            Err(problem) => errors.push(format!("{variable}: {path} {problem}")),
        }
    }
    (resolved, errors)
}

fn read(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| explain(path, &error))?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.trim().is_empty() {
        return Err("is empty; write the value into it".to_owned());
    }
    if value.contains('\n') {
        return Err("has several lines; write the value alone into it".to_owned());
    }
    Ok(value.to_owned())
}

fn explain(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist; mount it, or correct the path".to_owned(),
        io::ErrorKind::PermissionDenied => format!("cannot be read: permission denied{}", owner(path)),
        io::ErrorKind::IsADirectory => "is a directory; name the file in it".to_owned(),
        io::ErrorKind::InvalidData => "is not valid UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Who may read the file, for the one who must change that.
pub fn owner(path: &Path) -> String {
    fs::metadata(path).map_or_else(
        |_unknown| String::new(),
        |file| {
            format!(
                " (owner {}, group {}, mode {:o}); run: chown or chmod",
                file.uid(),
                file.gid(),
                file.mode() & 0o777
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str, text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        fs::write(&path, text).unwrap();
        let vars = [(format!("{name}_FILE"), path.display().to_string())].into();
        let (resolved, errors) = resolve(&vars);
        errors.first().map_or_else(|| Ok(resolved[name].clone()), |error| Err(error.clone()))
    }

    #[test]
    fn one_line_break_at_the_end_is_no_part_of_the_value() {
        for (text, value) in [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), (" a b$ \n", " a b$ ")] {
            assert_eq!(resolved("PEPPER", text).unwrap(), value);
        }
        for text in ["", "\n", " \n", "abc\ndef\n"] {
            let error = resolved("SMTP_URL", text).unwrap_err();
            assert!(error.starts_with("SMTP_URL_FILE: ") && !error.contains("abc"), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing").display().to_string();
        for (path, problem) in
            [(missing.clone(), "does not exist"), (folder.path().display().to_string(), "is a directory")]
        {
            let (_, errors) = resolve(&[("METRICS_TOKEN_FILE".to_owned(), path.clone())].into());
            assert!(errors.len() == 1 && errors[0].contains(&path) && errors[0].contains(problem), "{errors:?}");
        }
        let both =
            [("PEPPER", "x"), ("PEPPER_FILE", missing.as_str())].map(|(name, value)| (name.into(), value.into()));
        assert!(resolve(&both.into()).1[0].contains("PEPPER is set too"));
    }

    #[test]
    fn other_settings_are_not_read_from_files() {
        assert_eq!(setting_of_file("KEYS_FILE"), None);
        assert_eq!(setting_of_file("PUBLIC_URL_FILE"), None);
        assert_eq!(SECRET_SETTINGS.map(|name| setting_of_file(&format!("{name}_FILE"))), SECRET_SETTINGS.map(Some));
    }
}
