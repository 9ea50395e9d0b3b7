//! Owns masking: secret texts are taken out of whatever repeats them, in every form they are usually written in.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What stands in the place of a secret.
pub const MASKED: &str = "<sensitive>";

/// A secret shorter than this is not masked: its letters are in every word.
const SHORTEST: usize = 4;
/// A line of a longer secret is masked by itself from this length on: `users:` in a cloud-init file is no secret.
const LINE: usize = 6;
/// How many layers of escapes are taken off: a body in a message in a journal.
const LAYERS: usize = 4;
/// The shortest form that is looked for across line breaks, where words run into each other.
const WRAPPED: usize = 8;

/// Finds secret texts: as they are, hexadecimal, base64 in both alphabets at any offset and wrapped at any width, all of these
/// also escaped up to three times as JSON, percent-encoded, form data, HTML or XML; in upper and lower case; and each line of a
/// text of several lines. Cheap to clone.
#[derive(Clone, Default)]
pub struct Masker {
    /// `None` where there is nothing to find.
    forms: Option<Arc<AhoCorasick>>,
}

impl Masker {
    /// Finds these secrets.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Self::longer_than(SHORTEST - 1, secrets)
    }

    /// Finds those of these secrets that are longer than `length`: for data, in which a short word may stand for itself.
    pub fn longer_than<S: AsRef<str>>(length: usize, secrets: impl IntoIterator<Item = S>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            for part in parts(secret.as_ref()) {
                if part.len() > length.max(SHORTEST - 1) {
                    add_forms(part, &mut forms);
                }
            }
        }
        if forms.is_empty() {
            return Self::default();
        }
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard);
        // It fails above two thousand million bytes of forms only: then nothing can be told apart, and everything is masked.
        let built = builder.build(&forms).or_else(|_| builder.build([""]));
        Self { forms: built.ok().map(Arc::new) }
    }

    /// The text without the secrets.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let ranges = self.find(text);
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for range in ranges {
            // Forms begin and end at characters, but what is case-insensitive matches bytes.
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(MASKED);
            at = range.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// Whether the text holds one of the secrets.
    pub fn is_in(&self, text: &str) -> bool {
        !self.find(text).is_empty()
    }

    /// Masks every text in a value, the names of fields too.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(map) => {
                map.values_mut().for_each(|item| self.mask_json(item));
                if map.keys().any(|key| self.is_in(key)) {
                    *map =
                        std::mem::take(map).into_iter().map(|(key, it)| (self.mask(&key).into_owned(), it)).collect();
                }
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    /// Whether a text anywhere in a value holds one of the secrets.
    pub fn is_in_json(&self, value: &serde_json::Value) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => self.is_in(text),
            Value::Array(items) => items.iter().any(|item| self.is_in_json(item)),
            Value::Object(map) => map.iter().any(|(key, item)| self.is_in(key) || self.is_in_json(item)),
            Value::Number(_) | Value::Bool(_) | Value::Null => false,
        }
    }

    /// Where secrets are, in order, none touching another.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let Some(forms) = &self.forms else { return Vec::new() };
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut level = Some(Level::of(text));
        for _ in 0..LAYERS {
            let Some(current) = level else { break };
            found.extend(forms.find_overlapping_iter(&current.bytes).map(|it| current.place(it.range())));
            if let Some(squeezed) = current.squeezed() {
                let wrapped = forms.find_overlapping_iter(&squeezed.bytes).filter(|it| it.len() >= WRAPPED);
                found.extend(wrapped.map(|it| squeezed.place(it.range())));
            }
            level = current.decoded();
        }
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        for range in &mut merged {
            while !text.is_char_boundary(range.start) {
                range.start -= 1;
            }
            while !text.is_char_boundary(range.end) {
                range.end += 1;
            }
        }
        merged
    }
}

/// A text with escapes taken off, and where each of its bytes comes from.
struct Level {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Level {
    fn of(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), places: (0..text.len()).map(|at| at..at + 1).collect() }
    }

    /// Where a range of these bytes is in the text.
    fn place(&self, range: Range<usize>) -> Range<usize> {
        let start = self.places.get(range.start).map_or(0, |place| place.start);
        start..self.places[range].last().map_or(start, |place| place.end)
    }

    /// Without white space; `None` where there is none.
    fn squeezed(&self) -> Option<Self> {
        let kept = |byte: &&u8| !byte.is_ascii_whitespace();
        let bytes: Vec<u8> = self.bytes.iter().filter(kept).copied().collect();
        let pairs = self.bytes.iter().zip(&self.places).filter(|(byte, _)| !byte.is_ascii_whitespace());
        (bytes.len() < self.bytes.len())
            .then(|| Self { bytes, places: pairs.map(|(_, place)| place.clone()).collect() })
    }

    /// With one layer of escapes taken off: those of JSON, of URLs, of HTML and XML. `None` where there are none.
    fn decoded(&self) -> Option<Self> {
        let mut out =
            Self { bytes: Vec::with_capacity(self.bytes.len()), places: Vec::with_capacity(self.bytes.len()) };
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            let (length, meant) = match escape(&self.bytes[at..]) {
                Some((length, meant)) => (length, meant),
                None => (1, vec![byte]),
            };
            let place = self.place(at..at + length);
            out.places.extend(std::iter::repeat_n(place, meant.len()));
            out.bytes.extend(meant);
            at += length;
        }
        (out.bytes.len() < self.bytes.len()).then_some(out)
    }
}

