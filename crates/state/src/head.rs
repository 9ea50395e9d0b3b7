//! Owns the end of the audit log as it is kept outside the database: signed, in the file `audit.head` beside the state, or
//! wherever somebody anchors what `provision audit head` gives. By it a state is known for older than it was.

use crate::audit::{self, RESTORE, head_of};
use crate::db::{Database, DbError, Dialect, vals};
use crate::schema::PROVED_FROM;
use crate::store::set_meta;
use crate::{Lease, Sealer, Store, file_io};
use provision_diagnostic::{Code, Failure};
use provision_model::{Json, Map, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file with the newest checkpoint, beside the state.
pub(crate) const HEAD: &str = "audit.head";

/// The signed state of the log at one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Version of this shape.
    pub version: u32,
    /// The state it is of; those of version 1 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<String>,
    pub seq: i64,
    /// RFC 3339.
    pub at: Time,
    /// The hash of that entry; empty before the first one.
    pub hash: String,
    /// Hexadecimal.
    pub signature: String,
}

const VERSION: u32 = 2;

/// How the file beside a state and its log stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Fits,
    /// There is none beside a log with entries, or beside an empty one of a state that has made something.
    Absent,
    /// The log ends before the signed entry, which was there: the state is an older one.
    Older {
        ends: i64,
        signed: i64,
    },
    /// The file is not of this log.
    Differs(String),
}

impl Standing {
    /// What is wrong, as a sentence.
    pub fn problem(&self) -> Option<String> {
        match self {
            Standing::Fits => None,
            Standing::Absent => {
                Some("the file audit.head is gone, which was beside the state, or the log was emptied".to_owned())
            }
            Standing::Older { ends, signed } => {
                Some(format!("the log ends with entry {ends}, and entry {signed} was there: the state is an older one"))
            }
            Standing::Differs(why) => Some(why.clone()),
        }
    }
}

pub(crate) fn signed_text(lineage: &str, seq: i64, hash: &str, at: Time) -> String {
    format!("{lineage}\n{seq}\n{hash}\n{at}")
}

impl Checkpoint {
    pub(crate) fn sign(lineage: &str, seq: i64, hash: String, at: Time, sealer: &Sealer) -> Self {
        let signature = sealer.sign(&signed_text(lineage, seq, &hash, at));
        Self { version: VERSION, lineage: Some(lineage.to_owned()), seq, at, hash, signature }
    }

    pub(crate) fn is_signed(&self, lineage: &str, sealer: &Sealer) -> bool {
        sealer.is_signed(&signed_text(lineage, self.seq, &self.hash, self.at), &self.signature)
    }
}

/// The newest end of a log that its files tell of: the database as far as it can be read, and the checkpoint beside it.
pub(crate) fn head_in(folder: &Path) -> Option<audit::Head> {
    let file = folder.join(crate::store::FILE);
    let kept = crate::sqlite::Sqlite::look(&file).and_then(|mut database| head_of(&mut database)).unwrap_or_default();
    let signed = std::fs::read_to_string(folder.join(HEAD)).ok();
    let signed = signed.and_then(|text| serde_json::from_str::<Checkpoint>(&text).ok());
    let signed = signed.map(|checkpoint| (checkpoint.seq, checkpoint.hash));
    [kept, signed].into_iter().flatten().max_by_key(|(seq, _)| *seq)
}

/// Signs what another key signed, and the end of the log; gives the checkpoint of the end. What that key did not sign is
/// left as it is, for it to be found.
pub(crate) fn resign(
    database: &mut dyn Database,
    lineage: &str,
    old: &Sealer,
    new: &Sealer,
    now: Time,
) -> Result<Checkpoint, DbError> {
    for row in database.rows("select seq, at, hash, signature from checkpoints order by seq", &[])? {
        let text = signed_text(lineage, row.int(0), row.text(2), row.time(1));
        if old.is_signed(&text, row.text(3)) {
            let sql = "update checkpoints set signature = ?2 where seq = ?1";
            database.run(sql, vals![row.int(0), new.sign(&text)])?;
        }
    }
    let (seq, hash) = head_of(database)?.unwrap_or_default();
    let signed = Checkpoint::sign(lineage, seq, hash, now, new);
    keep(database, &signed)?;
    Ok(signed)
}

