//! Texts of the emails of a registration, in each language of the pages. They contain nothing that was submitted with the
//! registration: otherwise the service could be used to send arbitrary text to arbitrary addresses. Which email is sent is
//! decided in confirmation_mail.rs.

use crate::mail::Email;

/// Subject and text of each email in one language. `{name}` is the service's name, `{link}` a URL.
#[derive(Debug)]
struct MailTexts {
    language: &'static str,
    confirm: (&'static str, &'static str),
    has_account: (&'static str, &'static str),
    name_taken: (&'static str, &'static str),
}

/// The first language is the default.
const LANGUAGES: [MailTexts; 2] = [
    MailTexts {
        language: "en",
        confirm: (
            "Confirm your account at {name}",
            "An account at {name} was requested with this email address.\n\n\
             To confirm it, open this link and enter the password that you chose:\n\n{link}\n\n\
             The link is valid for 24 hours. If you did not request an account, ignore this email: \
             without the password, the link has no effect.\n",
        ),
        has_account: (
            "You already have an account at {name}",
            "An account at {name} was requested with this email address, which already has one. \
             Nothing has been changed.\n\n\
             If you requested it, sign in with your existing password:\n\n{link}\n\n\
             If you did not request an account, ignore this email.\n",
        ),
        name_taken: (
            "Choose a different username at {name}",
            "An account at {name} was requested with this email address. \
             The chosen username is already in use, so no account was created.\n\n\
             To sign up again with a different username, open this link:\n\n{link}\n\n\
             If you did not request an account, ignore this email.\n",
        ),
    },
    MailTexts {
        language: "es",
        confirm: (
            "Confirma tu cuenta en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo.\n\n\
             Para confirmarla, abre este enlace y escribe la contraseña que elegiste:\n\n{link}\n\n\
             El enlace es válido durante 24 horas. Si no has solicitado una cuenta, ignora este correo: \
             sin la contraseña, el enlace no tiene ningún efecto.\n",
        ),
        has_account: (
            "Ya tienes una cuenta en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo, que ya tiene una. \
             No se ha cambiado nada.\n\n\
             Si la has solicitado, inicia sesión con tu contraseña actual:\n\n{link}\n\n\
             Si no has solicitado una cuenta, ignora este correo.\n",
        ),
        name_taken: (
            "Elige otro nombre de usuario en {name}",
            "Se ha solicitado una cuenta en {name} con esta dirección de correo. \
             El nombre de usuario elegido ya está en uso, así que no se ha creado ninguna cuenta.\n\n\
             Para registrarte de nuevo con otro nombre de usuario, abre este enlace:\n\n{link}\n\n\
             Si no has solicitado una cuenta, ignora este correo.\n",
        ),
    },
];

/// The email that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// The address is free: the link leads to the confirmation of the account.
    Confirm,
    /// The address has an account already.
    HasAccount,
    /// The username belongs to another account.
    NameTaken,
}

/// Renders an email in a language, or in the default one if the language is not supported.
pub fn write(template: Template, language: &str, name: &str, link: &str) -> Email {
    let [default, ..] = &LANGUAGES;
    let texts = LANGUAGES.iter().find(|texts| texts.language == language).unwrap_or(default);
    let (subject, text) = match template {
        Template::Confirm => texts.confirm,
        Template::HasAccount => texts.has_account,
        Template::NameTaken => texts.name_taken,
    };
    let text = text.replace("{name}", name).replace("{link}", link);
    Email { subject: subject.replace("{name}", name), text, language: texts.language }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_email_has_its_link_the_service_name_and_a_subject_of_its_own_in_each_language() {
        let mut subjects = Vec::new();
        for template in [Template::Confirm, Template::HasAccount, Template::NameTaken] {
            for language in ["en", "es"] {
                let email = write(template, language, "The House", "https://x.example/y");
                assert_eq!(email.language, language);
                assert!(email.text.contains("\n\nhttps://x.example/y\n\n"), "{}", email.text);
                assert!(email.subject.contains("The House") && email.text.contains("The House"));
                assert!(!email.text.contains(['{', '}']), "{}", email.text);
                subjects.push(email.subject);
            }
        }
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 6);
        assert_eq!(write(Template::Confirm, "fr", "x", "y").language, "en");
    }
}