/// The length of the escape that these bytes begin with, and what it means.
fn escape(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let hex = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
    let utf8 = |code: u32| char::from_u32(code).map(|character| character.to_string().into_bytes());
    match bytes {
        [b'%', high, low, ..] => Some((3, vec![u8::try_from(hex(&[*high, *low])?).ok()?])),
        [b'\\', b'u', rest @ ..] => {
            let unit = hex(rest.get(..4)?)?;
            match rest.get(4..10) {
                Some([b'\\', b'u', low @ ..]) if (0xd800..0xdc00).contains(&unit) => {
                    let low = hex(low)?.checked_sub(0xdc00)?;
                    Some((12, utf8(0x10000 + ((unit - 0xd800) << 10) + low)?))
                }
                _ => Some((6, utf8(unit)?)),
            }
        }
        [b'\\', b'x', high, low, ..] => Some((4, vec![u8::try_from(hex(&[*high, *low])?).ok()?])),
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f', ..] => Some((2, vec![b'\n'])),
        [b'\\', other @ (b'"' | b'\\' | b'/' | b'\''), ..] => Some((2, vec![*other])),
        [b'&', rest @ ..] => {
            let name = rest.get(..rest.iter().take(10).position(|byte| *byte == b';')?)?;
            let meant = match name {
                b"amp" => vec![b'&'],
                b"lt" => vec![b'<'],
                b"gt" => vec![b'>'],
                b"quot" => vec![b'"'],
                b"apos" => vec![b'\''],
                [b'#', b'x' | b'X', digits @ ..] => utf8(hex(digits)?)?,
                [b'#', digits @ ..] => utf8(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
                _ => return None,
            };
            Some((name.len() + 2, meant))
        }
        _ => None,
    }
}

/// What of a secret is looked for: the whole, its lines where it has several, the password where it is an address with one.
fn parts(secret: &str) -> Vec<&str> {
    let whole = secret.trim();
    let mut out = Vec::new();
    let lines: Vec<&str> = whole.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() < 2 || lines.iter().any(|line| line.len() < LINE) {
        out.push(whole);
    }
    if lines.len() > 1 {
        out.extend(lines.into_iter().filter(|line| line.len() >= LINE));
    }
    let authority = whole.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    out.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password));
    out
}

