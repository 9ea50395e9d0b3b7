//! Owns verifying: the audit log, the history, the approvals and the policies in force each vouch for the others, and the
//! log's end for all of it.

use crate::audit::{self, AuditEntry, AuditGap, PAGE, chained, digest_of, end_text, gap, head_of};
use crate::db::vals;
use crate::head::{Checkpoint, Standing, signed_text};
use crate::history::{DIGEST, PRUNED, Stored};
use crate::{Approval, Store, proofs};
use provision_diagnostic::Failure;
use provision_model::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is wrong with the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditProblem {
    pub seq: i64,
    pub problem: String,
}

/// What verifying the log found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    pub valid: bool,
    pub entries: i64,
    pub checkpoints: i64,
    /// The hash of the newest entry.
    pub head: Option<String>,
    pub problems: Vec<AuditProblem>,
    /// What going back to a backup cut off. It is no alteration, for the log itself tells of it.
    pub gaps: Vec<AuditGap>,
}

/// What the entries of the log say of what is stored elsewhere.
#[derive(Default)]
struct Said {
    /// The digest of each change as last told; `None` where an older version told of it without one.
    changes: BTreeMap<i64, Option<String>>,
    /// The digest of each approval that was given and not taken back.
    approvals: HashMap<String, Option<String>>,
    used: HashSet<String>,
    /// The oldest change that was left when older ones went.
    oldest: i64,
    /// The policies that were last made the ones in force.
    policies: Option<String>,
}

impl Said {
    fn hear(&mut self, entry: &AuditEntry) {
        let text = |name: &str| entry.detail.get(name).and_then(Json::as_str).map(str::to_owned);
        let of_change = !entry.event.starts_with("operation.")
            && (entry.event.ends_with(".begin") || entry.event.ends_with(".end"));
        if let (true, Some(serial)) = (of_change, entry.serial) {
            let told = self.changes.entry(serial).or_default();
            *told = text(DIGEST).or(told.take());
        }
        if let Some(oldest) = entry.detail.get(PRUNED).and_then(Json::as_i64).filter(|_| of_change) {
            self.oldest = oldest;
        }
        match (entry.event.as_str(), text("approval")) {
            ("approval.give", Some(id)) => drop(self.approvals.insert(id, text("digest"))),
            ("approval.revoke", Some(id)) => drop(self.approvals.remove(&id)),
            ("approval.use", Some(id)) => drop(self.used.insert(id)),
            ("policy.change", _) => self.policies = text("after"),
            _ => {}
        }
    }
}

/// What is known of the chain from outside it: the hash that an entry must have, and who says so.
type Marks = HashMap<i64, Vec<(String, String)>>;

impl Store {
    /// Looks for entries that were altered, removed, put elsewhere, cut off or added by somebody else, and for changes,
    /// approvals and policies that the log does not tell of. `anchored` are heads that were kept elsewhere.
    pub fn verify_audit(&self, anchored: &[Checkpoint]) -> Result<Verified, Failure> {
        let mut problems: Vec<AuditProblem> = Vec::new();
        let mut told = |seq: i64, problem: String| problems.push(AuditProblem { seq, problem });
        let checkpoints = self.rows("select seq, at, hash, signature from checkpoints order by seq", &[])?;
        let mut marks: Marks = HashMap::new();
        let mut newest = 0;
        for row in &checkpoints {
            let text = signed_text(self.lineage(), row.int(0), row.text(2), row.time(1));
            if !self.sealer().is_signed(&text, row.text(3)) {
                told(row.int(0), "the signature of the checkpoint is not ours".to_owned());
            }
            let why = "the entry is not the one that was signed".to_owned();
            marks.entry(row.int(0)).or_default().push((row.text(2).to_owned(), why));
            newest = newest.max(row.int(0));
        }
        let changes = self.rows("select serial, data from history order by serial", &[])?;
        for row in &changes {
            let stored: Option<Stored> = serde_json::from_str(row.text(1)).ok();
            if let Some(tip) = stored.and_then(|stored| stored.log).filter(|tip| tip.seq > 0) {
                let why = format!("the entry is not the one after which change {} began", row.int(0));
                marks.entry(tip.seq).or_default().push((tip.hash, why));
                newest = newest.max(tip.seq);
            }
        }
        let standing = self.standing()?;
        if let Standing::Older { signed, .. } = standing {
            newest = newest.max(signed);
        } else if let Some(problem) = standing.problem() {
            told(0, problem);
        }
        let (mut before, mut next, mut entries) = (self.lineage().to_owned(), 1, 0);
        let (mut gaps, mut said) = (Vec::new(), Said::default());
        loop {
            let sql = "select seq, data, hash from audit where seq >= ?1 order by seq limit ?2";
            let page = self.rows(sql, vals![next, PAGE])?;
            if page.is_empty() {
                break;
            }
            for row in &page {
                let (seq, hash) = (row.int(0), row.text(2));
                if seq != next {
                    told(next, format!("{} entries are missing", seq - next));
                    // What follows the gap is looked at for itself.
                } else if chained(&before, row.text(1)) != hash {
                    told(seq, "the entry is not the one that was written, or not in its place".to_owned());
                }
                for (_, why) in marks.get(&seq).into_iter().flatten().filter(|(marked, _)| marked != hash) {
                    told(seq, why.clone());
                }
                if row.text(1).contains(audit::RESTORE) {
                    gaps.extend(gap(seq, row.text(1)));
                }
                if let Ok(entry) = serde_json::from_str(row.text(1)) {
                    said.hear(&entry);
                }
                before = hash.to_owned();
                next = seq + 1;
                entries += 1;
            }
        }
        let (head_seq, head_hash) = self.read(|database| head_of(database))?.unwrap_or_default();
        if next <= newest.max(head_seq) {
            told(next, format!("the log ends before entry {}, which was there", newest.max(head_seq)));
        } else if head_seq != next - 1 || (head_seq > 0 && head_hash != before) {
            told(head_seq, "the end of the log is not where it was".to_owned());
        }
        let chain = self.chain();
        let end = end_text(head_seq, &head_hash);
        let is_proved = self.read(|database| chain.is_proved(database, proofs::LOG, &end))?;
        if !is_proved && (head_seq > 0 || self.proved_once(proofs::LOG)?) {
            told(head_seq, "the log ends where this state did not end it".to_owned());
        }
        for anchor in anchored {
            let of_another = anchor.lineage.as_deref().is_some_and(|lineage| lineage != self.lineage());
            let standing = match of_another {
                true => Standing::Differs("the anchored head is of another state".to_owned()),
                false => self.holds(anchor, next - 1)?,
            };
            if let Some(problem) = standing.problem() {
                told(anchor.seq, format!("the anchored head does not fit: {problem}"));
            }
        }
        let changes = changes.iter().map(|row| (row.int(0), row.text(1))).collect::<Vec<_>>();
        told_changes(&changes, &said, &mut told);
        self.told_approvals(&said, &mut told)?;
        self.told_policies(&said, &mut told)?;
        Ok(Verified {
            valid: problems.is_empty(),
            entries,
            checkpoints: checkpoints.len() as i64,
            head: (entries > 0).then_some(before),
            problems,
            gaps,
        })
    }

