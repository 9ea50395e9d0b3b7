//! Owns the file that says who may read a project's secrets: one public key a line, with comments that stay.

use super::files::{io, read, write};
use super::keys::Recipient;
use provision_diagnostic::{Code, Failure};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Public keys are small.
const LIMIT: u64 = 1 << 20;

/// What a new file of recipients says of itself.
const HEADER: &str = "# Who may read the secrets of this project: public keys of age (age1…) or SSH, one a line.\n\
                      # After a change run `provision secret rotate`.\n";

/// The file of recipients.
pub struct RecipientsFile {
    pub path: PathBuf,
}

impl RecipientsFile {
    /// The keys as they are written down.
    pub fn written(&self) -> Result<Vec<String>, Failure> {
        let lines = self.lines()?.into_iter();
        Ok(lines.filter(|(_, key)| key.is_some()).map(|(line, _)| line.trim().to_owned()).collect())
    }

    /// The keys to encrypt to; none is an error.
    pub fn keys(&self) -> Result<Vec<Recipient>, Failure> {
        let found: Vec<Recipient> = self.lines()?.into_iter().filter_map(|(_, recipient)| recipient).collect();
        if found.is_empty() {
            let message = "nobody is named who may read this project's secrets";
            return Err(Failure::new(Code::SecretRecipient, message).with_help("Run `provision secret init`."));
        }
        Ok(found)
    }

    /// The lines, with the key where one holds a key.
    fn lines(&self) -> Result<Vec<(String, Option<Recipient>)>, Failure> {
        let text = match read(&self.path, LIMIT) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => HEADER.to_owned(),
            Err(error) => return Err(io("read", &self.path, &error)),
        };
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let key = line.trim();
            let recipient = match key.is_empty() || key.starts_with('#') {
                true => None,
                false => Some(Recipient::parse(key).map_err(|mut failure| {
                    let place = format!("line {} of {}", at + 1, self.path.display());
                    failure.first.message = format!("{} ({place})", failure.first.message);
                    failure
                })?),
            };
            lines.push((line.to_owned(), recipient));
        }
        Ok(lines)
    }

    /// Adds keys and takes keys away; whether that changed anything.
    pub fn change(&self, add: &[String], remove: &[String]) -> Result<bool, Failure> {
        let remove: Vec<Recipient> = remove.iter().map(|key| Recipient::parse(key)).collect::<Result<_, _>>()?;
        let (mut lines, mut known, mut changed) = (Vec::new(), Vec::new(), false);
        for (line, recipient) in self.lines()? {
            if let Some(recipient) = recipient {
                if remove.iter().any(|removed| removed.text == recipient.text) {
                    changed = true;
                    continue;
                }
                known.push(recipient.text);
            }
            lines.push(line);
        }
        for key in add {
            let recipient = Recipient::parse(key)?;
            if !known.contains(&recipient.text) {
                known.push(recipient.text);
                lines.push(key.trim().to_owned());
                changed = true;
            }
        }
        if changed {
            write(&self.path, format!("{}\n", lines.join("\n")).as_bytes())?;
        }
        Ok(changed)
    }
}
