//! Owns the warm Nickel evaluator: sources in; JSON data with positions, text or tables out, or every mistake found in
//! one run.
//!
//! Nickel values are not `Send`, so a thread with a large stack owns them and this crate's types are what crosses. A
//! program that calls [`serve_or_continue`] first in `main` evaluates in processes of its own: an endless recursion is
//! killed at the caller's interrupt, and an overflow of the stack or of the memory is `nickel::eval::limit` instead of
//! the end of the program. Other programs evaluate on a thread.
//!
//! Two things are kept warm. A context keeps the standard library and every parsed file; before each job all files it
//! has read and all imports it has resolved are looked at again, and what changed is read anew with all that imports
//! it. An answer is given again while every file it read has the content it had; [`Options::cache_bytes`] bounds that.
//!
//! Data nested deeper than 256 levels is refused (`nickel::eval::limit`): it could not cross to Nushell.

mod cache;
mod data;
mod explain;
mod guard;
mod host;
mod job;
mod number;
mod positions;
mod process;
mod request;
mod session;
mod thread;
mod validate;
mod walk;
mod wire;
mod write;

use cache::Cache;
use job::{Answer, Job, Reply};
use process::Pool;
use provision_diagnostic::{Diagnostic, Failure};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use thread::Thread;

pub use job::{Dependency, DocRow, FieldInfo, Format, RowVerdict, TestRow};
pub use positions::{PathElement, Positions, path_text};
pub use process::serve_or_continue;
pub use request::{Evaluation, Inexact, Input, Library, Options, Request, Source};
pub use validate::Validation;
pub use write::to_ncl;

/// A cheap handle to an evaluator, which starts on the first call and ends with the last handle.
#[derive(Clone)]
pub struct Evaluator {
    state: Arc<State>,
}

struct State {
    running: RwLock<Running>,
    cache: Mutex<Cache>,
}

#[derive(Clone)]
struct Running {
    options: Options,
    backend: Arc<Backend>,
}

enum Backend {
    Thread(Thread),
    Pool(Pool),
}

impl Running {
    fn new(options: Options) -> Self {
        let backend = match process::program() {
            Some(program) => Backend::Pool(Pool::new(program.clone(), options.clone())),
            None => Backend::Thread(Thread::new(options.clone())),
        };
        Self { options, backend: Arc::new(backend) }
    }
}

impl Evaluator {
    /// Creates a handle; nothing is started or loaded yet.
    pub fn new(options: Options) -> Self {
        let running = RwLock::new(Running::new(options));
        Self { state: Arc::new(State { running, cache: Mutex::default() }) }
    }

    /// Starts what the first call would start, without waiting for it.
    pub fn warm_up(&self) {
        if let Backend::Pool(pool) = &*self.running().backend {
            pool.warm_up();
        }
    }

    /// Sets other options for the calls that follow. The same options change nothing.
    pub fn configure(&self, options: Options) {
        if self.running().options != options {
            *self.state.running.write().unwrap_or_else(PoisonError::into_inner) = Running::new(options);
        }
    }

