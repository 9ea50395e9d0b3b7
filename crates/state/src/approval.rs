//! Owns approvals: who let which plan through, in which role, until when, and whether it was used.

use crate::audit::{self, AuditEntry};
use crate::db::{Database, DbError, Row, vals};
use crate::proofs::Chain;
use crate::{Store, proofs};
use provision_diagnostic::{Code, Failure};
use provision_model::{Address, Json, Map, Time, canonical};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One approval. It is given to a plan as it stands, told by its digest, and is used once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    pub id: String,
    /// The digest of the plan.
    pub plan: String,
    /// `None`: every row of the plan.
    pub address: Option<Address>,
    pub role: String,
    pub by: String,
    /// RFC 3339, as all times here.
    pub at: Time,
    pub until: Time,
    /// When an apply used it.
    pub used: Option<Time>,
    /// The digest of the policies and groups under which it was given; under others it does not count.
    #[serde(skip)]
    pub policies: String,
}

impl Approval {
    /// Whether it lets a row of its plan through now.
    pub fn holds(&self, plan: &str, address: &Address, time: Time) -> bool {
        self.plan == plan
            && self.used.is_none()
            && time < self.until
            && self.address.as_ref().is_none_or(|own| own == address)
    }

    fn read(row: &Row) -> Approval {
        Approval {
            id: row.text(0).to_owned(),
            plan: row.text(1).to_owned(),
            address: row.opt(2).map(Address::new),
            role: row.text(3).to_owned(),
            by: row.text(4).to_owned(),
            at: row.time(5),
            until: row.time(6),
            used: row.opt(7).map(|_| row.time(7)),
            policies: row.text(8).to_owned(),
        }
    }

    /// What is proved of it.
    pub(crate) fn text(&self, with_use: bool) -> String {
        let used = self.used.filter(|_| with_use);
        let address = self.address.as_ref().map(Address::as_str);
        canonical(&serde_json::json!([
            self.id,
            self.plan,
            address,
            self.role,
            self.by,
            self.at,
            self.until,
            self.policies,
            used
        ]))
    }

    fn told(&self, actor: &str, event: &str, time: Time) -> AuditEntry {
        let mut detail = Map::new();
        detail.insert("digest".into(), Json::from(self.digest()));
        for (name, value) in
            [("approval", &self.id), ("plan", &self.plan), ("role", &self.role), ("until", &self.until.to_string())]
        {
            detail.insert(name.into(), Json::from(value.as_str()));
        }
        AuditEntry {
            time,
            actor: actor.to_owned(),
            event: event.to_owned(),
            subject: self.address.as_ref().map(ToString::to_string),
            serial: None,
            detail,
        }
    }
}

/// Marks approvals as used; false where one of them was used or taken back meanwhile.
pub(crate) fn take(
    database: &mut dyn Database,
    chain: &Chain,
    user: &str,
    ids: &[String],
    time: Time,
) -> Result<bool, DbError> {
    // Run again, it finds the marks of its own first time.
    let open = "select 1 from approvals where id = ?1 and (used is null or used = ?2)";
    for id in ids {
        if database.row(open, vals![id, time])?.is_none() {
            return Ok(false);
        }
    }
    for id in ids {
        let sql = "update approvals set used = ?2 where id = ?1 and used is null";
        if database.run(sql, vals![id, time])? == 0 {
            continue;
        }
        let read = format!("select {COLUMNS} from approvals where id = ?1");
        if let Some(approval) = database.row(&read, vals![id])?.as_ref().map(Approval::read) {
            chain.prove(database, &proofs::approval(id), &approval.text(true))?;
            audit::append(database, chain, &approval.told(user, "approval.use", time))?;
        }
    }
    Ok(true)
}

pub(crate) fn taken() -> Failure {
    Failure::new(Code::ApplyApproval, "an approval was used or taken back meanwhile")
        .with_help("Run `provision approvals`, and have the plan approved again.")
}

const COLUMNS: &str = "id, plan, address, role, \"by\", at, until, used, policies";

impl Store {
    /// Keeps an approval.
    pub fn put_approval(&self, approval: &Approval) -> Result<(), Failure> {
        let approval = approval.clone();
        let (chain, told) = (self.chain(), self.vouched(approval.told(&approval.by, "approval.give", self.now())));
        self.write(move |database| {
            let sql = format!(
                "insert into approvals ({COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict do nothing"
            );
            let values = vals![
                &approval.id,
                &approval.plan,
                approval.address.as_ref().map(Address::as_str),
                &approval.role,
                &approval.by,
                approval.at,
                approval.until,
                approval.used,
                &approval.policies
            ];
            if database.run(&sql, values)? == 1 {
                chain.prove(database, &proofs::approval(&approval.id), &approval.text(true))?;
                audit::append(database, &chain, &told)?;
            }
            Ok(())
        })
    }

    /// All approvals, the newest first.
    pub fn approvals(&self) -> Result<Vec<Approval>, Failure> {
        let rows = self.rows(&format!("select {COLUMNS} from approvals order by at desc, id"), &[])?;
        Ok(rows.iter().map(Approval::read).collect())
    }

    /// Whether this state wrote an approval as it stands; who has the file and not the key cannot.
    pub fn is_vouched(&self, approval: &Approval) -> Result<bool, Failure> {
        let (chain, text) = (self.chain(), approval.text(true));
        self.read(|database| chain.is_proved(database, &proofs::approval(&approval.id), &text))
    }

    /// One approval.
    pub fn approval(&self, id: &str) -> Result<Approval, Failure> {
        let found = self.rows(&format!("select {COLUMNS} from approvals where id = ?1"), vals![id])?;
        found.first().map(Approval::read).ok_or_else(|| {
            Failure::new(Code::ApplyApproval, format!("there is no approval `{id}`"))
                .with_help("Run `provision approvals` to see them.")
        })
    }

    /// Takes back an approval that was not used.
    pub fn revoke_approval(&self, id: &str, user: &str) -> Result<Approval, Failure> {
        let approval = self.approval(id)?;
        let (chain, told) = (self.chain(), self.vouched(approval.told(user, "approval.revoke", self.now())));
        let id = id.to_owned();
        let gone = {
            let id = id.clone();
            self.write(move |database| {
                let gone = database.run("delete from approvals where id = ?1 and used is null", vals![&id])?;
                if gone == 1 {
                    proofs::forget(database, &proofs::approval(&id))?;
                    audit::append(database, &chain, &told)?;
                }
                Ok(gone)
            })?
        };
        if gone == 0 {
            return Err(Failure::new(Code::ApplyApproval, format!("the approval `{id}` was used already"))
                .with_help("What was applied is not undone by taking it back; plan the way back."));
        }
        Ok(approval)
    }
}
