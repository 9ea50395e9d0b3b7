//! Owns a project's secrets: the encrypted files in its folder `secrets`, for whom they are encrypted, and where the
//! identities are that open them.

mod files;
mod keys;
mod recipients;

use age::secrecy::{ExposeSecret, SecretString};
use files::{collect, io, is_name, place, read, write};
use keys::{Identity, LIMIT, Recipient, Sealed};
use provision_diagnostic::Code;
use provision_diagnostic::Failure;
use provision_model::{Json, canonical, lookup};
use recipients::RecipientsFile;
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Armor makes a file about a third longer than what it holds.
const CIPHERTEXT: u64 = 2 << 20;
/// Files of keys are small.
const KEYS: u64 = 64 << 10;
/// Parts that a name may have.
const PARTS: usize = 8;

const IDENTITY: &str = "PROVISION_AGE_IDENTITY";
const PASSPHRASE: &str = "PROVISION_AGE_PASSPHRASE";

/// The encrypted files of one project, as one user sees them. Has no `Debug`: it must not be printed.
pub struct Secrets {
    /// `<project>/secrets`.
    folder: PathBuf,
    people: RecipientsFile,
    /// Where relative paths of the environment start.
    here: PathBuf,
    home: Option<PathBuf>,
    /// Where the user's own identities are, or would be.
    identity_file: Option<PathBuf>,
    /// A key, or the path of one, which the environment gives.
    identity: Option<SecretString>,
    passphrase: Option<SecretString>,
}

/// For whom something is encrypted.
#[derive(Debug, Clone, Copy)]
pub enum Audience<'a> {
    /// The recipients of the project.
    Project,
    /// Who has the secret half of one of these public keys.
    Keys(&'a [String]),
    /// Who knows the passphrase that the environment gives.
    Passphrase,
}

/// What a project needs to keep secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretsReady {
    /// The user's public key.
    pub recipient: String,
    /// The file with the secret one; `None` where the environment holds the key itself.
    pub identity: Option<String>,
    /// The file of public keys.
    pub recipients: String,
}

/// A secret that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretWritten {
    pub name: String,
    pub file: String,
    /// How many can open it; 0 where a passphrase does.
    pub recipients: usize,
}

/// A secret as its file shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretRow {
    pub name: String,
    pub file: String,
    pub recipients: usize,
    /// RFC 3339.
    pub modified: Option<String>,
    /// Bytes of the file.
    pub size: u64,
    /// Whether the user's identities or passphrase open it.
    pub readable: bool,
}

impl Secrets {
    /// The secrets of a project. `env` is the caller's environment, `here` the folder its relative paths start from.
    pub fn new(project: &Path, here: &Path, env: &dyn Fn(&str) -> Option<String>) -> Secrets {
        let given = |name: &str| env(name).filter(|text| !text.trim().is_empty());
        let home = given("HOME").map(PathBuf::from);
        let config = match given("XDG_CONFIG_HOME") {
            Some(base) => Some(here.join(base)),
            None => home.as_ref().map(|home| home.join(".config")),
        };
        let folder = project.join("secrets");
        Secrets {
            people: RecipientsFile { path: folder.join("recipients.txt") },
            folder,
            here: here.to_path_buf(),
            home,
            identity_file: config.map(|config| config.join("nu-provision/identity.txt")),
            identity: given(IDENTITY).map(SecretString::from),
            passphrase: given(PASSPHRASE).map(SecretString::from),
        }
    }

    /// Makes an identity where the user has none, and adds its public key and those of others to the recipients.
    pub fn init(&self, others: &[String]) -> Result<SecretsReady, Failure> {
        // A wrong key is told before anything is written.
        others.iter().try_for_each(|other| Recipient::parse(other).map(drop))?;
        let recipient = match self.found()? {
            Some(identities) => own(identities)?,
            None => self.make_identity()?,
        };
        let added: Vec<String> = std::iter::once(recipient.clone()).chain(others.iter().cloned()).collect();
        self.people.change(&added, &[])?;
        let identity = match &self.identity {
            Some(given) if keys::is_key(given.expose_secret()) => None,
            Some(given) => Some(self.given_path(given.expose_secret())),
            None => self.identity_file.clone(),
        };
        Ok(SecretsReady {
            recipient,
            identity: identity.map(|path| path.display().to_string()),
            recipients: self.people.path.display().to_string(),
        })
    }