/// The forms of a text that taking escapes off does not lead to: what is encoded as a whole, whatever was escaped in it.
fn add_forms(text: &str, out: &mut BTreeSet<Vec<u8>>) {
    let mut forms = BTreeSet::from([text.to_owned(), text.replace(' ', "+")]);
    let mut inner = forms.clone();
    inner.extend(as_json(text));
    inner.extend([percent(text, b"-._~"), percent(text, b"-._~!'()*"), percent(text, b"-._~ ").replace(' ', "+")]);
    inner.insert(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"));
    for form in &inner {
        forms.insert(form.bytes().map(|byte| format!("{byte:02x}")).collect());
        for offset in 0..3 {
            forms.extend([fragment(&STANDARD, form, offset), fragment(&URL_SAFE, form, offset)]);
        }
    }
    out.extend(forms.into_iter().filter(|form| form.len() >= SHORTEST).map(String::into_bytes));
}

/// The inside of a text in JSON, as different writers escape it.
fn as_json(text: &str) -> Vec<String> {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let plain = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned();
    let unicode = |escapes: &dyn Fn(char) -> bool| -> String {
        let mut out = String::new();
        for character in plain.chars() {
            match escapes(character) {
                true => {
                    character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")))
                }
                false => out.push(character),
            }
        }
        out
    };
    let slashed = plain.replace('/', "\\/");
    let (ascii, html) = (unicode(&|it| !it.is_ascii()), unicode(&|it| "<>&".contains(it)));
    vec![plain, slashed, ascii, html]
}

/// The text with every byte as `%XX` but letters, digits and these.
fn percent(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The characters of base64 that only this text decides where it stands `offset` bytes (modulo 3) into what is encoded.
fn fragment(alphabet: &impl Engine, text: &str, offset: usize) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend(text.as_bytes());
    let encoded = alphabet.encode(&bytes);
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    encoded.get(first..last).unwrap_or_default().to_owned()
}

/// The secret texts that a process came to know, added as they turn up, and the masker of all of them.
#[derive(Default)]
pub struct SecretTexts {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: HashSet<Arc<str>>,
    /// Those that no masker finds yet.
    fresh: Vec<Arc<str>>,
    /// Each at least twice as large as the next: adding stays cheap however many there are.
    maskers: Vec<(Vec<Arc<str>>, Masker)>,
}

impl SecretTexts {
    /// Adds a secret.
    pub fn note(&self, secret: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.len() >= SHORTEST && !known.all.contains(secret) {
            let secret: Arc<str> = secret.into();
            known.all.insert(secret.clone());
            known.fresh.push(secret);
        }
    }

    /// Those that are a part of this text.
    pub fn within(&self, text: &str) -> Vec<Arc<str>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.iter().filter(|secret| text.contains(&***secret)).cloned().collect()
    }

    /// The text without any of them.
    pub fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for masker in self.maskers() {
            masked = masker.mask(&masked).into_owned();
        }
        masked
    }

    /// What finds all that are known now.
    pub fn maskers(&self) -> Vec<Masker> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = std::mem::take(&mut known.fresh);
        if !added.is_empty() {
            while known.maskers.last().is_some_and(|(texts, _)| texts.len() < added.len() * 2) {
                added.extend(known.maskers.pop().into_iter().flat_map(|(texts, _)| texts));
            }
            let masker = Masker::new(&added);
            known.maskers.push((added, masker));
        }
        known.maskers.iter().map(|(_, masker)| masker.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret with everything that encodings treat in their own way.
    const SECRET: &str = "pa/ss w\"ord<&>\\'ü+~1";

    fn check(secret: &str, shown: &str, gone: &[&str]) {
        let masked = Masker::new([secret]).mask(shown).into_owned();
        assert!(masked.contains(MASKED), "{shown} -> {masked}");
        for part in gone {
            assert!(!masked.contains(part), "`{part}` in {masked}");
        }
    }

    #[test]
    fn a_secret_is_found_in_every_encoding_alone_and_inside_another() {
        let json = serde_json::to_string(SECRET).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        let body = format!("{{\"user\":\"x\",\"data\":{json}}}");
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
        for shown in [SECRET.to_owned(), json.clone(), twice, percent(SECRET, b"-._~"), hex(SECRET), hex(&body)] {
            check(SECRET, &format!("`{shown}` is too short"), &["ord", "6F7264", "ss%20"]);
        }
        for at in 0..3 {
            let shown = STANDARD.encode(format!("{}{body}{}", "x".repeat(at), "y".repeat(at)));
            // Line breaks of any width do not hide it.
            let wrapped: Vec<&str> =
                (0..shown.len().div_ceil(19)).map(|n| &shown[n * 19..shown.len().min(n * 19 + 19)]).collect();
            for shown in [shown.clone(), wrapped.join("\n"), wrapped.join("\\n"), percent(&shown, b"-._~")] {
                let core = fragment(&STANDARD, "w\\\"ord<&>", 0);
                check(SECRET, &shown, &[&core]);
            }
        }
        check(SECRET, "pa\\/ss w\\\"ord\\u003c\\u0026\\u003e\\\\'\\u00FC+~1", &["ord"]);
        check(SECRET, "pa/ss w&quot;ord&lt;&amp;&gt;\\&apos;ü+~1", &["ord"]);
        check(SECRET, "pa%2Fss+w%22ord%3C%26%3E%5C%27%C3%BC%2B~1", &["ord"]);
    }

    #[test]
    fn lines_and_passwords_in_addresses_are_secrets_of_their_own() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\n-----END KEY-----\n";
        check(key, "line 2: `kqhkiG9w0BAQ==` is odd", &["kqhki"]);
        check(key, &serde_json::to_string(key).unwrap(), &["MIIE", "kqhki", "END"]);
        check("postgres://app:hunter2secret@db:5432/x", "no role with password hunter2secret", &["hunter2"]);
        // Short lines are found with the whole.
        check("a: 1\nb: canary", "<a: 1\nb: canary>", &["a: 1", "canary"]);
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        let masker = Masker::new(["hunter2", "abc", ""]);
        assert_eq!(masker.mask("abc is not hidden, Hunter2 is"), "abc is not hidden, <sensitive> is");
        assert!(matches!(Masker::default().mask("x"), Cow::Borrowed("x")));
        assert!(!Masker::longer_than(7, ["hunter2"]).is_in("hunter2"));
    }

    #[test]
    fn texts_that_turn_up_later_are_masked_from_then_on() {
        let texts = SecretTexts::default();
        for at in 0..100 {
            texts.note(&format!("canary-{at:03}"));
            assert_eq!(texts.mask(&format!("<canary-{at:03}> <canary-000>")), "<<sensitive>> <<sensitive>>");
        }
        assert!(texts.maskers().len() < 10);
        assert_eq!(texts.within("x-canary-007-x").len(), 1);
    }
}