fn keep(database: &mut dyn Database, signed: &Checkpoint) -> Result<(), DbError> {
    let sql = "insert into checkpoints (seq, at, hash, signature) values (?1, ?2, ?3, ?4) on conflict (seq) do nothing";
    database.run(sql, vals![signed.seq, signed.at, &signed.hash, &signed.signature])?;
    Ok(())
}

impl Store {
    /// The signed end of the log, to be kept where who has the state cannot change it.
    pub fn head(&self) -> Result<Checkpoint, Failure> {
        let (seq, hash) = self.read(|database| head_of(database))?.unwrap_or_default();
        Ok(Checkpoint::sign(self.lineage(), seq, hash, self.now(), self.sealer()))
    }

    /// Signs the log as it is. Without an entry there is nothing to sign.
    pub fn checkpoint(&self) -> Result<(), Failure> {
        let signed = self.head()?;
        if signed.seq == 0 {
            return Ok(());
        }
        let kept = signed.clone();
        self.write(move |database| keep(database, &kept))?;
        self.write_head(&signed)
    }

    /// Puts the signed end of the log beside the state, so that from here on an older state is known for what it is.
    pub fn anchor(&self) -> Result<(), Failure> {
        self.write_head(&self.head()?)
    }

    /// A new state begins with its head beside it: where there is none later, somebody took it away.
    /// One that an older version wrote, and was killed before it signed anything, is given its own.
    pub(crate) fn begin_head(&self, from: i64) -> Result<(), Failure> {
        let Some(file) = self.head_file().filter(|file| self.dialect == Dialect::Sqlite && !file.exists()) else {
            return Ok(());
        };
        let signed = self.head()?;
        let unsigned = || self.rows("select 1 from checkpoints limit 1", &[]).map(|rows| rows.is_empty());
        let begun = signed.seq > 0 || self.has_made_something()?;
        if begun && (from >= PROVED_FROM || !unsigned()?) {
            return Ok(());
        }
        let text = text_of(&signed)?;
        crate::files::write_new(&file, &text).map(drop).map_err(|error| file_io("write the audit log of", &error))
    }

    fn has_made_something(&self) -> Result<bool, Failure> {
        let rows = self.rows("select 1 from generations union all select 1 from resources limit 1", &[])?;
        Ok(!rows.is_empty())
    }

    pub(crate) fn head_file(&self) -> Option<PathBuf> {
        (!self.folder().as_os_str().is_empty()).then(|| self.folder().join(HEAD))
    }

    pub(crate) fn write_head(&self, signed: &Checkpoint) -> Result<(), Failure> {
        let Some(file) = self.head_file() else { return Ok(()) };
        crate::files::write_whole(&file, &text_of(signed)?).map_err(|error| file_io("write the audit log of", &error))
    }