    /// The public keys of those who may read the project's secrets, as they are written down.
    pub fn recipients(&self) -> Result<Vec<String>, Failure> {
        self.people.written()
    }

    /// Takes a public key away; `false` where it is not there. What its owner could read before stays readable to them.
    pub fn remove_recipient(&self, key: &str) -> Result<bool, Failure> {
        self.people.change(&[], &[key.to_owned()])
    }

    /// The ciphertext of a value, as ASCII armor.
    pub fn encrypt(&self, value: &Json, audience: Audience<'_>) -> Result<String, Failure> {
        Ok(self.seal(&plain(value)?, audience)?.0)
    }

    /// The value of a ciphertext.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Json, Failure> {
        self.open(ciphertext, "what was given")
    }

    /// Writes a secret, in the place of one of the same name.
    pub fn put(&self, name: &str, value: &Json, audience: Audience<'_>) -> Result<SecretWritten, Failure> {
        let path = self.path(name)?;
        let (text, recipients) = self.seal(&plain(value)?, audience)?;
        write(&path, text.as_bytes())?;
        Ok(SecretWritten { name: name.to_owned(), file: path.display().to_string(), recipients })
    }

    /// Writes a secret for those who could read it before: a passphrase stays one. A value that did not change is not
    /// written, for its ciphertext would.
    pub fn update(&self, name: &str, before: Option<&Json>, value: &Json) -> Result<SecretWritten, Failure> {
        let Some(held) = self.ciphertext(name)? else { return self.put(name, value, Audience::Project) };
        if before == Some(value) {
            let file = self.path(name)?.display().to_string();
            return Ok(SecretWritten { name: name.to_owned(), file, recipients: keys::recipients_of(&held) });
        }
        let passphrase = Sealed::read(&held, name).is_ok_and(|sealed| sealed.has_passphrase());
        self.put(name, value, if passphrase { Audience::Passphrase } else { Audience::Project })
    }

    /// The value of a secret.
    pub fn get(&self, name: &str) -> Result<Json, Failure> {
        self.find(name)?.ok_or_else(|| self.unknown(name))
    }

    /// The value of a secret; `None` where there is none of that name.
    pub fn find(&self, name: &str) -> Result<Option<Json>, Failure> {
        let Some(held) = self.ciphertext(name)? else { return Ok(None) };
        self.open(&held, &format!("`{name}`")).map(Some)
    }

    /// Whether there is a secret of that name; opens nothing.
    pub fn check(&self, name: &str) -> Result<(), Failure> {
        if self.path(name)?.is_file() { Ok(()) } else { Err(self.unknown(name)) }
    }

    /// A field of a value, by dotted path.
    pub fn pick(value: &Json, what: &str, field: &str) -> Result<Json, Failure> {
        lookup(value, field).cloned().ok_or_else(|| {
            Failure::new(Code::SecretUnknown, format!("{what} has no field `{field}`"))
                .with_help("Name one that it has: `provision secret decrypt NAME | describe` shows them.")
        })
    }

    /// Every secret, by name. Nothing is decrypted but the header.
    pub fn list(&self) -> Result<Vec<SecretRow>, Failure> {
        let identities = self.found()?.unwrap_or_default();
        let row = |name: String| -> Result<SecretRow, Failure> {
            let path = self.path(&name)?;
            let told = |error: std::io::Error| io("read", &path, &error);
            let held = read(&path, CIPHERTEXT).map_err(told)?;
            let about = std::fs::metadata(&path).map_err(told)?;
            let modified = about.modified().ok().map(chrono::DateTime::<chrono::Utc>::from);
            let readable = Sealed::read(&held, &name).is_ok_and(|sealed| match &self.passphrase {
                Some(passphrase) if sealed.has_passphrase() => sealed.opens_with(passphrase),
                _ => sealed.opens(&identities),
            });
            Ok(SecretRow {
                file: path.display().to_string(),
                recipients: keys::recipients_of(&held),
                modified: modified.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
                size: about.len(),
                readable,
                name,
            })
        };
        self.names()?.into_iter().map(row).collect()
    }

    /// Encrypts every file to the recipients as they are now. With `new_identity` the user gets a new key first, which
    /// takes the place of the old one among the recipients. What a passphrase opens has no recipients and stays.
    pub fn rotate(&self, new_identity: bool) -> Result<Vec<SecretWritten>, Failure> {
        let identities = self.identities()?;
        let recipients = self.people.keys()?;
        let publics: Vec<String> = identities.iter().filter_map(|identity| identity.public.clone()).collect();
        if !new_identity && !recipients.iter().any(|recipient| publics.contains(&recipient.text)) {
            return Err(Failure::new(
                Code::SecretRecipient,
                "you are none of the recipients, and could not read the secrets afterwards",
            )
            .with_help("Run `provision secret init` to add your public key, or let somebody rotate who stays."));
        }
        // All are opened before one is written: what does not open stops it here.
        let mut files = Vec::new();
        for name in self.names()? {
            let path = self.path(&name)?;
            let held = read(&path, CIPHERTEXT).map_err(|error| io("read", &path, &error))?;
            let sealed = Sealed::read(&held, &format!("`{name}`"))?;
            if !sealed.has_passphrase() {
                sealed.open(&identities)?;
                files.push((name, path, held));
            }
        }
        let recipients = match new_identity {
            true => {
                self.renew(&publics)?;
                self.people.keys()?
            }
            false => recipients,
        };
        let again = |(name, path, held): (String, PathBuf, Zeroizing<Vec<u8>>)| -> Result<SecretWritten, Failure> {
            let plain = Sealed::read(&held, &format!("`{name}`"))?.open(&identities)?;
            write(&path, keys::encrypt_to(&recipients, &plain)?.as_bytes())?;
            Ok(SecretWritten { file: path.display().to_string(), recipients: recipients.len(), name })
        };
        files.into_iter().map(again).collect()
    }

    /// A new key for the user, first in the file of identities; the old ones stay in it, for other projects and for
    /// what was encrypted before.
    fn renew(&self, old: &[String]) -> Result<(), Failure> {
        if self.identity.is_some() {
            return Err(Failure::new(
                Code::SecretNoIdentity,
                format!("a new identity is kept in your own file, which {IDENTITY} hides"),
            )
            .with_help(format!("Put that key into your own file, unset {IDENTITY}, and run the command again.")));
        }
        let path = self.own_file()?;
        let before = read(path, KEYS).map_err(|error| io("read", path, &error))?;
        let (lines, public) = keys::generate();
        let all = Zeroizing::new([lines.as_bytes(), before.as_slice()].concat());
        place(path, &all, 0o600, false).map_err(|error| io("write", path, &error))?;
        self.people.change(&[public], old).map(drop)
    }

    fn make_identity(&self) -> Result<String, Failure> {
        let path = self.own_file()?;
        let (lines, public) = keys::generate();
        match place(path, lines.as_bytes(), 0o600, true).map_err(|error| io("write", path, &error))? {
            true => Ok(public),
            // Somebody made one in the same instant.
            false => own(self.identities()?),
        }
    }

    fn own_file(&self) -> Result<&PathBuf, Failure> {
        self.identity_file.as_ref().ok_or_else(|| no_identity("there is no home folder to keep an identity in"))
    }

    fn identities(&self) -> Result<Vec<Identity>, Failure> {
        self.found()?.ok_or_else(|| no_identity("you have no identity that opens secrets"))
    }

    /// The identities of the environment, else of the user's file; `None` where there are none yet.
    fn found(&self) -> Result<Option<Vec<Identity>>, Failure> {
        let (bytes, whence) = match (&self.identity, &self.identity_file) {
            (Some(given), _) if keys::is_key(given.expose_secret()) => {
                (Zeroizing::new(given.expose_secret().as_bytes().to_vec()), IDENTITY.to_owned())
            }
            (Some(given), _) => {
                // The path is not repeated: it may be a key that was mistyped.
                let whence = format!("the file that {IDENTITY} names");
                let path = self.given_path(given.expose_secret());
                let told = |error: std::io::Error| no_identity(format!("{whence} cannot be read: {}", error.kind()));
                (read(&path, KEYS).map_err(told)?, whence)
            }
            (None, Some(path)) => match read(path, KEYS) {
                Ok(bytes) => (bytes, path.display().to_string()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(io("read", path, &error)),
            },
            (None, None) => return Ok(None),
        };
        let parsed = std::str::from_utf8(&bytes).map_err(|_| "is no text").and_then(keys::identities);
        parsed.map(Some).map_err(|what| no_identity(format!("{whence} {what}")))
    }

    fn given_path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.here.join(text),
        }
    }

    fn seal(&self, plain: &[u8], audience: Audience<'_>) -> Result<(String, usize), Failure> {
        let recipients = match audience {
            Audience::Passphrase => {
                let given = self.passphrase.as_ref();
                let passphrase = given.ok_or_else(|| no_passphrase(format!("{PASSPHRASE} is not set")))?;
                return Ok((keys::encrypt_with(passphrase, plain)?, 0));
            }
            Audience::Project => self.people.keys()?,
            Audience::Keys(texts) => texts.iter().map(|text| Recipient::parse(text)).collect::<Result<Vec<_>, _>>()?,
        };
        Ok((keys::encrypt_to(&recipients, plain)?, recipients.len()))
    }

    fn open(&self, ciphertext: &[u8], what: &str) -> Result<Json, Failure> {
        let sealed = Sealed::read(ciphertext, what)?;
        let plain = if sealed.has_passphrase() {
            let missing = || no_passphrase(format!("{what} needs a passphrase, and {PASSPHRASE} is not set"));
            sealed.open_with(self.passphrase.as_ref().ok_or_else(missing)?)?
        } else {
            sealed.open(&self.identities()?)?
        };
        serde_json::from_slice(&plain).map_err(|_| {
            Failure::new(Code::SecretMalformed, format!("{what} opens, but what it holds is no JSON"))
                .with_help("Encrypt it again, for example `age -d FILE | provision secret encrypt NAME`.")
        })
    }

    /// The file of a name; a name cannot lead out of the folder.
    fn path(&self, name: &str) -> Result<PathBuf, Failure> {
        if name.split('/').count() > PARTS || !name.split('/').all(is_name) {
            return Err(Failure::new(Code::SecretName, format!("`{name}` is no name for a secret"))
                .with_help("Use lower-case letters, digits, `_` and `-`, starting with a letter; `/` makes folders."));
        }
        Ok(self.folder.join(format!("{name}.age")))
    }

    fn ciphertext(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let path = self.path(name)?;
        match read(&path, CIPHERTEXT) {
            Ok(held) => Ok(Some(held)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read", &path, &error)),
        }
    }

    fn unknown(&self, name: &str) -> Failure {
        let names = self.names().unwrap_or_default();
        let help = provision_diagnostic::did_you_mean(name, names.iter().map(String::as_str), || {
            format!("See `provision secret list`, or write it with `provision secret encrypt {name}`.")
        });
        let message = format!("there is no secret `{name}` in this project");
        Failure::new(Code::SecretUnknown, message).with_help(help)
    }

    fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        match collect(&self.folder, "", PARTS, &mut names) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("read", &self.folder, &error)),
            _ => {}
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// The public key by which somebody is a recipient: that of the first identity.
fn own(identities: Vec<Identity>) -> Result<String, Failure> {
    let public = identities.into_iter().find_map(|identity| identity.public);
    public.ok_or_else(|| no_identity("your identity has no public key that age encrypts to"))
}