    fn running(&self) -> Running {
        self.state.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a job that is not kept.
    fn run(&self, job: Job) -> (Reply, usize) {
        match &*self.running().backend {
            Backend::Pool(pool) => pool.run(&job),
            Backend::Thread(thread) => {
                let reply = thread.run(job);
                let bytes = reply.result.as_ref().ok().and_then(|answer| wire::encode(answer).ok());
                (reply, bytes.map_or(0, |bytes| bytes.len()))
            }
        }
    }

    /// Runs a job, or gives the answer it had while that stands.
    fn answer(&self, job: Job) -> Result<Arc<Answer>, Failure> {
        let key = cache::key(&job);
        let lock = || self.state.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lock().get(&key) {
            return Ok(kept);
        }
        let (reply, bytes) = self.run(job.clone());
        let answer = Arc::new(reply.result?);
        // A value with mistakes is not kept: what mends them may be a file that is not there yet.
        if !matches!(&*answer, Answer::Evaluated(_, mistakes) if !mistakes.is_empty()) {
            lock().put(key, &job, answer.clone(), reply.watch, bytes, self.running().options.cache_bytes);
        }
        Ok(answer)
    }

    /// Evaluates the merged sources to data. Every field is evaluated on its own, so the failure holds all mistakes.
    pub fn eval(&self, request: &Request) -> Result<Arc<Evaluation>, Failure> {
        let (evaluation, mistakes) = self.eval_partial(request)?;
        Failure::check(mistakes)?;
        Ok(evaluation)
    }

    /// Evaluates as far as it goes: the value, with null where a field failed, and every mistake. A failure means that
    /// there is no value at all (a syntax error, an unreadable file).
    pub fn eval_partial(&self, request: &Request) -> Result<(Arc<Evaluation>, Vec<Diagnostic>), Failure> {
        match &*self.answer(Job::Eval(request.clone()))? {
            Answer::Evaluated(evaluation, mistakes) => Ok((evaluation.clone(), mistakes.clone())),
            _ => Err(host::gave_up()),
        }
    }

    /// What the official exporter prints, byte for byte. The failure is the one mistake it would tell, at its place.
    pub fn export(&self, request: &Request, format: Format) -> Result<String, Failure> {
        match &*self.answer(Job::Export(request.clone(), format))? {
            Answer::Text(text) => Ok(text.clone()),
            _ => Err(host::gave_up()),
        }
    }

    /// Parses and typechecks the sources. What is wrong in them is the result, unreadable files too.
    pub fn check(&self, request: &Request) -> Result<Vec<Diagnostic>, Failure> {
        // Never kept: an import that is missing now may appear.
        match self.run(Job::Check(request.clone())).0.result? {
            Answer::Diagnostics(found) => Ok(found),
            _ => Err(host::gave_up()),
        }
    }

    /// The transitive imports of the first source, each importing file and imported file once.
    pub fn deps(&self, request: &Request) -> Result<Vec<Dependency>, Failure> {
        match &*self.answer(Job::Deps(request.clone()))? {
            Answer::Dependencies(all) => Ok(all.clone()),
            _ => Err(host::gave_up()),
        }
    }

    /// The metadata of one field, or of the whole value.
    pub fn query(&self, request: &Request) -> Result<FieldInfo, Failure> {
        match &*self.answer(Job::Query(request.clone()))? {
            Answer::Field(info) => Ok((**info).clone()),
            _ => Err(host::gave_up()),
        }
    }

    /// Every documented field, in the order of their paths.
    pub fn doc(&self, request: &Request) -> Result<Vec<DocRow>, Failure> {
        match &*self.answer(Job::Doc(request.clone(), false))? {
            Answer::Documented(rows) => Ok(rows.clone()),
            _ => Err(host::gave_up()),
        }
    }

    /// The same as Markdown, as the official command writes it.
    pub fn doc_markdown(&self, request: &Request) -> Result<String, Failure> {
        match &*self.answer(Job::Doc(request.clone(), true))? {
            Answer::Text(text) => Ok(text.clone()),
            _ => Err(host::gave_up()),
        }
    }

    /// Runs the examples in the doc comments of the first source and of what it imports.
    pub fn test(&self, request: &Request) -> Result<Vec<TestRow>, Failure> {
        match self.run(Job::Test(request.clone())).0.result? {
            Answer::Tested(rows) => Ok(rows),
            _ => Err(host::gave_up()),
        }
    }

    /// The one source of the request, a text, in the official format.
    pub fn format(&self, request: &Request) -> Result<String, Failure> {
        match self.run(Job::Format(request.clone())).0.result? {
            Answer::Text(text) => Ok(text),
            _ => Err(host::gave_up()),
        }
    }

    /// Applies the function the sources evaluate to, and gives the result as data.
    pub fn call(&self, request: &Request, arguments: Vec<serde_json::Value>) -> Result<serde_json::Value, Failure> {
        match self.run(Job::Call(request.clone(), arguments)).0.result? {
            Answer::Evaluated(evaluation, mistakes) => {
                Failure::check(mistakes)?;
                Ok(Arc::unwrap_or_clone(evaluation).value)
            }
            _ => Err(host::gave_up()),
        }
    }

    /// The names of the fields of the record at `field`, for completions.
    pub fn fields(&self, request: &Request) -> Result<Vec<String>, Failure> {
        match &*self.answer(Job::Fields(request.clone()))? {
            Answer::Names(names) => Ok(names.clone()),
            _ => Err(host::gave_up()),
        }
    }
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl std::fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluator").finish_non_exhaustive()
    }
}
