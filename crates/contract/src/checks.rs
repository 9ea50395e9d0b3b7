//! Owns the checks, in the order of a resource's life.

use crate::bench::Bench;
use crate::neighbours::{self, Others};
use crate::tamper::Trouble;
use crate::{CheckRow, Verdict, Way};
use provision_diagnostic::{Code, Failure};
use provision_model::{Action, Json, Map, PlanRow};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a check says: passed, with a remark or without; skipped; or failed.
enum Said {
    Passed,
    Skipped(String),
}

type Checked = Result<Said, String>;

struct Life<'a, 'b> {
    bench: &'a Bench<'b>,
    /// The fields it has now.
    now: Map,
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(CheckRow),
    /// Said of the checks that follow when there is nothing to check.
    over: Option<String>,
}

/// All checks of a type.
pub fn all(bench: &Bench<'_>, stop: &AtomicBool, tell: &mut dyn FnMut(CheckRow)) {
    let mut life = Life { bench, now: bench.samples.first(), stop, tell, over: None };
    let made = life.check("create", |life| {
        life.settle(None)?;
        life.settle(Some(()))?;
        life.stored_id().map(|_| Said::Passed)
    });
    if !made {
        life.over = Some("none was made".into());
    }
    life.check("read-back", |life| life.nothing_to_do());
    life.check("list", list);
    life.check("unknown fields", unknown_fields);
    life.check("malformed answers", malformed);
    for name in bench.tries(Way::Update) {
        life.check(&format!("update {name}"), |life| update(life, name));
        life.check(&format!("drift {name}"), |life| drift(life, name));
        life.back(name);
        if bench.samples.spec.fields.get(name).is_some_and(|field| field.detaches) {
            life.check(&format!("detach {name}"), |life| detach(life, name));
            life.back(name);
        }
    }
    for (name, host) in neighbours::hosts(bench) {
        life.check(&format!("host of {name}"), |life| survives(life, name, &host));
        life.back(name);
    }
    for name in bench.tries(Way::Replace) {
        life.check(&format!("replace {name}"), |life| replace(life, name));
        // What it was not made with may not go with the next field's value.
        if !life.bench.samples.first().contains_key(name) {
            life.now.shift_remove(name);
        }
    }
    life.check("delete", delete);
    life.check("throttle", throttle);
    life.check("delete of the gone", delete_gone);
    life.check("quota", quota);
    life.check("lost answer", lost_answer);
    life.check("secrets", |life| {
        let leaks = life.bench.leaks();
        if leaks.is_empty() { Ok(Said::Passed) } else { Err(leaks.join(", ")) }
    });
    // Whatever went wrong, nothing is to be left behind.
    life.over = None;
    life.check("clean up", |life| {
        life.bench.tampered.order(None);
        told(life.bench.clear().failure)?;
        match life.bench.remote().then(|| life.bench.marked()) {
            Some(marked) if marked.as_ref().is_ok_and(|it| it.as_ref().is_some_and(|it| !it.is_empty())) => {
                Err("the cloud still shows resources of the test".into())
            }
            _ => Ok(Said::Passed),
        }
    });
}

/// A failure in one line, with the codes and what the others say.
fn told(failure: Option<Failure>) -> Result<(), String> {
    match failure {
        None => Ok(()),
        Some(failure) => {
            let all: Vec<String> = failure.diagnostics().map(|one| format!("{}: {}", one.code, one.message)).collect();
            Err(all.join("; "))
        }
    }
}

fn text(failure: Failure) -> String {
    told(Some(failure)).err().unwrap_or_default()
}

