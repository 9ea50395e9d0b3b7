//! Owns the order of an apply: the graph of its operations, and who may run next.

use crate::Session;
use crate::execute::Done;
use crate::plan::{Plan, PlannedRow};
use provision_diagnostic::{isolated, locked};
use provision_model::{Action, Address};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long what is in flight may take after a stop was asked for, before it is parked.
const GRACE: Duration = Duration::from_secs(60);
/// How often somebody who waits looks whether a stop was asked for.
const TURN: Duration = Duration::from_millis(100);

/// One node of the execution graph: a row, or one of the operations that a row takes several of.
pub struct Node {
    pub row: usize,
    pub action: Action,
    pub part: Part,
    pub needs: Vec<usize>,
}

impl Node {
    /// The action that tells where it works: what is about to go is where the deletion is.
    pub fn place_action(&self) -> Action {
        if self.part == Part::Release { Action::Delete } else { self.action }
    }
}

/// Which part of a resource an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The creation of one whose `later` fields come afterwards.
    First,
    /// The update that sets them.
    Rest,
    /// The update of one that is about to go: it takes out what refers to others that go too, which could not go first.
    Release,
}

/// The execution graph of some rows. Dependencies outside the subset are settled: closure was checked. `created` are rows
/// of which this plan has made the first part already.
pub fn graph(plan: &Plan, todo: &[usize], created: &HashSet<usize>, state: &[provision_model::Resource]) -> Vec<Node> {
    let prior: HashMap<&str, &[Address]> =
        state.iter().map(|resource| (resource.address.as_str(), resource.depends_on.as_slice())).collect();
    let deferred: HashMap<&str, &[Address]> =
        state.iter().map(|resource| (resource.address.as_str(), resource.deferred.as_slice())).collect();
    let mut nodes: Vec<Node> = Vec::new();
    // The node that takes a row's resource away, and the one that leaves it as it should be.
    let mut taking: HashMap<&str, usize> = HashMap::new();
    let mut making: HashMap<&str, usize> = HashMap::new();
    let mut making_first: HashSet<&str> = HashSet::new();
    // The node that sets what a creation left, and the one that takes out what refers to others that go.
    let mut completing: HashMap<&str, usize> = HashMap::new();
    let mut releasing: HashMap<&str, usize> = HashMap::new();
    let node = |row: usize, action: Action, part: Part| Node { row, action, part, needs: Vec::new() };
    for &row in todo {
        let planned = &plan.rows[row].row;
        let address = planned.address.as_str();
        // A replacement whose deletion is done already is a creation.
        let takes = planned.action == Action::Delete
            || (planned.action == Action::Replace && !plan.rows[row].lifecycle.retain && !created.contains(&row));
        if takes && deferred.get(address).is_some_and(|it| !it.is_empty()) {
            releasing.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Release));
        }
        if planned.action == Action::Replace && prior.contains_key(address) && !created.contains(&row) {
            taking.insert(address, nodes.len());
            let action = if plan.rows[row].lifecycle.retain { Action::Forget } else { Action::Delete };
            nodes.push(node(row, action, Part::Whole));
            if plan.rows[row].makes_first() {
                making_first.insert(address);
            }
        }
        let action = match planned.action {
            Action::Replace => Action::Create,
            action => action,
        };
        let parted = action == Action::Create && !plan.rows[row].later.fields.is_empty();
        if created.contains(&row) {
            making.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Rest));
            continue;
        }
        match action {
            Action::Delete | Action::Forget => taking.insert(address, nodes.len()),
            _ => making.insert(address, nodes.len()),
        };
        nodes.push(node(row, action, if parted { Part::First } else { Part::Whole }));
        if parted {
            completing.insert(address, nodes.len());
            nodes.push(node(row, Action::Update, Part::Rest));
        }
    }
    let beyond = beyond(plan, todo, &completing);
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for &row in todo {
        let planned = &plan.rows[row];
        let address = planned.row.address.as_str();
        if let Some(&make) = making.get(address) {
            for need in &planned.needs {
                let Some(&first) = making.get(need.as_str()) else { continue };
                // What is there has its id: two that refer to each other need not wait for each other's update.
                if planned.later.on.contains(need) && nodes[first].action == Action::Update {
                    continue;
                }
                let complete = completing.get(need.as_str()).copied().unwrap_or(first);
                match completing.get(address) {
                    // What is left for later waits for the id of what it refers to, no more.
                    Some(&rest) if planned.later.on.contains(need) => edges.push((rest, first)),
                    // Nothing waits for what itself waits for it.
                    _ if beyond.get(need.as_str()).is_some_and(|it| it.contains(address)) => edges.push((make, first)),
                    _ if planned.later.on.contains(need) => edges.push((make, first)),
                    _ => edges.push((make, complete)),
                }
            }
            edges.extend(completing.get(address).map(|rest| (*rest, make)));
            if let Some(&take) = taking.get(address) {
                edges.push(if planned.makes_first() { (take, make) } else { (make, take) });
            }
        }
        // Who needed a thing lets go of it before it is taken away.
        let (release, own) = (releasing.get(address).copied(), taking.get(address).copied());
        edges.extend(release.zip(own).map(|(release, own)| (own, release)));
        for needed in prior.get(address).copied().unwrap_or_default() {
            let Some(&take) = taking.get(needed.as_str()) else { continue };
            let late = deferred.get(address).is_some_and(|it| it.contains(needed));
            match (own, making.get(address)) {
                (Some(_), _) if late => edges.extend(release.map(|release| (take, release))),
                (Some(own), _) => edges.push((take, own)),
                // Where the new one is there first, an update turns to it and the old one goes afterwards.
                (None, Some(&make)) if making_first.contains(needed.as_str()) => edges.push((take, make)),
                // An update waits for the new one where there is one; it cannot also come before the old one goes.
                (None, Some(&make)) if !making.contains_key(needed.as_str()) || !planned.needs.contains(needed) => {
                    edges.push((take, make));
                }
                _ => {}
            }
        }
    }
    // A node may be needed for several reasons; it is waited for once.
    edges.sort_unstable();
    edges.dedup();
    for (node, need) in edges {
        nodes[node].needs.push(need);
    }
    nodes
}

