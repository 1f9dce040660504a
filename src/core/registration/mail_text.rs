//! Mail templates of a registration, in each language of the pages. They contain none of the registration's fields: otherwise
//! an attacker could use the service to mail a text of their own to any address.

use crate::mail::Email;

/// The templates of one language, as subject and text. `{name}` is the name of the service, `{link}` the page to open.
#[derive(Debug)]
struct Translation {
    language: &'static str,
    confirm: (&'static str, &'static str),
    has_account: (&'static str, &'static str),
    name_taken: (&'static str, &'static str),
}

const TRANSLATIONS: [Translation; 2] = [
    Translation {
        language: "en",
        confirm: (
            "Confirm your account at {name}",
            "An account at {name} was requested with this email address.\n\n\
             To confirm it, open this link and enter the password that you chose:\n\n{link}\n\n\
             The link is valid for 24 hours. If you did not request an account, ignore this message: the link does not work without \
             the password.\n",
        ),
        has_account: (
            "You already have an account at {name}",
            "An account at {name} was requested with this email address, which already has one. \
             Nothing was changed.\n\n\
             If you requested it, sign in with your existing password:\n\n{link}\n\n\
             If you did not request it, ignore this message.\n",
        ),
        name_taken: (
            "Choose another user name at {name}",
            "An account at {name} was requested with this email address. The chosen user name is taken, so no account was \
             created.\n\n\
             Register again with another one:\n\n{link}\n\n\
             If you did not request it, ignore this message.\n",
        ),
    },
    Translation {
        language: "es",
        confirm: (
            "Confirma tu cuenta en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo.\n\n\
             Para confirmarla, abre este enlace y escribe la contraseña que elegiste:\n\n{link}\n\n\
             El enlace es válido durante 24 horas. Si no has solicitado una cuenta, ignora este mensaje: sin la contraseña el enlace \
             no funciona.\n",
        ),
        has_account: (
            "Ya tienes una cuenta en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo, que ya tiene una. \
             No se ha cambiado nada.\n\n\
             Si la has solicitado tú, inicia sesión con tu contraseña actual:\n\n{link}\n\n\
             Si no la has solicitado, ignora este mensaje.\n",
        ),
        name_taken: (
            "Elige otro nombre de usuario en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo. El nombre de usuario elegido ya está en uso, así \
             que no se ha creado ninguna cuenta.\n\n\
             Regístrate de nuevo con otro:\n\n{link}\n\n\
             Si no la has solicitado, ignora este mensaje.\n",
        ),
    },
];

/// The mails of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// The address is free: the link confirms the registration.
    Confirm,
    /// The address has an account already.
    HasAccount,
    /// The user name belongs to another account.
    NameTaken,
}

/// Renders a mail in a language, or in the first one if there is no translation.
pub fn render(template: Template, language: &str, name: &str, link: &str) -> Email {
    let [default, ..] = &TRANSLATIONS;
    let translation = TRANSLATIONS.iter().find(|translation| translation.language == language).unwrap_or(default);
    let (subject, text) = match template {
        Template::Confirm => translation.confirm,
        Template::HasAccount => translation.has_account,
        Template::NameTaken => translation.name_taken,
    };
    let text = text.replace("{name}", name).replace("{link}", link);
    Email { subject: subject.replace("{name}", name), text, language: translation.language }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mail_has_link_and_name_in_each_language_and_a_subject_of_its_own() {
        let mut subjects = Vec::new();
        for template in [Template::Confirm, Template::HasAccount, Template::NameTaken] {
            for language in ["en", "es"] {
                let email = render(template, language, "The Service", "https://x.example/y");
                assert_eq!(email.language, language);
                assert!(email.text.contains("\n\nhttps://x.example/y\n\n"), "{}", email.text);
                assert!(email.subject.contains("The Service") && email.text.contains("The Service"));
                assert!(!email.text.contains(['{', '}']), "{}", email.text);
                subjects.push(email.subject);
            }
        }
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 6);
        assert_eq!(render(Template::Confirm, "fr", "x", "y").language, "en");
    }
}
