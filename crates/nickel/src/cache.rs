//! Owns the answers kept for unchanged jobs. One is given again only while every file it read has the content it had
//! and every import in them still leads to the same file; contents are compared by digest, never by time.

use crate::host::{read_regular, resolve};
use crate::job::{Answer, Job, Watch};
use crate::request::Library;
use nickel_lang_core::cache::normalize_abs_path;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What names a job: everything its answer depends on beside the files.
pub type Key = [u8; 32];

struct Kept {
    answer: Arc<Answer>,
    watch: Watch,
    import_paths: Vec<PathBuf>,
    library: Option<Arc<Library>>,
    bytes: usize,
    used: u64,
}

/// The kept answers, the least recently used one given up first.
#[derive(Default)]
pub struct Cache {
    kept: HashMap<Key, Kept>,
    bytes: usize,
    clock: u64,
}

/// The name of a job.
pub fn key(job: &Job) -> Key {
    let mut hash = Sha256::new();
    // What cannot be encoded is never kept, so that all such jobs having one name does no harm.
    hash.update(crate::wire::encode(job).unwrap_or_default());
    if let Some(library) = &job.request().library {
        for (name, text) in &library.files {
            hash.update(name);
            hash.update([0]);
            hash.update(text);
            hash.update([0]);
        }
    }
    hash.finalize().into()
}

/// The digest of a file's content as a [`Watch`] has it.
pub fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

impl Cache {
    /// The kept answer, if it stands.
    pub fn get(&mut self, key: &Key) -> Option<Arc<Answer>> {
        self.clock += 1;
        let kept = self.kept.get_mut(key)?;
        if is_current(&kept.watch, &kept.import_paths, kept.library.as_ref()) {
            kept.used = self.clock;
            return Some(kept.answer.clone());
        }
        self.remove(key);
        None
    }

    /// Keeps an answer of about so many bytes, within `limit` bytes of them all.
    pub fn put(&mut self, key: Key, job: &Job, answer: Arc<Answer>, watch: Watch, bytes: usize, limit: usize) {
        let request = job.request();
        if bytes > limit {
            return;
        }
        self.remove(&key);
        while self.bytes + bytes > limit
            && let Some(oldest) = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key)
        {
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        let (import_paths, library) = (request.import_paths.clone(), request.library.clone());
        self.kept.insert(key, Kept { answer, watch, import_paths, library, bytes, used: self.clock });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(gone) = self.kept.remove(key) {
            self.bytes -= gone.bytes;
        }
    }
}

fn is_current(watch: &Watch, import_paths: &[PathBuf], library: Option<&Arc<Library>>) -> bool {
    watch.files.iter().all(|(file, known)| read_regular(file).is_ok_and(|now| digest(&now) == *known))
        && watch.imports.iter().all(|(folder, text, led_to)| {
            // Nothing stands before a file beside its importer, and that it can be read was seen above.
            let beside = normalize_abs_path(&folder.join(text));
            if led_to.as_deref() == Some(Path::new(&beside)) && !text.starts_with('/') {
                return true;
            }
            resolve(folder, text, import_paths, library) == *led_to
        })
}