    /// How the file beside the state and the log stand to each other. It costs one row, whatever the log holds.
    pub fn standing(&self) -> Result<Standing, Failure> {
        let Some(file) = self.head_file() else { return Ok(Standing::Fits) };
        let (ends, _) = self.read(|database| head_of(database))?.unwrap_or_default();
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            // With a server, not everybody has one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let fits = match ends {
                    // Whatever was made is in the log: an empty one beside it was emptied.
                    0 => !self.has_made_something()?,
                    _ => self.dialect != Dialect::Sqlite,
                };
                return Ok(if fits { Standing::Fits } else { Standing::Absent });
            }
            Err(error) => return Err(file_io("read the audit log of", &error)),
        };
        let Some(signed) = serde_json::from_str::<Checkpoint>(&text).ok().filter(|it| it.version <= VERSION) else {
            return Ok(Standing::Differs("the file audit.head cannot be read".to_owned()));
        };
        self.stands(&signed, ends)
    }

    /// How the end of a log that was signed stands to the log as it is.
    fn stands(&self, signed: &Checkpoint, ends: i64) -> Result<Standing, Failure> {
        if signed.lineage.as_deref().is_some_and(|lineage| lineage != self.lineage()) {
            return Ok(Standing::Differs("the signed head is of another state".to_owned()));
        }
        if !signed.is_signed(self.lineage(), self.sealer()) {
            return Ok(Standing::Differs("the signature of the head is not ours".to_owned()));
        }
        self.holds(signed, ends)
    }

    /// The same of one that is kept elsewhere: another key may have signed it since, so its hash alone counts.
    pub(crate) fn holds(&self, signed: &Checkpoint, ends: i64) -> Result<Standing, Failure> {
        if signed.seq > ends {
            return Ok(Standing::Older { ends, signed: signed.seq });
        }
        let row = self.rows("select hash from audit where seq = ?1", vals![signed.seq])?;
        let same = signed.seq == 0 || row.first().is_some_and(|row| row.text(0) == signed.hash);
        let why = || Standing::Differs(format!("entry {} is not the one that was signed", signed.seq));
        Ok(if same { Standing::Fits } else { why() })
    }

    /// Refuses to go on with a state that its head shows to be older than it was, or that has none.
    pub fn refuse_older(&self) -> Result<(), Failure> {
        let Some(problem) = self.standing()?.problem() else { return Ok(()) };
        Err(Failure::new(Code::StateOlder, problem).with_help(
            "Put the newest state back with its audit.head. Where it is lost, run `provision recover`: it writes into the audit log what is gone, and the next plan adopts what the clouds hold.",
        ))
    }

    /// Whether nothing was ever applied here, and the head beside it is that of the exported state: whose log holds the signed
    /// entry. Then the head is no word against this state, which becomes that one.
    pub fn becomes(&self, exported: &Json) -> Result<bool, Failure> {
        if self.serial()? > 0 || !self.resources()?.is_empty() {
            return Ok(false);
        }
        let Some(file) = self.head_file() else { return Ok(false) };
        let signed = std::fs::read_to_string(&file).ok();
        let signed = signed.and_then(|text| serde_json::from_str::<Checkpoint>(&text).ok());
        let Some(signed) = signed.filter(|it| it.version <= VERSION) else { return Ok(false) };
        let rows = |name: &str| exported["tables"][name]["rows"].as_array().into_iter().flatten();
        let lineage = rows("meta").find(|row| row[0] == "lineage").and_then(|row| row[1].as_str()).unwrap_or_default();
        // Another lineage only: what this state itself signed, it has lost.
        if lineage == self.lineage() || !signed.is_signed(lineage, self.sealer()) {
            return Ok(false);
        }
        let columns = exported["tables"]["audit"]["columns"].as_array();
        let column = |name: &str| columns.and_then(|columns| columns.iter().position(|column| column == name));
        let (Some(seq), Some(hash)) = (column("seq"), column("hash")) else { return Ok(false) };
        Ok(signed.seq == 0 || rows("audit").any(|row| row[seq] == signed.seq && row[hash] == signed.hash.as_str()))
    }

    /// Goes on with an older state: what is gone is told by the log itself, as after a restore.
    pub fn own_older(&self, lease: &Lease) -> Result<bool, Failure> {
        let Some(problem) = self.standing()?.problem() else { return Ok(false) };
        let (ends, _) = self.read(|database| head_of(database))?.unwrap_or_default();
        let mut detail = Map::new();
        detail.insert("problem".into(), Json::from(problem));
        audit::cut(ends + 1, head_in(self.folder()), &mut detail);
        self.audit(lease, RESTORE, None, detail)?;
        self.set_behind(lease)?;
        self.checkpoint()?;
        Ok(true)
    }

    /// Notes that resources may be in the clouds which this state does not know: it is an older one.
    pub fn set_behind(&self, lease: &Lease) -> Result<(), Failure> {
        let now = self.now().to_string();
        self.fenced(lease, move |database| set_meta(database, BEHIND, &now))
    }

    /// Notes that the state has caught up with the clouds.
    pub fn clear_behind(&self, lease: &Lease) -> Result<(), Failure> {
        if self.is_behind()? {
            self.fenced(lease, |database| database.run("delete from meta where key = ?1", vals![BEHIND]).map(drop))?;
        }
        Ok(())
    }

    /// Whether resources may be in the clouds which this state does not know.
    pub fn is_behind(&self) -> Result<bool, Failure> {
        Ok(self.read(|database| crate::store::meta(database, BEHIND))?.is_some())
    }
}

/// The key of the note that a state is an older one.
const BEHIND: &str = "behind";

fn text_of(signed: &Checkpoint) -> Result<String, Failure> {
    serde_json::to_string_pretty(signed).map_err(|error| crate::io("write the audit log of", &error))
}
