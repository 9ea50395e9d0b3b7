//! Owns the dependency graph: direct dependencies only, every pass linear in nodes plus edges.

use crate::Address;
use std::collections::HashMap;

/// Who needs whom, by index.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub addresses: Vec<Address>,
    index: HashMap<Address, usize>,
    /// For each node the nodes it needs.
    pub needs: Vec<Vec<usize>>,
}

impl Graph {
    /// Builds the graph; dependencies that are not nodes are ignored (they are settled already).
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a Address, &'a [Address])>) -> Self {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let addresses: Vec<Address> = nodes.iter().map(|(address, _)| (*address).clone()).collect();
        let index: HashMap<Address, usize> =
            addresses.iter().cloned().enumerate().map(|(at, address)| (address, at)).collect();
        let needs =
            nodes.iter().map(|(_, deps)| deps.iter().filter_map(|dep| index.get(dep).copied()).collect()).collect();
        Self { addresses, index, needs }
    }

    /// The index of an address.
    pub fn find(&self, address: &str) -> Option<usize> {
        self.index.get(address).copied()
    }

    /// For each node the nodes that need it.
    pub fn needed_by(&self) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); self.needs.len()];
        for (node, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                out[need].push(node);
            }
        }
        out
    }

    /// Dependencies before dependents; `Err` with the whole cycle when there is one.
    pub fn order(&self) -> Result<Vec<usize>, Vec<Address>> {
        let mut order = Vec::with_capacity(self.needs.len());
        // 0 unseen, 1 on the stack, 2 done. The stack is explicit: chains of 100 000 must not overflow ours.
        let mut mark = vec![0u8; self.needs.len()];
        for root in 0..self.needs.len() {
            if mark[root] != 0 {
                continue;
            }
            mark[root] = 1;
            let mut stack = vec![(root, 0usize)];
            while let Some((node, next)) = stack.pop() {
                match self.needs[node].get(next) {
                    Some(&need) => {
                        stack.push((node, next + 1));
                        match mark[need] {
                            0 => {
                                mark[need] = 1;
                                stack.push((need, 0));
                            }
                            1 => {
                                let from = stack.iter().position(|(at, _)| *at == need).unwrap_or(0);
                                let mut cycle: Vec<Address> =
                                    stack[from..].iter().map(|(at, _)| self.addresses[*at].clone()).collect();
                                cycle.push(self.addresses[need].clone());
                                return Err(cycle);
                            }
                            _ => {}
                        }
                    }
                    None => {
                        mark[node] = 2;
                        order.push(node);
                    }
                }
            }
        }
        Ok(order)
    }

    /// For each node whether it is on a cycle, or between two of them.
    pub fn cyclic(&self) -> Vec<bool> {
        let needed_by = self.needed_by();
        let mut inside = vec![true; self.needs.len()];
        // Whoever needs nobody that is left is on no cycle, nor is whoever nobody that is left needs.
        for (to, from) in [(&self.needs, &needed_by), (&needed_by, &self.needs)] {
            let left = |node: usize, inside: &[bool]| to[node].iter().filter(|at| inside[**at]).count();
            let mut counts: Vec<usize> = (0..to.len()).map(|node| left(node, &inside)).collect();
            let mut free: Vec<usize> = (0..to.len()).filter(|node| inside[*node] && counts[*node] == 0).collect();
            while let Some(node) = free.pop() {
                inside[node] = false;
                for &other in from[node].iter().filter(|other| inside[**other]) {
                    counts[other] -= 1;
                    if counts[other] == 0 {
                        free.push(other);
                    }
                }
            }
        }
        inside
    }
}

/// `a → b → a`.
pub fn cycle_of(cycle: &[Address]) -> String {
    cycle.iter().map(Address::as_str).collect::<Vec<_>>().join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Graph {
        let nodes: Vec<(Address, Vec<Address>)> =
            edges.iter().map(|(a, deps)| (Address::new(*a), deps.iter().map(|d| Address::new(*d)).collect())).collect();
        Graph::new(nodes.iter().map(|(a, deps)| (a, deps.as_slice())))
    }

    #[test]
    fn order_puts_needs_first() {
        let graph = graph(&[("web", &["net", "fw"]), ("fw", &["net"]), ("net", &[])]);
        let order: Vec<&str> = graph.order().unwrap().into_iter().map(|at| graph.addresses[at].as_str()).collect();
        assert_eq!(order, ["net", "fw", "web"]);
    }

    #[test]
    fn what_is_on_a_cycle_is_found_apart_from_what_leads_to_it() {
        let graph = graph(&[("a", &["b"]), ("b", &["c", "e"]), ("c", &["b"]), ("d", &["d"]), ("e", &[])]);
        assert_eq!(graph.cyclic(), [false, true, true, true, false]);
    }

    #[test]
    fn the_whole_cycle_is_named() {
        let cycle = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]).order().unwrap_err();
        assert_eq!(cycle_of(&cycle), "b → c → b");
    }

    #[test]
    fn a_long_chain_does_not_overflow() {
        let names: Vec<Address> = (0..100_000).map(|at| Address::new(format!("n{at}"))).collect();
        let deps: Vec<Vec<Address>> =
            (0..names.len()).map(|at| names.get(at + 1).into_iter().cloned().collect()).collect();
        let graph = Graph::new(names.iter().zip(deps.iter().map(Vec::as_slice)));
        assert_eq!(graph.order().unwrap().len(), 100_000);
    }
}
