//! Owns strays: what carries this state's mark and is in no row of it, and whose each was.

use crate::configuration::accounts::open_account;
use crate::observation::refresh::Place;
use crate::workspace::Workspace;
use indexmap::IndexMap;
use provision_diagnostic::Failure;
use provision_model::{AccountConfig, Address, Identity, LABEL_STATE, Remote, type_name};
use std::collections::{HashMap, HashSet};

/// Generations of an address that are looked for beyond the newest one the state knows: an older state has seen so many
/// fewer creations.
const AHEAD: u64 = 64;

/// What carries this state's mark and is in no row of it.
#[derive(Debug, Clone)]
pub struct Stray {
    /// `hetzner.server`.
    pub kind: String,
    pub account: String,
    pub region: Option<String>,
    pub remote: Remote,
}

impl Stray {
    fn op(&self) -> &str {
        self.remote.identity.as_ref().map_or("", |identity| identity.op.as_str())
    }
}

/// Whose a stray was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This state made it, or one before it, and let go of it.
    LetGo,
    /// It was made for this address after the state was saved: the state is an older one.
    Lost(Address, u64),
    /// It was made for an address that neither the state nor the configuration has.
    Unknown,
}

/// What carries our mark and is nobody's, in a fixed order: neither being made just now nor in the state since it was
/// listed, under whichever account.
pub(crate) fn own_strays(on: &Workspace, found: Vec<Stray>) -> Result<Vec<Stray>, Failure> {
    if found.is_empty() {
        return Ok(found);
    }
    let under_way: HashSet<String> = on.store.open_entries()?.into_iter().map(|entry| entry.body.identity.op).collect();
    let ours: HashSet<(String, String)> =
        on.store.resources()?.into_iter().map(|resource| (resource.kind, resource.remote_id)).collect();
    let mut seen = HashSet::new();
    let mut strays: Vec<Stray> = found
        .into_iter()
        .filter(|stray| {
            let id = (stray.kind.clone(), stray.remote.id.clone());
            !under_way.contains(stray.op()) && !ours.contains(&id) && seen.insert(id)
        })
        .collect();
    strays.sort_by(|a, b| (&a.kind, &a.remote.id).cmp(&(&b.kind, &b.remote.id)));
    Ok(strays)
}

/// Whose each of them was: their marks are hashes of an address and a generation, so both are tried. A state made
/// everything up to the generation it knows itself, whatever it let go of; what is newer it has lost.
pub(crate) fn origins<'a>(
    on: &Workspace,
    strays: &[Stray],
    addresses: impl Iterator<Item = &'a Address>,
) -> Result<Vec<Origin>, Failure> {
    if strays.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: HashMap<Address, u64> = on.store.generations()?;
    for address in addresses {
        known.entry(address.clone()).or_default();
    }
    let mut wanted: HashSet<&str> = strays.iter().map(Stray::op).collect();
    let mut found: HashMap<String, Origin> = HashMap::new();
    let lineage = on.store.lineage();
    let mut look = |address: &Address, generation: u64, origin: Origin| {
        let op = Identity::new(lineage, address, generation).op;
        if wanted.remove(op.as_str()) {
            found.insert(op, origin);
        }
        wanted.is_empty()
    };
    let made = known.iter().any(|(address, newest)| {
        (1..=*newest).rev().take(AHEAD as usize).any(|generation| look(address, generation, Origin::LetGo))
    });
    let _ = made
        || (1..=AHEAD).any(|step| {
            known
                .iter()
                .any(|(address, newest)| look(address, newest + step, Origin::Lost(address.clone(), newest + step)))
        });
    Ok(strays.iter().map(|stray| found.get(stray.op()).cloned().unwrap_or(Origin::Unknown)).collect())
}

/// What carries our mark in one place.
pub(crate) fn marked(
    on: &Workspace,
    accounts: &IndexMap<String, AccountConfig>,
    (account, kind, region): &Place,
) -> Result<Vec<Stray>, Failure> {
    let opened = open_account(on, account, kind, accounts.get(account))?;
    let (_, spec) = on.project.registry.type_of(kind)?;
    let label = spec.labels.as_ref().map(|_| (LABEL_STATE, on.store.lineage()));
    let listed = opened
        .provider
        .list(type_name(kind), region.as_deref(), label, &on.host.reading())
        .map_err(|error| error.failure(&format!("cannot list {kind}")))?;
    let ours = |remote: &Remote| remote.identity.as_ref().is_some_and(|it| it.state == on.store.lineage());
    let strays = listed.unwrap_or_default().into_iter().filter(ours);
    Ok(strays
        .map(|remote| Stray { kind: kind.clone(), account: account.clone(), region: region.clone(), remote })
        .collect())
}
