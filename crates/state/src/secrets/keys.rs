//! Owns age: recipients and identities from text, bytes encrypted to the one and decrypted with the other. Touches
//! neither files nor the environment.

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use provision_diagnostic::{Code, Failure};
use std::io::{BufRead, BufReader, Read, Write};
use zeroize::Zeroizing;

/// The most bytes one secret may have.
pub const LIMIT: usize = 1 << 20;

/// The work that guessing a passphrase costs, as a power of two: about a second and 256 MiB for each guess.
const WORK: u8 = 18;

/// A ciphertext that asks for more is refused; the reference implementation draws the line here too.
const MOST_WORK: u8 = 22;

/// A public key that secrets are encrypted to.
pub struct Recipient {
    /// The key alone, without the comment that SSH keys carry: equal keys have equal text.
    pub text: String,
    key: Box<dyn age::Recipient>,
}

impl Recipient {
    /// Reads `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. What was given is not repeated in the error: it may be anything.
    pub fn parse(text: &str) -> Result<Recipient, Failure> {
        let text = text.trim();
        let refused = |message: String, help: &str| -> Result<Recipient, Failure> {
            Err(Failure::new(Code::SecretRecipient, message).with_help(help))
        };
        let form = "Give a public key: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`.";
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
            return refused(
                "this is a secret key, and a recipient is a public one".to_owned(),
                "Give the public key that belongs to it (`age1…`), and consider the secret one known to others.",
            );
        }
        if text.contains(['\n', '\r']) {
            return refused("a recipient is one line".to_owned(), form);
        }
        if let Ok(key) = text.parse::<age::x25519::Recipient>() {
            return Ok(Recipient { text: key.to_string(), key: Box::new(key) });
        }
        match text.parse::<age::ssh::Recipient>() {
            Ok(key) => Ok(Recipient { text: key.to_string(), key: Box::new(key) }),
            Err(age::ssh::ParseRecipientKeyError::Unsupported(kind)) => {
                refused(format!("age does not encrypt to SSH keys of the type `{kind}`"), form)
            }
            Err(age::ssh::ParseRecipientKeyError::RsaModulusTooSmall) => {
                refused("this RSA key is shorter than 2048 bits".to_owned(), "Use a longer key, or an Ed25519 one.")
            }
            Err(age::ssh::ParseRecipientKeyError::RsaModulusTooLarge) => {
                refused("this RSA key is too long".to_owned(), "Use one of 4096 bits, or an Ed25519 one.")
            }
            Err(_) => refused("this is no age or SSH public key".to_owned(), form),
        }
    }
}

/// A secret key that opens what is encrypted to its public one. Has no `Debug`: it must not be printed.
pub struct Identity {
    key: Box<dyn age::Identity>,
    /// The public half, as [`Recipient::text`] has it.
    pub public: Option<String>,
}

/// Whether a text is a key itself, and not the path of a file with one.
pub fn is_key(text: &str) -> bool {
    text.contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY-----")
}

/// The identities in the text of an age identity file, or the one in that of an SSH private key. The error is the rest
/// of a sentence about the text, and repeats nothing of it.
pub fn identities(text: &str) -> Result<Vec<Identity>, &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return match age::ssh::Identity::from_buffer(text.trim_start().as_bytes(), None) {
            Ok(key @ age::ssh::Identity::Unencrypted(_)) => {
                let public = age::ssh::Recipient::try_from(key.clone()).ok().map(|key| key.to_string());
                Ok(vec![Identity { key: Box::new(key), public }])
            }
            Ok(age::ssh::Identity::Encrypted(_)) => Err("is an SSH key with a passphrase of its own"),
            Ok(age::ssh::Identity::Unsupported(_)) => Err("is an SSH key of a kind that age does not know"),
            Err(_) => Err("is no SSH private key that can be read"),
        };
    }
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let key = line.parse::<age::x25519::Identity>().map_err(|_| "has a line that is no age identity")?;
        let public = Some(key.to_public().to_string());
        found.push(Identity { key: Box::new(key), public });
    }
    if found.is_empty() { Err("has no identity in it") } else { Ok(found) }
}

/// A new identity: the lines of an identity file, and its public key.
pub fn generate() -> (Zeroizing<String>, String) {
    let key = age::x25519::Identity::generate();
    let public = key.to_public().to_string();
    let lines = Zeroizing::new(format!("# public key: {public}\n{}\n", key.to_string().expose_secret()));
    (lines, public)
}

/// Encrypts to everybody named, as ASCII armor.
pub fn encrypt_to(recipients: &[Recipient], plain: &[u8]) -> Result<String, Failure> {
    let keys = recipients.iter().map(|recipient| &*recipient.key as &dyn age::Recipient);
    armored(Encryptor::with_recipients(keys), plain)
}

/// Encrypts with a passphrase, as ASCII armor.
pub fn encrypt_with(passphrase: &SecretString, plain: &[u8]) -> Result<String, Failure> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    recipient.set_work_factor(WORK);
    armored(Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)), plain)
}