impl Life<'_, '_> {
    fn check(&mut self, name: &str, body: impl FnOnce(&mut Self) -> Checked) -> bool {
        let begun = Instant::now();
        let stopped = self.stop.load(Ordering::SeqCst).then(|| "stopped".to_owned());
        let (result, message) = match stopped.or_else(|| self.over.clone()) {
            Some(why) => (Verdict::Skipped, Some(why)),
            None => match body(self) {
                Ok(Said::Passed) => (Verdict::Passed, None),
                Ok(Said::Skipped(why)) => (Verdict::Skipped, Some(why)),
                Err(why) => (Verdict::Failed, Some(why)),
            },
        };
        self.bench.tampered.order(None);
        let duration = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let kind = self.bench.samples.kind();
        (self.tell)(CheckRow { kind, check: name.to_owned(), result, message, duration });
        result == Verdict::Passed
    }

    /// Applies what is wanted now, or what it needs alone.
    fn settle(&self, it: Option<()>) -> Result<(), String> {
        let it = it.map(|()| &self.now);
        // The plan looks at what only a reading by id shows too.
        let rows = self.bench.plan(it).map_err(text)?;
        if rows.is_empty() {
            return Ok(());
        }
        told(self.bench.apply(it, Some(&rows)).failure)
    }

    fn stored_id(&self) -> Result<String, String> {
        let stored = self.bench.stored().map_err(text)?;
        stored.map(|resource| resource.remote_id).ok_or_else(|| "it is not in the state".into())
    }

    /// Gives a field the value it began with, so that what is checked next does not hang on it.
    fn back(&mut self, name: &str) {
        if let Some(first) = self.bench.samples.first().get(name).filter(|first| self.now.get(name) != Some(first)) {
            let changed = self.now.insert(name.to_owned(), first.clone());
            // Some only grow: then the value stays.
            if let (Err(_), Some(changed)) = (self.settle(Some(())), changed) {
                self.now.insert(name.to_owned(), changed);
            }
        }
    }

    fn plan(&self) -> Result<Vec<PlanRow>, String> {
        self.bench.plan(Some(&self.now)).map_err(text)
    }

    fn nothing_to_do(&self) -> Checked {
        let rows = self.plan()?;
        if rows.is_empty() {
            return Ok(Said::Passed);
        }
        let what = |row: &PlanRow| {
            let paths: Vec<&str> = row.changes.iter().map(|change| change.path.as_str()).collect();
            format!("{} {} ({})", row.action.name(), row.address, paths.join(", "))
        };
        Err(format!("the next plan is not empty: {}", rows.iter().map(what).collect::<Vec<_>>().join("; ")))
    }

    /// The value that a field has now: as configured, as sent, or as the cloud shows what it filled in.
    fn is(&self, name: &str) -> Result<Option<Json>, String> {
        if let Some(value) = self.now.get(name) {
            return Ok(Some(value.clone()));
        }
        let Some(stored) = self.bench.stored().map_err(text)? else { return Ok(None) };
        if let Some(value) = stored.inputs.get(name) {
            return Ok(Some(value.clone()));
        }
        if self.bench.manifest.region.as_ref().is_some_and(|region| region.field == name) {
            return Ok(self.bench.account().map_err(text)?.region.map(Json::from));
        }
        Ok(self.bench.seen(&stored.remote_id)?.and_then(|remote| remote.fields.get(name).cloned()))
    }

    fn remote_only(&self) -> Option<Said> {
        (!self.bench.remote()).then(|| Said::Skipped("it makes no calls".into()))
    }

    fn seen_only(&self) -> Option<Said> {
        (!self.bench.sees()).then(|| Said::Skipped("it lives in the state alone".into()))
    }

