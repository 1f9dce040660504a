//! What the letters of a sign-up say, in each language of the pages. They hold nothing that the one who signed up typed:
//! else anybody could have words of his own mailed to anybody.

use crate::mail::Email;

/// The words of one language. `{name}` is the service's, `{link}` where to go.
#[derive(Debug)]
struct Words {
    language: &'static str,
    confirm: (&'static str, &'static str),
    has_account: (&'static str, &'static str),
    name_taken: (&'static str, &'static str),
}

const LANGUAGES: [Words; 2] = [
    Words {
        language: "en",
        confirm: (
            "Confirm your account at {name}",
            "Somebody, we hope you, asked for an account at {name} with this address.\n\n\
             To confirm it, open this link and enter the password that was chosen:\n\n{link}\n\n\
             It works for 24 hours. If this was not you, do nothing: the link is of no use without the password.\n",
        ),
        has_account: (
            "You already have an account at {name}",
            "Somebody, perhaps you, asked for an account at {name} with this address, which has one already. \
             Nothing was changed.\n\n\
             If this was you, sign in with the password that you have:\n\n{link}\n\n\
             If this was not you, do nothing.\n",
        ),
        name_taken: (
            "Choose another user name at {name}",
            "Somebody, we hope you, asked for an account at {name} with this address. The user name that was chosen belongs \
             to somebody else, so there is no account.\n\n\
             Sign up again with another one:\n\n{link}\n\n\
             If this was not you, do nothing.\n",
        ),
    },
    Words {
        language: "es",
        confirm: (
            "Confirma tu cuenta en {name}",
            "Alguien, esperamos que tú, ha pedido una cuenta en {name} con esta dirección.\n\n\
             Para confirmarla, abre este enlace y escribe la contraseña elegida:\n\n{link}\n\n\
             Vale durante 24 horas. Si no has sido tú, no hagas nada: sin la contraseña el enlace no sirve.\n",
        ),
        has_account: (
            "Ya tienes una cuenta en {name}",
            "Alguien, quizá tú, ha pedido una cuenta en {name} con esta dirección, que ya tiene una. \
             No se ha cambiado nada.\n\n\
             Si has sido tú, entra con la contraseña que tienes:\n\n{link}\n\n\
             Si no has sido tú, no hagas nada.\n",
        ),
        name_taken: (
            "Elige otro nombre de usuario en {name}",
            "Alguien, esperamos que tú, ha pedido una cuenta en {name} con esta dirección. El nombre de usuario elegido es de \
             otra persona, así que no hay cuenta.\n\n\
             Regístrate de nuevo con otro:\n\n{link}\n\n\
             Si no has sido tú, no hagas nada.\n",
        ),
    },
];

/// Which letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// The address is free: the link makes the account.
    Confirm,
    /// The address has an account.
    HasAccount,
    /// The user name is somebody else's.
    NameTaken,
}

/// The letter in this language; in the first one for those who speak none of ours.
pub fn write(about: Template, language: &str, name: &str, link: &str) -> Email {
    let [otherwise, ..] = &LANGUAGES;
    let words = LANGUAGES.iter().find(|words| words.language == language).unwrap_or(otherwise);
    let (subject, text) = match about {
        Template::Confirm => words.confirm,
        Template::HasAccount => words.has_account,
        Template::NameTaken => words.name_taken,
    };
    let text = text.replace("{name}", name).replace("{link}", link);
    Email { subject: subject.replace("{name}", name), text, language: words.language }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_says_its_link_and_name_in_each_language_in_words_of_its_own() {
        let mut subjects = Vec::new();
        for about in [Template::Confirm, Template::HasAccount, Template::NameTaken] {
            for language in ["en", "es"] {
                let email = write(about, language, "The House", "https://x.example/y");
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
