//! Owns the rows of resources that have another address from now on. Pure.

use provision_model::{Address, Resource};
use provision_state::Edit;
use std::collections::HashMap;

/// The rows of resources under their new addresses, and of those that depend on them.
pub(crate) fn moved(state: Vec<Resource>, moves: &HashMap<Address, Address>) -> Edit {
    let mut edit =
        Edit { moved: moves.iter().map(|(from, to)| (from.clone(), to.clone())).collect(), ..Edit::default() };
    for mut resource in state {
        let own = moves.get(&resource.address);
        let mut changed = own.is_some();
        for needed in &mut resource.depends_on {
            if let Some(to) = moves.get(needed) {
                *needed = to.clone();
                changed = true;
            }
        }
        if let Some(to) = own {
            edit.gone.push(std::mem::replace(&mut resource.address, to.clone()));
        }
        if changed {
            edit.puts.push(resource);
        }
    }
    // A chain of renames may give one the address of another that goes: it is there, and did not go.
    let there: std::collections::HashSet<&Address> = edit.puts.iter().map(|resource| &resource.address).collect();
    edit.gone.retain(|address| !there.contains(address));
    edit
}