/// For each row in several parts, the rows that what its rest refers to needs: they cannot wait for that rest.
fn beyond<'a>(plan: &'a Plan, todo: &[usize], parted: &HashMap<&'a str, usize>) -> HashMap<&'a str, HashSet<&'a str>> {
    let rows: HashMap<&str, &PlannedRow> =
        todo.iter().map(|row| (plan.rows[*row].row.address.as_str(), &plan.rows[*row])).collect();
    parted
        .keys()
        .map(|&address| {
            let mut found = HashSet::new();
            let mut open: Vec<&str> =
                rows.get(address).into_iter().flat_map(|it| &it.later.on).map(|it| it.as_str()).collect();
            while let Some(next) = open.pop() {
                if found.insert(next) {
                    open.extend(rows.get(next).into_iter().flat_map(|it| &it.needs).map(|it| it.as_str()));
                }
            }
            (address, found)
        })
        .collect()
}

/// Who may run next. Each finished node frees those that waited for it; nothing is scanned twice.
pub struct Schedule<'a> {
    nodes: &'a [Node],
    needed_by: Vec<Vec<usize>>,
    /// The queue of each node.
    queue_of: Vec<usize>,
    /// How many run at a time.
    most: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    queues: Vec<Queue>,
    waiting_for: Vec<usize>,
    outcomes: Vec<Option<Done>>,
    running: usize,
}

impl Inner {
    /// A node that may run while at most `most` do: of the account that has fewest running, as `choose` picks one of so many.
    fn take(&mut self, most: usize, choose: &dyn Fn(usize) -> usize) -> Option<usize> {
        if self.running >= most {
            return None;
        }
        let busy = self.queues.iter().filter(|queue| queue.left > 0).count();
        let of_one = most.saturating_sub(busy.saturating_sub(1)).max(1);
        let free = |queue: &&mut Queue| queue.running < of_one && !queue.ready.is_empty();
        let first = |queue: &&mut Queue| (queue.running, queue.ready.front().copied());
        let queue = self.queues.iter_mut().filter(free).min_by_key(first)?;
        let node = queue.ready.remove(choose(queue.ready.len()))?;
        queue.running += 1;
        self.running += 1;
        Some(node)
    }
}

/// What one account has to do. A cloud that is slow or throttled must not keep all of another one waiting: one place is
/// left for each account that has something to do still.
#[derive(Default)]
struct Queue {
    ready: VecDeque<usize>,
    running: usize,
    /// Those that have not ended.
    left: usize,
}