fn plain(value: &Json) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let plain = Zeroizing::new(canonical(value).into_bytes());
    if plain.len() > LIMIT { Err(keys::too_large("the value")) } else { Ok(plain) }
}

fn no_identity(message: impl Into<String>) -> Failure {
    Failure::new(Code::SecretNoIdentity, message).with_help(format!(
        "Run `provision secret init`, or set {IDENTITY} to an age secret key or to the path of an age or SSH one."
    ))
}

fn no_passphrase(message: String) -> Failure {
    Failure::new(Code::SecretNoIdentity, message)
        .with_help(format!("Set it for this session: `$env.{PASSPHRASE} = (input --suppress-output)`."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The secrets of the project `p` in a folder, as somebody with a home of their own sees them.
    fn of(folder: &Path, who: &str, variables: &[(&str, &str)]) -> Secrets {
        let home = folder.join(who).display().to_string();
        let env = |name: &str| match variables.iter().find(|(variable, _)| *variable == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => (name == "HOME").then(|| home.clone()),
        };
        Secrets::new(&folder.join("p"), folder, &env)
    }

    fn identity(folder: &Path, who: &str) -> PathBuf {
        folder.join(who).join(".config/nu-provision/identity.txt")
    }

    #[test]
    fn a_value_comes_back_and_its_file_shows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ada = of(folder.path(), "ada", &[]);
        let ready = ada.init(&[]).unwrap();
        assert_eq!(ada.init(&[]).unwrap(), ready);
        assert_eq!(ada.recipients().unwrap(), [ready.recipient]);
        let value = json!({"user": "ada", "password": "canary-1"});
        let written = ada.put("app/db", &value, Audience::Project).unwrap();
        assert_eq!((written.name.as_str(), written.recipients), ("app/db", 1));
        let text = std::fs::read_to_string(&written.file).unwrap();
        assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") && !text.contains("canary"), "{text}");
        assert_eq!(ada.get("app/db").unwrap(), value);
        assert_eq!(Secrets::pick(&value, "`app/db`", "password").unwrap(), json!("canary-1"));
        let missing = Secrets::pick(&value, "`app/db`", "passwort").unwrap_err();
        assert!(missing.code() == Code::SecretUnknown && !missing.to_string().contains("canary"));
        let rows = ada.list().unwrap();
        assert_eq!((rows.len(), rows[0].recipients, rows[0].readable), (1, 1, true));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(identity(folder.path(), "ada")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("p/secrets")).unwrap().count(), 2, "nothing is left beside");
        // The same value again leaves the file as it is.
        ada.update("app/db", Some(&value), &value).unwrap();
        assert_eq!(std::fs::read_to_string(&written.file).unwrap(), text);
    }

    #[test]
    fn who_is_added_reads_after_a_rotation_and_who_is_removed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (ada, bob) = (of(folder.path(), "ada", &[]), of(folder.path(), "bob", &[]));
        ada.init(&[]).unwrap();
        ada.put("db", &json!("canary-2"), Audience::Project).unwrap();
        let bobs = bob.init(&[]).unwrap().recipient;
        assert_eq!(bob.get("db").unwrap_err().code(), Code::SecretNotARecipient);
        assert_eq!(ada.rotate(false).unwrap()[0].recipients, 2);
        assert_eq!(bob.get("db").unwrap(), json!("canary-2"));
        assert!(ada.remove_recipient(&bobs).unwrap() && !ada.remove_recipient(&bobs).unwrap());
        ada.rotate(false).unwrap();
        assert_eq!(bob.get("db").unwrap_err().code(), Code::SecretNotARecipient);
        assert!(!bob.list().unwrap()[0].readable);
        assert_eq!(bob.rotate(false).unwrap_err().code(), Code::SecretRecipient);
        assert_eq!(ada.get("db").unwrap(), json!("canary-2"));
    }

    #[test]
    fn a_new_identity_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let ada = of(folder.path(), "ada", &[]);
        let old = ada.init(&[]).unwrap().recipient;
        let key = std::fs::read_to_string(identity(folder.path(), "ada")).unwrap();
        ada.put("db", &json!(7), Audience::Project).unwrap();
        ada.rotate(true).unwrap();
        assert_eq!(ada.get("db").unwrap(), json!(7));
        let recipients = ada.recipients().unwrap();
        assert!(recipients.len() == 1 && recipients[0] != old);
        assert_eq!(ada.init(&[]).unwrap().recipient, recipients[0]);
        let with_old = of(folder.path(), "x", &[(IDENTITY, key.as_str())]);
        assert_eq!(with_old.get("db").unwrap_err().code(), Code::SecretNotARecipient);
        assert_eq!(with_old.rotate(true).unwrap_err().code(), Code::SecretNotARecipient);
        // It is still there for what other projects encrypted to it.
        let kept = std::fs::read_to_string(identity(folder.path(), "ada")).unwrap();
        assert!(kept.ends_with(&key) && kept.len() > key.len());
    }

    #[test]
    fn a_passphrase_opens_what_it_closed() {
        let folder = tempfile::tempdir().unwrap();
        let with = of(folder.path(), "ada", &[(PASSPHRASE, "correct horse")]);
        let written = with.put("db", &json!([1, "x"]), Audience::Passphrase).unwrap();
        assert_eq!(written.recipients, 0);
        assert_eq!(with.update("db", None, &json!([2])).unwrap().recipients, 0);
        assert_eq!(with.get("db").unwrap(), json!([2]));
        let wrong = of(folder.path(), "ada", &[(PASSPHRASE, "battery staple")]).get("db").unwrap_err();
        assert!(wrong.code() == Code::SecretNotARecipient && !wrong.to_string().contains("staple"));
        let without = of(folder.path(), "ada", &[]).get("db").unwrap_err();
        assert_eq!(without.code(), Code::SecretNoIdentity);
    }

    #[test]
    fn what_is_wrong_is_told_without_repeating_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let ada = of(folder.path(), "ada", &[]);
        let code = |result: Result<(), Failure>| result.unwrap_err().code().to_owned();
        assert_eq!(code(ada.put("db", &json!(1), Audience::Project).map(drop)), Code::SecretRecipient);
        let key = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J3";
        let failures = [
            ada.init(&[key.to_owned()]).unwrap_err(),
            of(folder.path(), "ada", &[(IDENTITY, key)]).init(&[]).unwrap_err(),
            of(folder.path(), "ada", &[(IDENTITY, &key[1..])]).list().unwrap_err(),
        ];
        for failure in failures {
            assert!(!format!("{failure:?}").contains("GQ9778VQ"), "{failure:?}");
        }
        assert!(!identity(folder.path(), "ada").exists());
        ada.init(&[]).unwrap();
        ada.put("database", &json!(1), Audience::Project).unwrap();
        let unknown = ada.get("databas").unwrap_err();
        assert_eq!(unknown.first.help.as_deref(), Some("Did you mean `database`?"));
        for name in ["", "Db", "../db", "a//b", "a/", ".a", "1a", "a/b/c/d/e/f/g/h/i"] {
            assert_eq!(code(ada.check(name)), Code::SecretName, "{name}");
        }
        let large = json!("x".repeat(LIMIT));
        assert_eq!(code(ada.put("large", &large, Audience::Project).map(drop)), Code::SecretMalformed);
        let text = ada.encrypt(&json!(1), Audience::Project).unwrap();
        let damaged = text.replace("-----END", "AAAA\n-----END");
        for wrong in ["", "no", damaged.as_str()] {
            assert_eq!(code(ada.decrypt(wrong.as_bytes()).map(drop)), Code::SecretMalformed, "{wrong}");
        }
        std::fs::write(folder.path().join("p/secrets/recipients.txt"), "# us\nage1nobody\n").unwrap();
        let line = ada.rotate(false).unwrap_err();
        assert_eq!(line.code(), Code::SecretRecipient);
        assert!(line.first.message.contains("line 2 of"), "{line}");
    }
}