    fn proved_once(&self, subject: &str) -> Result<bool, Failure> {
        Ok(self.read(|database| proofs::kept(database, subject))?.is_some())
    }

    fn told_approvals(&self, said: &Said, told: &mut dyn FnMut(i64, String)) -> Result<(), Failure> {
        let there = self.approvals()?;
        for approval in &there {
            let id = &approval.id;
            match said.approvals.get(id) {
                None => told(0, format!("the log does not tell of the approval `{id}`")),
                Some(Some(digest)) if *digest != approval.digest() => {
                    told(0, format!("the approval `{id}` is not the one that was given"));
                }
                Some(_) => {}
            }
            if approval.used.is_none() && said.used.contains(id) {
                told(0, format!("the approval `{id}` was used, and says that it was not"));
            } else if !self.is_vouched(approval)? {
                told(0, format!("the approval `{id}` was not written by this state"));
            }
        }
        let there: HashSet<&str> = there.iter().map(|approval| approval.id.as_str()).collect();
        let mut gone: Vec<&String> = said.approvals.keys().filter(|id| !there.contains(id.as_str())).collect();
        gone.sort();
        gone.into_iter().for_each(|id| told(0, format!("the approval `{id}` is gone, and nobody took it back")));
        Ok(())
    }

    fn told_policies(&self, said: &Said, told: &mut dyn FnMut(i64, String)) -> Result<(), Failure> {
        let in_force = match self.policies() {
            Ok(in_force) => in_force,
            Err(failure) => {
                told(0, failure.first.message);
                return Ok(());
            }
        };
        match (&said.policies, &in_force) {
            (Some(_), None) => told(0, "the policies in force are gone".to_owned()),
            (Some(after), Some(in_force)) if *after != in_force.digest => {
                told(0, "the policies in force are not those that the log tells of".to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

fn told_changes(there: &[(i64, &str)], said: &Said, told: &mut dyn FnMut(i64, String)) {
    let first = there.first().map_or(i64::MAX, |(serial, _)| *serial);
    // An older version did not write down what it forgot.
    let gone = said.changes.range(said.oldest..first.max(said.oldest)).find(|(_, digest)| digest.is_some());
    if let Some((serial, _)) = gone {
        told(0, format!("the history has no change {serial}"));
    }
    let mut expected = None;
    for (serial, data) in there {
        if let Some(missing) = expected.filter(|expected| expected < serial) {
            told(0, format!("the history has no change {missing}"));
        }
        expected = Some(serial + 1);
        match said.changes.get(serial) {
            None => told(0, format!("the log does not tell of change {serial}")),
            Some(Some(digest)) if *digest != digest_of(data) => {
                told(0, format!("change {serial} of the history is not as it was written"));
            }
            Some(_) => {}
        }
    }
    let Some((newest, _)) = there.last().copied() else { return };
    if let Some((serial, _)) = said.changes.iter().next_back().filter(|(serial, _)| **serial > newest) {
        told(0, format!("the history has no change {serial}, which the log tells of"));
    }
}

impl Approval {
    /// The digest of what was approved by whom; whether it was used is another matter.
    pub(crate) fn digest(&self) -> String {
        digest_of(&self.text(false))
    }
}
