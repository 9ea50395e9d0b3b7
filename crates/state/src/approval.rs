//! Owns approvals: who let which plan through, in which role, until when, and whether it was used.

use crate::{Lease, Store, now};
use provision_diagnostic::Failure;
use provision_model::Address;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

/// One approval. It is given to a plan as it stands, told by its digest, and is used once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub id: String,
    /// The digest of the plan.
    pub plan: String,
    /// `None`: every row of the plan.
    pub address: Option<Address>,
    pub role: String,
    pub by: String,
    /// RFC 3339, as all times here.
    pub at: String,
    pub until: String,
    /// When an apply used it.
    pub used: Option<String>,
    /// The digest of the policies and groups under which it was given; under others it does not count.
    #[serde(skip)]
    pub policies: String,
}

impl Approval {
    /// Whether it lets a row of its plan through now.
    pub fn holds(&self, plan: &str, address: &Address, time: &str) -> bool {
        self.plan == plan
            && self.used.is_none()
            && time < self.until.as_str()
            && self.address.as_ref().is_none_or(|own| own == address)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Approval> {
        Ok(Approval {
            id: row.get(0)?,
            plan: row.get(1)?,
            address: row.get::<_, Option<String>>(2)?.map(Address::new),
            role: row.get(3)?,
            by: row.get(4)?,
            at: row.get(5)?,
            until: row.get(6)?,
            used: row.get(7)?,
            policies: row.get(8)?,
        })
    }
}

const COLUMNS: &str = "id, plan, address, role, \"by\", at, until, used, policies";

impl Store {
    /// Keeps an approval.
    pub fn put_approval(&self, approval: &Approval) -> Result<(), Failure> {
        let address = approval.address.as_ref().map(Address::as_str);
        self.write(|transaction| {
            transaction.execute(
                &format!("insert into approvals ({COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
                params![
                    approval.id,
                    approval.plan,
                    address,
                    approval.role,
                    approval.by,
                    approval.at,
                    approval.until,
                    approval.used,
                    approval.policies
                ],
            )?;
            Ok(())
        })
    }

    /// All approvals, the newest first.
    pub fn approvals(&self) -> Result<Vec<Approval>, Failure> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("select {COLUMNS} from approvals order by at desc, id"))?;
            statement.query_map([], Approval::read)?.collect()
        })
    }

    /// Marks approvals as used; refused when one of them was used or taken back meanwhile.
    pub fn use_approvals(&self, lease: &Lease, ids: &[String]) -> Result<(), Failure> {
        let time = now();
        let all = self.fenced(lease, |transaction| {
            let unused = "select 1 from approvals where id = ?1 and used is null";
            for id in ids {
                if transaction.query_row(unused, [id], |_| Ok(())).optional()?.is_none() {
                    return Ok(false);
                }
            }
            for id in ids {
                transaction.execute("update approvals set used = ?2 where id = ?1", params![id, time])?;
            }
            Ok(true)
        })?;
        if all {
            return Ok(());
        }
        Err(Failure::new("provision::apply::approval", "an approval was used or taken back meanwhile")
            .with_help("Run `provision approvals`, and have the plan approved again."))
    }

    /// One approval.
    pub fn approval(&self, id: &str) -> Result<Approval, Failure> {
        let found: Option<Approval> = self.read(|connection| {
            connection
                .query_row(&format!("select {COLUMNS} from approvals where id = ?1"), [id], Approval::read)
                .optional()
        })?;
        found.ok_or_else(|| {
            Failure::new("provision::apply::approval", format!("there is no approval `{id}`"))
                .with_help("Run `provision approvals` to see them.")
        })
    }

    /// Takes back an approval that was not used.
    pub fn revoke_approval(&self, id: &str) -> Result<Approval, Failure> {
        let approval = self.approval(id)?;
        let gone = self
            .write(|transaction| transaction.execute("delete from approvals where id = ?1 and used is null", [id]))?;
        if gone == 0 {
            return Err(Failure::new("provision::apply::approval", format!("the approval `{id}` was used already"))
                .with_help("What was applied is not undone by taking it back; plan the way back."));
        }
        Ok(approval)
    }
}