    /// The row of the resource, which must be the only one.
    fn row(&self) -> Result<PlanRow, String> {
        let mut rows = self.plan()?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) if row.address.as_str() == "it" => Ok(row),
            (None, _) => Err("the plan does not see the change".into()),
            _ => Err("the plan changes something else too".into()),
        }
    }

    fn is_gone(&self, id: &str) -> Result<(), String> {
        if self.bench.stored().map_err(text)?.is_some() {
            return Err("it is still in the state".into());
        }
        match self.bench.sees().then(|| self.bench.seen(id)) {
            Some(Ok(Some(_))) => Err("the cloud still shows it".into()),
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

fn list(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.seen_only() {
        return Ok(skipped);
    }
    if life.bench.samples.spec.list.is_none() {
        return Ok(Said::Skipped("the type has no list".into()));
    }
    let id = life.stored_id()?;
    match life.bench.marked()? {
        None => Ok(Said::Skipped("the type has no list".into())),
        Some(found) if found.iter().any(|remote| remote.id == id) => Ok(Said::Passed),
        Some(found) => Err(format!("the list shows {} with our mark, not this one", found.len())),
    }
}

fn unknown_fields(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.remote_only() {
        return Ok(skipped);
    }
    let id = life.bench.samples.spec.id.rsplit('.').next().unwrap_or("id").to_owned();
    life.bench.tampered.order(Some(Trouble::UnknownFields(id)));
    life.nothing_to_do()
}

/// Whatever comes instead of an answer is an error with a code, never an empty world.
fn malformed(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.remote_only() {
        return Ok(skipped);
    }
    let html = "<!doctype html><html><body><h1>Welcome</h1></body></html>".as_bytes().to_vec();
    let kinds = [
        Trouble::Body("HTML", html),
        Trouble::Body("nothing", Vec::new()),
        Trouble::Body("another type", b"[1, \"two\", null]".to_vec()),
        Trouble::Body("no text", vec![0xff, 0xfe, 0x00, 0x80]),
        Trouble::CutOff,
    ];
    for trouble in kinds {
        let name = match &trouble {
            Trouble::Body(name, _) => name,
            _ => "half an answer",
        };
        life.bench.tampered.order(Some(trouble.clone()));
        match life.bench.plan(Some(&life.now)) {
            Err(failure) if failure.code() == Code::ProviderMalformed => {}
            Err(failure) => return Err(format!("{name} gave {}", text(failure))),
            Ok(rows) => return Err(format!("{name} was taken for an answer: {} rows", rows.len())),
        }
    }
    life.bench.tampered.order(None);
    life.nothing_to_do()
}

fn update(life: &mut Life<'_, '_>, name: &str) -> Checked {
    let value = match life.bench.samples.another(name, life.is(name)?.as_ref()) {
        Ok(value) => value,
        Err(why) => return Ok(Said::Skipped(why)),
    };
    let id = life.stored_id()?;
    let others = match life.bench.sees() {
        true => Some(Others::meddle(life.bench, &id, name, &life.now)?),
        false => None,
    };
    if let Some(others) = others.as_ref().filter(|others| !others.ignored.is_empty()) {
        life.now.insert("lifecycle".to_owned(), serde_json::json!({ "ignore": others.ignored }));
    }
    let before = life.now.insert(name.to_owned(), value);
    let done = (|| {
        let row = life.row()?;
        if row.action != Action::Update {
            return Err(format!("it is planned as {}", row.action.name()));
        }
        // A value that refers to something else depends on something else, and some fields follow from others.
        let follows = |path: &str| {
            life.bench.samples.spec.fields.get(path).is_some_and(|field| field.follows.iter().any(|it| it == name))
        };
        let beneath =
            |path: &str| path == name || path.starts_with(&format!("{name}.")) || path == "depends_on" || follows(path);
        if let Some(other) = row.changes.iter().find(|change| !beneath(&change.path)) {
            return Err(format!("it changes `{}` too", other.path));
        }
        life.settle(Some(()))?;
        if life.stored_id()? != id {
            return Err("it was replaced".into());
        }
        if let Some(others) = &others {
            others.left_alone(life.bench, &id, name)?;
        }
        life.nothing_to_do()
    })();
    if life.now.shift_remove("lifecycle").is_some() {
        // What somebody else changed meanwhile is as configured again.
        let _ = life.settle(Some(()));
    }
    if done.is_err() {
        // What follows is checked with what worked.
        match before {
            Some(before) => life.now.insert(name.to_owned(), before),
            None => life.now.remove(name),
        };
        let _ = life.settle(Some(()));
    }
    done
}

/// Attached to something that is replaced, it is there still, and attached to the new one.
fn survives(life: &mut Life<'_, '_>, name: &str, host: &str) -> Checked {
    if let Some(skipped) = life.seen_only() {
        return Ok(skipped);
    }
    let added = !life.now.contains_key(name);
    if added {
        match life.bench.samples.another(name, None) {
            Ok(value) => life.now.insert(name.to_owned(), value),
            Err(why) => return Ok(Said::Skipped(why)),
        };
    }
    let done = outlives(life, host);
    if added {
        life.now.shift_remove(name);
        life.settle(Some(()))?;
    }
    done
}

fn outlives(life: &mut Life<'_, '_>, host: &str) -> Checked {
    life.settle(Some(()))?;
    let id = life.stored_id()?;
    life.bench.mark(host, false).map_err(text)?;
    let applied = life.settle(Some(()));
    if life.stored_id()? != id || life.bench.seen(&id)?.is_none() {
        return Err(format!("it went with `{host}`"));
    }
    if let Err(why) = applied {
        // It lets go of nothing that is attached to it.
        life.bench.mark(host, true).map_err(text)?;
        life.settle(Some(()))?;
        return Ok(Said::Skipped(format!("`{host}` is kept while it is attached to it: {why}")));
    }
    life.nothing_to_do()
}

/// Taken out of the configuration, it is detached in the cloud.
fn detach(life: &mut Life<'_, '_>, name: &str) -> Checked {
    if !life.now.contains_key(name) {
        // Attached again, to what it is about to lose.
        match life.bench.samples.another(name, None) {
            Ok(value) => life.now.insert(name.to_owned(), value),
            Err(why) => return Ok(Said::Skipped(why)),
        };
        life.settle(Some(()))?;
    }
    let id = life.stored_id()?;
    life.now.remove(name);
    let row = life.row()?;
    let taken = row.changes.iter().any(|change| change.path == name && change.after.is_null());
    if row.action != Action::Update || !taken {
        return Err(format!("taken out, it is planned as {} without a change of `{name}`", row.action.name()));
    }
    life.settle(Some(()))?;
    if life.bench.seen(&id)?.and_then(|remote| remote.fields.get(name).cloned()).is_some_and(|it| !it.is_null()) {
        return Err("the cloud still shows it".into());
    }
    life.nothing_to_do()
}

fn drift(life: &mut Life<'_, '_>, name: &str) -> Checked {
    if let Some(skipped) = life.seen_only() {
        return Ok(skipped);
    }
    if !life.bench.samples.shows(name) {
        return Ok(Said::Skipped("the cloud never shows it".into()));
    }
    let Some(now) = life.now.get(name).cloned() else {
        return Ok(Said::Skipped(format!("`{name}` has no value here")));
    };
    let stored = life.bench.stored().map_err(text)?;
    let Some(stored) = stored else { return Err("it is not in the state".into()) };
    let other = match life.bench.samples.another(name, Some(&now)) {
        Ok(other) => life.bench.resolved(&other)?,
        Err(why) => return Ok(Said::Skipped(why)),
    };
    if let Err(refused) = life.bench.meddle(&stored.remote_id, Some((name, &other))) {
        return Ok(Said::Skipped(format!("the cloud does not go back: {refused}")));
    }
    let found = life.bench.drift().map_err(text)?;
    let beneath = |path: &String| path == name || path.starts_with(&format!("{name}."));
    if !found.iter().any(beneath) {
        let _ = life.settle(Some(()));
        return Err(format!("it was changed outside, and drift shows {found:?}"));
    }
    life.settle(Some(()))?;
    life.nothing_to_do()
}

fn replace(life: &mut Life<'_, '_>, name: &str) -> Checked {
    let region = life.bench.manifest.region.as_ref().is_some_and(|region| region.field == name);
    if region && !life.bench.samples.spec.needs.is_empty() {
        return Ok(Said::Skipped("what it needs is in one region".into()));
    }
    let home = life.bench.account().map_err(text)?.region.unwrap_or_default();
    let bound =
        |(_, value): &(&String, &Json)| value.as_str().is_some_and(|text| text != home && text.starts_with(&home));
    if let Some((field, _)) = life.now.iter().filter(|(_, value)| !value.is_null() && region).find(bound) {
        return Ok(Said::Skipped(format!("`{field}` is in one region")));
    }
    let value = match life.bench.samples.another(name, life.is(name)?.as_ref()) {
        Ok(value) => value,
        Err(why) => return Ok(Said::Skipped(why)),
    };
    let id = life.stored_id()?;
    let before = life.now.insert(name.to_owned(), value);
    let done = (|| {
        let row = life.row()?;
        if row.action != Action::Replace {
            return Err(format!("it is planned as {}", row.action.name()));
        }
        life.settle(Some(()))?;
        if life.stored_id()? == id {
            return Err("it is still the same one".into());
        }
        neighbours::lost(life.bench)?;
        life.nothing_to_do()
    })();
    if done.is_err() || region {
        match before {
            Some(before) => life.now.insert(name.to_owned(), before),
            None => life.now.remove(name),
        };
        let _ = life.settle(Some(()));
    }
    done
}

fn delete(life: &mut Life<'_, '_>) -> Checked {
    let id = life.stored_id()?;
    life.settle(None)?;
    life.is_gone(&id)?;
    neighbours::lost(life.bench)?;
    Ok(Said::Passed)
}

fn throttle(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.remote_only() {
        return Ok(skipped);
    }
    life.bench.tampered.order(Some(Trouble::Throttle));
    let applied = life.bench.apply(Some(&life.now), None);
    told(applied.failure)?;
    if life.bench.tampered.left().is_some() || !applied.retried {
        return Err("it was not asked to wait, or did not".into());
    }
    life.nothing_to_do()
}

fn delete_gone(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.seen_only() {
        return Ok(skipped);
    }
    if life.bench.stored().map_err(text)?.is_none() {
        life.settle(Some(()))?;
    }
    let id = life.stored_id()?;
    let rows = life.bench.plan(None).map_err(text)?;
    life.bench.meddle(&id, None)?;
    told(life.bench.apply(None, Some(&rows)).failure)?;
    life.is_gone(&id)?;
    Ok(Said::Passed)
}

fn quota(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.remote_only() {
        return Ok(skipped);
    }
    let code = life.bench.manifest.errors.quota.first().cloned();
    let Some(code) = code.or_else(|| life.bench.is_module().then(|| "quota".to_owned())) else {
        return Ok(Said::Skipped("the manifest has no code for it".into()));
    };
    life.bench.tampered.order(Some(Trouble::Quota(code)));
    let Some(failure) = life.bench.apply(Some(&life.now), None).failure else {
        return Err("it was made nevertheless".into());
    };
    if !failure.diagnostics().any(|one| one.code == Code::ProviderQuota) {
        return Err(format!("it is told as {}", text(failure)));
    }
    match life.bench.stored().map_err(text)? {
        None => Ok(Said::Passed),
        Some(_) => Err("the state has what was not made".into()),
    }
}

/// The create takes effect and nobody hears of it: it is found by its mark, and there is one.
fn lost_answer(life: &mut Life<'_, '_>) -> Checked {
    if let Some(skipped) = life.remote_only() {
        return Ok(skipped);
    }
    life.bench.tampered.order(Some(Trouble::LostAnswer));
    let first = life.bench.apply(Some(&life.now), None);
    if life.bench.tampered.left().is_some() {
        return Err("no answer was lost".into());
    }
    if first.failure.is_some() {
        life.settle(Some(()))?;
    }
    let id = life.stored_id()?;
    if let Some(found) = life.bench.marked()?
        && found.iter().filter(|remote| remote.identity.is_some() || remote.id == id).count() != 1
    {
        return Err(format!("there are {} of it", found.len()));
    }
    life.nothing_to_do()
}