fn armored(encryptor: Result<Encryptor, EncryptError>, plain: &[u8]) -> Result<String, Failure> {
    let failed = || {
        Failure::new(Code::SecretIo, "the value cannot be encrypted")
            .with_help("Check the keys in secrets/recipients.txt.")
    };
    let write = |encryptor: Encryptor| -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(&mut out, Format::AsciiArmor)?)?;
        writer.write_all(plain)?;
        writer.finish()?.finish()?;
        Ok(out)
    };
    let bytes = write(encryptor.map_err(|_| failed())?).map_err(|_| failed())?;
    String::from_utf8(bytes).map_err(|_| failed())
}

/// A ciphertext whose header has been read.
pub struct Sealed<'a> {
    decryptor: Decryptor<ArmoredReader<BufReader<&'a [u8]>>>,
    /// More than the plaintext has.
    length: usize,
    /// What messages call it.
    what: String,
}

impl<'a> Sealed<'a> {
    /// Reads the header of armored or binary ciphertext.
    pub fn read(ciphertext: &'a [u8], what: &str) -> Result<Sealed<'a>, Failure> {
        let ciphertext = ciphertext.trim_ascii_start();
        match Decryptor::new_buffered(ArmoredReader::new(ciphertext)) {
            Ok(decryptor) => Ok(Sealed { decryptor, length: ciphertext.len(), what: what.to_owned() }),
            Err(_) => Err(Failure::new(Code::SecretMalformed, format!("{what} is no age ciphertext"))
                .with_help("Give what `provision secret encrypt` or `age` wrote, whole and unchanged.")),
        }
    }

    /// Whether a passphrase opens it, and no identity.
    pub fn has_passphrase(&self) -> bool {
        self.decryptor.is_scrypt()
    }

    /// The plaintext, if one of the identities opens it.
    pub fn open(self, identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.open_by(identities.iter().map(|identity| &*identity.key as &dyn age::Identity))
    }

    /// The plaintext, if the passphrase opens it.
    pub fn open_with(self, passphrase: &SecretString) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let key = from_passphrase(passphrase);
        self.open_by(std::iter::once(&key as &dyn age::Identity))
    }

    /// Whether one of the identities opens it; the plaintext is not looked at.
    pub fn opens(self, identities: &[Identity]) -> bool {
        self.decryptor.decrypt(identities.iter().map(|identity| &*identity.key as &dyn age::Identity)).is_ok()
    }

    /// Whether the passphrase opens it.
    pub fn opens_with(self, passphrase: &SecretString) -> bool {
        let key = from_passphrase(passphrase);
        self.decryptor.decrypt(std::iter::once(&key as &dyn age::Identity)).is_ok()
    }

    fn open_by<'k>(self, keys: impl Iterator<Item = &'k dyn age::Identity>) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let Sealed { decryptor, length, what } = self;
        let damaged = || {
            Failure::new(Code::SecretMalformed, format!("{what} is damaged"))
                .with_help("Take it from a backup or the version control, or encrypt the value again.")
        };
        let stranger = |message: String, help: &str| Failure::new(Code::SecretNotARecipient, message).with_help(help);
        let passphrase = decryptor.is_scrypt();
        let reader = decryptor.decrypt(keys).map_err(|error| match error {
            DecryptError::NoMatchingKeys => stranger(
                format!("none of your identities opens {what}"),
                "Ask somebody who can read it to add your public key (`provision secret init` shows it) to \
                 secrets/recipients.txt and to run `provision secret rotate`.",
            ),
            DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed if passphrase => stranger(
                format!("the passphrase does not open {what}"),
                "Set PROVISION_AGE_PASSPHRASE to the one it was encrypted with.",
            ),
            DecryptError::ExcessiveWork { .. } => {
                Failure::new(Code::SecretMalformed, format!("{what} asks for more work than is reasonable"))
                    .with_help("Encrypt it again with a lower work factor, if it comes from somebody you trust.")
            }
            _ => damaged(),
        })?;
        // Room for all of it from the start: a buffer that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::<u8>::with_capacity(length));
        reader.take(LIMIT as u64 + 1).read_to_end(&mut plain).map_err(|_| damaged())?;
        if plain.len() > LIMIT { Err(too_large(&what)) } else { Ok(plain) }
    }
}

fn from_passphrase(passphrase: &SecretString) -> age::scrypt::Identity {
    let mut key = age::scrypt::Identity::new(passphrase.clone());
    key.set_max_work_factor(MOST_WORK);
    key
}

/// The error about a secret of more than [`LIMIT`] bytes.
pub fn too_large(what: &str) -> Failure {
    Failure::new(Code::SecretMalformed, format!("{what} is larger than 1 MiB"))
        .with_help("A secret is a password or a key; keep larger things elsewhere, encrypted with a key kept here.")
}

/// How many recipients a ciphertext has: the stanzas of its header, but for that of a passphrase and for those that age
/// adds so that readers stay able to skip what they do not know.
pub fn recipients_of(ciphertext: &[u8]) -> usize {
    let mut reader = ArmoredReader::new(ciphertext.trim_ascii_start());
    let mut count = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).unwrap_or_default();
        if read == 0 || line.starts_with(b"---") {
            return count;
        }
        let Some(stanza) = line.strip_prefix(b"-> ") else { continue };
        let tag = stanza.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        if tag != b"scrypt" && !tag.ends_with(b"-grease") {
            count += 1;
        }
    }
}