impl<'a> Schedule<'a> {
    /// `account` gives the account of a node, and `most` how many operations go on at a time.
    pub fn new(nodes: &'a [Node], most: usize, account: impl Fn(&Node) -> String) -> Self {
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut queue_of = Vec::with_capacity(nodes.len());
        for node in nodes {
            let next = names.len();
            queue_of.push(*names.entry(account(node)).or_insert(next));
        }
        let mut queues: Vec<Queue> = names.iter().map(|_| Queue::default()).collect();
        let mut needed_by = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            for &need in &node.needs {
                needed_by[need].push(at);
            }
        }
        let waiting_for: Vec<usize> = nodes.iter().map(|node| node.needs.len()).collect();
        queue_of.iter().for_each(|queue| queues[*queue].left += 1);
        for at in (0..nodes.len()).filter(|at| waiting_for[*at] == 0) {
            queues[queue_of[at]].ready.push_back(at);
        }
        let outcomes = nodes.iter().map(|_| None).collect();
        let inner = Mutex::new(Inner { queues, waiting_for, outcomes, running: 0 });
        Self { nodes, needed_by, queue_of, most: most.clamp(1, 256), inner, changed: Condvar::new() }
    }

    /// How many operations can go on at a time.
    pub fn width(&self) -> usize {
        self.most.min(self.nodes.len().max(1))
    }

    /// Runs nodes until there is no more for anybody. Whatever becomes of one, it ends: those that wait for it are told, and
    /// its place is free again.
    pub fn work(&self, session: &Session, run: impl Fn(usize) -> Done) {
        while let Some(at) = self.next(session) {
            self.finish(at, isolated("an operation", || run(at)).unwrap_or_else(Done::InDoubt));
        }
    }

    /// The next node, or `None` when there is no more for anybody.
    fn next(&self, session: &Session) -> Option<usize> {
        let stop = session.stop.flag();
        let mut inner = locked(&self.inner);
        loop {
            if stop.load(std::sync::atomic::Ordering::SeqCst) {
                return None;
            }
            // In the order of the file, or as the dice of a simulation fall.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the length")]
            let choose = |length: usize| match &session.dice {
                None => 0,
                Some(_) => (session.chance() * length as f64) as usize,
            };
            if let Some(node) = inner.take(self.most, &choose) {
                return Some(node);
            }
            if inner.running == 0 {
                self.changed.notify_all();
                return None;
            }
            inner = self.changed.wait_timeout(inner, TURN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[cfg(test)]
    fn take(&self, choose: &dyn Fn(usize) -> usize) -> Option<usize> {
        locked(&self.inner).take(self.most, choose)
    }

    fn finish(&self, at: usize, outcome: Done) {
        let mut inner = locked(&self.inner);
        inner.running -= 1;
        let queue = &mut inner.queues[self.queue_of[at]];
        (queue.running, queue.left) = (queue.running - 1, queue.left - 1);
        let well = matches!(outcome, Done::Well);
        inner.outcomes[at] = Some(outcome);
        if well {
            for &next in &self.needed_by[at] {
                inner.waiting_for[next] -= 1;
                if inner.waiting_for[next] == 0 {
                    inner.queues[self.queue_of[next]].ready.push_back(next);
                }
            }
        } else {
            let mut skip: Vec<usize> = self.needed_by[at].clone();
            while let Some(next) = skip.pop() {
                if inner.outcomes[next].is_none() {
                    inner.outcomes[next] = Some(Done::Skipped);
                    inner.queues[self.queue_of[next]].left -= 1;
                    skip.extend(&self.needed_by[next]);
                }
            }
        }
        self.changed.notify_all();
    }

    /// Parks what is still in flight some time after a stop was asked for.
    pub fn watch(&self, session: &Session) {
        let mut stopped_at = None;
        loop {
            let inner = locked(&self.inner);
            let is_empty = inner.queues.iter().all(|queue| queue.ready.is_empty());
            if inner.running == 0 && (is_empty || session.stop.is_requested()) {
                return;
            }
            drop(self.changed.wait_timeout(inner, TURN).unwrap_or_else(PoisonError::into_inner));
            if session.stop.is_requested() {
                let since: &mut std::time::Instant = stopped_at.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > GRACE {
                    session.stop.park();
                }
            }
        }
    }

    pub fn into_outcomes(self) -> Vec<Option<Done>> {
        debug_assert_eq!(self.nodes.len(), self.needed_by.len());
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner).outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_account_leaves_a_place_for_the_others() {
        // Ten of the slow one come first in the file, then one of the other.
        let nodes: Vec<Node> =
            (0..11).map(|row| Node { row, action: Action::Create, part: Part::Whole, needs: Vec::new() }).collect();
        let account = |node: &Node| if node.row < 10 { "slow" } else { "other" }.to_owned();
        let take = |schedule: &Schedule<'_>| schedule.take(&|_| 0);
        let schedule = Schedule::new(&nodes, 4, account);
        assert_eq!(schedule.width(), 4);
        let mut running: Vec<usize> = std::iter::from_fn(|| take(&schedule)).collect();
        running.sort_unstable();
        assert_eq!(running, [0, 1, 2, 10]);
        // Once that one is done, nothing is kept free for it.
        schedule.finish(10, Done::Well);
        assert_eq!((take(&schedule), take(&schedule)), (Some(3), None));
        // One at a time is one at a time.
        let schedule = Schedule::new(&nodes, 1, account);
        assert_eq!((take(&schedule), take(&schedule)), (Some(0), None));
    }
}
