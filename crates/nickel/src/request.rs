//! Owns what goes in and out of the evaluator: requests, options, results.

use crate::Positions;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Settings of an evaluator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Address space reserved for the thread's stack; only what is used becomes memory.
    pub stack_bytes: usize,
    /// Resident memory of the evaluating process at which an evaluation is stopped with `nickel::eval::limit`; 2 GiB
    /// unless set.
    pub memory_limit: Option<u64>,
    /// How long one evaluation may take, a minute unless set; without, only an interrupt ends it.
    pub time_limit: Option<Duration>,
    /// Memory that results kept for unchanged requests may take, in bytes as they cross between processes.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stack_bytes: 512 << 20,
            memory_limit: Some(2 << 30),
            time_limit: Some(Duration::from_secs(60)),
            cache_bytes: 128 << 20,
        }
    }
}

/// One Nickel source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An absolute path.
    File(PathBuf),
    /// Text that is not in a file.
    Text {
        /// The name users see in positions.
        name: String,
        /// The folder in which its imports are looked up.
        folder: PathBuf,
        text: String,
    },
}

/// Files served from memory at the end of the import path, so that `import "provision.ncl"` works from any folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// File name, as an import writes it, to text.
    pub files: BTreeMap<String, String>,
}

/// What happens to a rational number that has no exact decimal form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inexact {
    /// `nickel::eval::inexact`.
    #[default]
    Error,
    /// The nearest float.
    Float,
    /// The exact fraction as text, `"1/3"`.
    String,
}

/// What is evaluated, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Merged in this order, as the official command does.
    pub sources: Vec<Source>,
    /// A dotted path to the one field wanted.
    pub field: Option<String>,
    /// A record merged over the sources, each of its leaves with forced priority.
    pub overrides: Option<serde_json::Value>,
    /// Absolute paths of contracts, applied to the whole value before `field` is taken.
    pub contracts: Vec<PathBuf>,
    /// Absolute folders in which imports are looked up after the importing file's own.
    pub import_paths: Vec<PathBuf>,
    /// The real folders and files in which every import must end, links followed; `None`: an import may lead anywhere.
    /// The sources, contracts and the library themselves are not asked about.
    pub confine: Option<Vec<PathBuf>>,
    #[serde(skip)]
    pub library: Option<Arc<Library>>,
    pub inexact: Inexact,
    /// Whether [`Evaluation::positions`] is wanted; it costs about as much again as the value.
    pub positions: bool,
    /// Set to true, it stops the evaluation with `nickel::eval::limit`.
    #[serde(skip)]
    pub interrupt: Option<Arc<AtomicBool>>,
    /// Files below this folder are shown relative to it in positions; others by their absolute path.
    pub shown_from: Option<PathBuf>,
}

impl Request {
    /// A request for one file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { sources: vec![Source::File(path.into())], ..Self::default() }
    }
}

/// One file that an evaluation read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Absolute path, or the name of a text or library file.
    pub file: String,
    /// Hexadecimal SHA-256 of its content.
    pub digest: String,
}

/// The result of an evaluation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evaluation {
    pub value: serde_json::Value,
    /// Empty unless [`Request::positions`] asked for them.
    pub positions: Positions,
    /// Every file read, sorted by name.
    pub inputs: Vec<Input>,
    /// Hexadecimal SHA-256 of all inputs and the request.
    pub digest: String,
}
