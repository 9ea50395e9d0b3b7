//! Owns lists: page after page until there is no more, of resources and of what an account offers.

use crate::http::Outgoing;
use crate::runtime::{is_absent, text_of};
use crate::{CallError, Class, Control, ManifestProvider, wire};
use provision_model::{Json, LABEL_OP, LABEL_STATE, Map, Remote};
use provision_registry::{Call, Pagination, Protocol, TypeSpec};
use std::collections::HashSet;

/// More pages than any account has; a list that goes on longer is a fault.
const PAGE_LIMIT: usize = 10_000;

impl ManifestProvider {
    /// The resources of a type, also those whose status says they are as good as gone.
    pub(crate) fn list_raw(
        &self,
        type_name: &str,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
    ) -> Result<Vec<Remote>, CallError> {
        let spec = self.spec(type_name)?;
        let Some(call) = &spec.list else { return Ok(Vec::new()) };
        // A type without labels carries no mark: all of them could be ours.
        let label = label.filter(|_| spec.labels.is_some());
        let ours = |remote: &Remote| {
            label.is_none_or(|(key, value)| match &remote.identity {
                Some(identity) if key == LABEL_STATE => identity.state == value,
                Some(identity) if key == LABEL_OP => identity.op == value,
                Some(_) => true,
                None => false,
            })
        };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        let mut nameless = false;
        let mut faulty = None;
        self.pages(type_name, call, region, label, control, &mut |item| match self.shown(spec, item) {
            _ if is_absent(spec, item) => {}
            Ok(Some(remote)) if seen.insert(remote.id.clone()) && ours(&remote) => found.push(remote),
            Ok(Some(_)) => {}
            Ok(None) => nameless = true,
            Err(error) => faulty = Some(error),
        })?;
        if let Some(error) = faulty {
            return Err(error);
        }
        // One that cannot be recognised must not be taken for one that is gone.
        if nameless {
            return Err(self.fault(format!("the list of {type_name} has an item without `{}`", spec.id)));
        }
        Ok(found)
    }

    /// Those of what a resource is part of.
    pub(crate) fn beside(
        &self,
        spec: &TypeSpec,
        type_name: &str,
        call: &Call,
        value_of: &dyn Fn(&str) -> Option<Json>,
        region: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Vec<Remote>, CallError> {
        let filled = |value: &Json| wire::fill(value, value_of);
        let mut call = call.clone();
        call.path = text_of(&filled(&Json::from(call.path.as_str()))).unwrap_or_default();
        call.query.values_mut().for_each(|value| *value = filled(value));
        let mut found = Vec::new();
        self.pages(type_name, &call, region, None, control, &mut |item| {
            let mut item = item.clone();
            wire::complete(&mut item, &call.with, value_of);
            if !is_absent(spec, &item) {
                found.push(self.shown(spec, &item));
            }
        })?;
        found.into_iter().filter_map(Result::transpose).collect()
    }

    /// What the account offers in a catalogue, a row each.
    pub(crate) fn offered(
        &self,
        name: &str,
        region: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        let Some(listing) = self.manifest.listings.get(name) else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        self.pages(name, &listing.call, region, None, control, &mut |item| {
            let mut row = wire::decode_fields(&listing.columns, item, self.manifest.protocol);
            for column in listing.columns.keys() {
                row.entry(column.clone()).or_insert(Json::Null);
            }
            rows.push(row);
        })?;
        Ok(rows)
    }

    /// What a look-up finds: the rows of everything that is as the filter says.
    pub(crate) fn looked_up(
        &self,
        name: &str,
        region: Option<&str>,
        filter: &Map,
        control: &Control<'_>,
    ) -> Result<Vec<Map>, CallError> {
        let Some(spec) = self.manifest.lookups.get(name) else {
            return Err(self.fault(format!("the manifest has no look-up `{name}`")));
        };
        let mut call = spec.call.clone();
        let (mut number, mut equal) = (0, Vec::new());
        for (name, rule) in &spec.filters {
            let Some(value) = filter.get(name).or(rule.default.as_ref()) else { continue };
            if rule.query.is_empty() {
                equal.push((name, value));
                continue;
            }
            number += usize::from(rule.query.keys().any(|key| key.contains("{n}")));
            let text = text_of(value).unwrap_or_else(|| value.to_string());
            for (key, template) in &rule.query {
                let key = key.replace("{n}", &number.to_string());
                call.query.insert(key, Json::from(template.replace("{value}", &text)));
            }
        }
        let mut rows = Vec::new();
        self.pages(name, &call, region, None, control, &mut |item| {
            let row = wire::decode_fields(&spec.columns, item, self.manifest.protocol);
            let same = |found: Option<&Json>, wanted: &Json| {
                found.is_some_and(|found| {
                    found == wanted || text_of(found).is_some_and(|it| Some(it) == text_of(wanted))
                })
            };
            if equal.iter().all(|(name, value)| same(row.get(*name), value)) {
                rows.push(row);
            }
        })?;
        Ok(rows)
    }

    /// Gives each item of a list, page after page. It comes to an end only where the list is known to be whole: the answer says
    /// that there is no next page, or the page after the last has nothing. Anything else is an error, never a shorter list.
    pub(crate) fn pages(
        &self,
        what: &str,
        call: &Call,
        region: Option<&str>,
        label: Option<(&str, &str)>,
        control: &Control<'_>,
        each: &mut dyn FnMut(&Json),
    ) -> Result<(), CallError> {
        let region = self.region_of(region)?;
        let mut base = self.outgoing(call, None, &|_| None, region, "GET");
        if let (Some((key, value)), false) = (label, call.unfiltered) {
            for (name, template) in &self.manifest.label_filter {
                base.query.push((name.clone(), template.replace("{key}", key).replace("{value}", value)));
            }
        }
        let pagination = self.manifest.pagination.as_ref().filter(|_| !call.unpaged);
        let size_of = |max: u32| call.max.unwrap_or(max);
        let mut cursor: Option<String> = None;
        let mut begun: HashSet<String> = HashSet::new();
        let mut asked: HashSet<String> = HashSet::new();
        let mut offset = 0;
        // The answer named no next page: whether there is one is asked.
        let mut last = false;
        for page in 1..=PAGE_LIMIT {
            let mut request = again(&base);
            match pagination {
                None => {}
                Some(Pagination::Page { page: name, size, max, .. }) => {
                    request.query.push((name.clone(), cursor.clone().unwrap_or_else(|| "1".into())));
                    request.query.push((size.clone(), size_of(*max).to_string()));
                }
                Some(Pagination::Offset { offset: name, limit, max }) => {
                    request.query.push((name.clone(), offset.to_string()));
                    request.query.push((limit.clone(), size_of(*max).to_string()));
                }
                Some(Pagination::Link { size, max, .. } | Pagination::LinkHeader { size, max }) => match &cursor {
                    // The credential goes to no other host, whatever the answer says.
                    Some(address) => request.query = query_of(address),
                    None => request.query.push((size.clone(), size_of(*max).to_string())),
                },
                Some(Pagination::Token { request: name, size, max, .. }) => {
                    request.query.push((size.clone(), size_of(*max).to_string()));
                    if let Some(token) = &cursor {
                        request.query.push((name.clone(), token.clone()));
                    }
                }
            }
            let (mut answer, linked) = match self.transport.page(&request, control) {
                // Some have no page after the last, rather than an empty one.
                Err(error) if last && matches!(error.class, Class::Gone | Class::Rejected) => return Ok(()),
                answered => answered?,
            };
            wire::inherit(&mut answer, &call.inherit, &Map::new());
            let items = self.items(what, call, &answer)?;
            let count = items.len();
            if count == 0 && (last || matches!(pagination, Some(Pagination::Offset { .. }))) {
                return Ok(());
            }
            if last {
                return Err(self.ends_early(what));
            }
            // A page that begins as an earlier one did is that page again, and would be for ever.
            if items.first().is_some_and(|first| !begun.insert(first.to_string())) {
                break;
            }
            items.iter().for_each(&mut *each);
            offset += count;
            let found = |path: &str| wire::extract(&answer, path).and_then(|value| text_of(&value));
            let next = match pagination {
                None => return Ok(()),
                Some(Pagination::Page { next, .. }) => match found(next) {
                    None if wire::is_null(&answer, next) => return Ok(()),
                    // Nothing where it should be: the page of the next number tells whether this was the last.
                    None => {
                        last = true;
                        Some((page + 1).to_string())
                    }
                    next => next,
                },
                // However few there are: some clouds give fewer at a time than they are asked for.
                Some(Pagination::Offset { .. }) => continue,
                Some(Pagination::Link { next, .. }) => found(next),
                Some(Pagination::LinkHeader { .. }) => linked,
                Some(Pagination::Token { response, .. }) => found(response),
            };
            match (next.filter(|next| !next.is_empty()), pagination) {
                // One page, full to the brim, and no next one: either it fits, or the next one is not found.
                (
                    None,
                    Some(
                        Pagination::Link { size, max, .. }
                        | Pagination::LinkHeader { size, max }
                        | Pagination::Token { size, max, .. },
                    ),
                ) if page == 1 && count >= size_of(*max) as usize && size_of(*max) > 1 => {
                    let mut request = again(&base);
                    request.query.push((size.clone(), (size_of(*max) - 1).to_string()));
                    let (answer, linked) = self.transport.page(&request, control)?;
                    let next = match pagination {
                        Some(Pagination::Link { next, .. }) => wire::extract(&answer, next),
                        Some(Pagination::Token { response, .. }) => wire::extract(&answer, response),
                        _ => linked.map(Json::from),
                    };
                    let leads_on = next.and_then(|next| text_of(&next)).is_some_and(|next| !next.is_empty());
                    return match self.items(what, call, &answer)?.len() < count && !leads_on {
                        true => Err(self.ends_early(what)),
                        false => Ok(()),
                    };
                }
                (None, _) => return Ok(()),
                // The same page again would be the same page for ever.
                (Some(next), _) if !asked.insert(next.clone()) => break,
                (next, _) => cursor = next,
            }
        }
        Err(self.fault(format!("the list of {what} does not end")))
    }

    /// The items of one page.
    fn items(&self, what: &str, call: &Call, answer: &Json) -> Result<Vec<Json>, CallError> {
        let items = call.items.as_deref().unwrap_or_default();
        match wire::extract(answer, items) {
            Some(Json::Array(items)) => Ok(items),
            // An empty list of a program that writes it as null.
            None if wire::is_null(answer, items) => Ok(Vec::new()),
            // XML has no empty list, and a list that is not there at all is only plausible there.
            None if self.manifest.protocol == Protocol::Ec2Query && !answer.is_null() => Ok(Vec::new()),
            _ => Err(self.fault(format!("the answer to a list of {what} has no `{items}`"))),
        }
    }

    /// There are more pages than the answers tell of.
    fn ends_early(&self, what: &str) -> CallError {
        self.fault(format!("the list of {what} has more pages, and the answer does not say where the next one is"))
            .with_help("Correct `next` or `response` in the `pagination` of the manifest.")
    }
}

/// The same request once more.
fn again(base: &Outgoing) -> Outgoing {
    Outgoing {
        method: base.method.clone(),
        path: base.path.clone(),
        query: base.query.clone(),
        body: None,
        region: base.region.clone(),
        mutating: false,
    }
}

/// The address that a `Link` header (RFC 8288) says is next.
pub(crate) fn next_of(header: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let (address, after) = rest.split_once('<')?.1.split_once('>')?;
        // Up to the comma that begins another link; one between quotes does not.
        let mut quoted = false;
        let end = after.find(|c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, others) = after.split_at(end.unwrap_or(after.len()));
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            let mut words = value.trim().trim_matches('"').split_whitespace();
            name.trim().eq_ignore_ascii_case("rel").then(|| words.any(|it| it.eq_ignore_ascii_case("next")))
        };
        if parameters.split(';').find_map(is_next) == Some(true) {
            return Some(address.trim().to_owned());
        }
        rest = others;
    }
}

/// The query of an address, decoded.
fn query_of(address: &str) -> Vec<(String, String)> {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// A part of a query without its percent signs and pluses.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let value = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(value.unwrap_or(b'%'));
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Authenticator;
    use crate::{Outside, Provider, Wire, WireAnswer, WireError, WireRequest};
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    /// A cloud whose every page is the first one.
    #[derive(Default)]
    struct Same(AtomicUsize);

    impl Wire for Same {
        fn exchange(&self, _: WireRequest) -> Result<WireAnswer, WireError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(WireAnswer { status: 200, headers: Vec::new(), body: br#"{"disks": [{"id": 1}, {"id": 2}]}"#.to_vec() })
        }
    }

    #[test]
    fn a_page_that_comes_again_is_no_next_page() {
        let manifest = json!({
            "name": "acme", "version": "1.0.0", "api": "1", "protocol": "rest-json",
            "pagination": {"kind": "offset", "offset": "from", "limit": "count", "max": 2},
            "types": {"disk": {
                "doc": "A disk.", "identity": "anonymous", "fields": {}, "list": {"path": "/disks", "items": "disks"},
            }},
        });
        let manifest = Arc::new(serde_json::from_value(manifest).unwrap());
        let wire = Arc::new(Same::default());
        let outside = Outside { wire: Some(wire.clone()), ..Outside::default() };
        let provider = ManifestProvider::new(manifest, "http://127.0.0.1".into(), Authenticator::None, None, &outside);
        let never = AtomicBool::new(false);
        let control = Control {
            interrupt: &never,
            winding_down: &never,
            may_change: &|| true,
            clock: &*outside.clock,
            retrying: &|_, _| true,
        };
        let error = provider.list_raw("disk", None, None, &control).unwrap_err();
        assert_eq!(error.class, Class::Malformed);
        assert!(error.message.contains("does not end"), "{error}");
        assert_eq!(wire.0.load(Ordering::SeqCst), 2);
    }

    /// Two pages, of which a header of the first gives the address of the second, at another host.
    #[derive(Default)]
    struct Pages(Mutex<Vec<String>>);

    impl Wire for Pages {
        fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
            let last = request.url.contains("page=2");
            self.0.lock().unwrap().push(request.url);
            let link = "<https://elsewhere.example/v1/things?page=2&size=1&a=b%20c>; rel=\"next\"";
            let headers = if last { Vec::new() } else { vec![("link".to_owned(), link.to_owned())] };
            let body = format!("{{\"things\": [{{\"id\": {}}}]}}", if last { 2 } else { 1 });
            Ok(WireAnswer { status: 200, headers, body: body.into_bytes() })
        }
    }

    #[test]
    fn a_link_header_leads_through_the_pages_and_to_no_other_host() {
        let manifest = json!({"name": "x", "version": "1", "api": "1", "protocol": "rest-json",
            "pagination": {"kind": "link_header", "size": "size", "max": 1},
            "types": {"thing": {"doc": "", "identity": "keyed", "fields": {}, "list": {"path": "/things", "items": "things"}}}});
        let wire = Arc::new(Pages::default());
        let outside = Outside { wire: Some(wire.clone()), ..Outside::default() };
        let manifest = Arc::new(serde_json::from_value(manifest).unwrap());
        let endpoint = "http://127.0.0.1/v1".to_owned();
        let provider = ManifestProvider::new(manifest, endpoint, Authenticator::None, None, &outside);
        let never = AtomicBool::new(false);
        let control = Control {
            interrupt: &never,
            winding_down: &never,
            may_change: &|| false,
            clock: &*outside.clock,
            retrying: &|_, _| true,
        };
        let found = provider.list("thing", None, None, &control).unwrap().unwrap();
        let ids: Vec<&str> = found.iter().map(|remote| remote.id.as_str()).collect();
        assert_eq!(ids, ["1", "2"]);
        let asked = wire.0.lock().unwrap().clone();
        assert_eq!(asked, ["http://127.0.0.1/v1/things?size=1", "http://127.0.0.1/v1/things?page=2&size=1&a=b%20c"]);
    }

    /// A cloud of so many things, which gives some at a time and says where the next ones are in one of the ways there are.
    struct Many {
        things: usize,
        /// It gives no more at a time, however many it is asked for.
        most: usize,
        asked: AtomicUsize,
    }

    impl Wire for Many {
        fn exchange(&self, request: WireRequest) -> Result<WireAnswer, WireError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let query = query_of(&request.url);
            let number = |name: &str| query.iter().find(|(own, _)| own == name).and_then(|(_, it)| it.parse().ok());
            let size = number("size").unwrap_or(self.most).min(self.most);
            let from = number("from").unwrap_or_else(|| (number("page").unwrap_or(1) - 1) * size);
            let to = (from + size).min(self.things);
            let things: Vec<Json> = (from.min(to)..to).map(|id| json!({"id": id})).collect();
            let more = to < self.things;
            let page = number("page").unwrap_or(1) + 1;
            let body = json!({
                "things": things,
                "page": if more { json!(page) } else { Json::Null },
                "token": if more { json!(to.to_string()) } else { Json::Null },
                "link": if more { json!(format!("/things?from={to}&size={size}")) } else { Json::Null },
            });
            Ok(WireAnswer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() })
        }
    }

    /// How many things a provider with this pagination lists, or why it does not.
    fn listed(things: usize, most: usize, pagination: &Json) -> Result<usize, String> {
        let manifest = json!({"name": "x", "version": "1", "api": "1", "protocol": "rest-json", "pagination": pagination,
            "types": {"thing": {"doc": "", "identity": "keyed", "fields": {}, "list": {"path": "/things", "items": "things"}}}});
        let wire = Arc::new(Many { things, most, asked: AtomicUsize::default() });
        let outside = Outside { wire: Some(wire.clone()), ..Outside::default() };
        let manifest = Arc::new(serde_json::from_value(manifest).unwrap());
        let provider = ManifestProvider::new(manifest, "http://127.0.0.1".into(), Authenticator::None, None, &outside);
        let never = AtomicBool::new(false);
        let control = Control {
            interrupt: &never,
            winding_down: &never,
            may_change: &|| false,
            clock: &*outside.clock,
            retrying: &|_, _| true,
        };
        let found = provider.list("thing", None, None, &control);
        assert!(wire.asked.load(Ordering::SeqCst) <= things + 3, "{pagination}: it went on and on");
        found.map(|found| found.unwrap_or_default().len()).map_err(|error| error.message)
    }

    #[test]
    fn a_list_is_whole_or_it_is_an_error() {
        let ways = |next: &str, token: &str, link: &str| {
            [
                json!({"kind": "page", "page": "page", "size": "size", "max": 5, "next": next}),
                json!({"kind": "token", "request": "from", "response": token, "size": "size", "max": 5}),
                json!({"kind": "link", "size": "size", "max": 5, "next": link}),
            ]
        };
        for things in [0, 1, 4, 5, 6, 10, 13] {
            let offset = json!({"kind": "offset", "offset": "from", "limit": "size", "max": 5});
            for way in ways("page", "token", "link").iter().chain([&offset]) {
                assert_eq!(listed(things, 5, way), Ok(things), "{things} {way}");
                // Fewer at a time than it is asked for.
                assert_eq!(listed(things, 2, way), Ok(things), "{things} {way}");
            }
            // Where it is looked for, there never is a next page.
            for way in ways("pgae", "tokne", "lnik") {
                match listed(things, 5, &way) {
                    Ok(found) => assert!(found == things && things <= 5, "{things} {way}: {found}"),
                    Err(error) => assert!(things >= 5 && error.contains("has more pages"), "{things} {way}: {error}"),
                }
            }
            let missing = &ways("pgae", "tokne", "lnik")[0];
            assert_eq!(listed(things, 2, missing).is_ok(), things <= 2, "{things} numbered, fewer at a time");
        }
    }

    #[test]
    fn a_list_that_never_ends_is_an_error() {
        // What should lead on is always there, and leads round in a circle.
        let circle = json!({"kind": "token", "request": "from", "response": "things.0.id", "size": "size", "max": 5});
        assert!(listed(7, 5, &circle).unwrap_err().contains("does not end"));
    }

    #[test]
    fn the_next_of_several_links_is_found() {
        let next = |header: &str| next_of(header);
        let both = r#"<https://x.example/v1?page=1&a=b,c>; rel="prev first", </v1?page=3>; title="a, b"; rel=next"#;
        assert_eq!(next(both).as_deref(), Some("/v1?page=3"));
        assert_eq!(
            next(r#"<https://x.example/?cursor=a,b>; REL="last next""#).as_deref(),
            Some("https://x.example/?cursor=a,b")
        );
        for none in
            ["", "<https://x.example/?page=2>", r#"</?page=9>; rel="last""#, "no link at all", "<broken; rel=next"]
        {
            assert_eq!(next(none), None, "{none}");
        }
    }

    #[test]
    fn the_query_of_an_address_is_read_whole() {
        let query = query_of("https://elsewhere.example/v2/things?page=2&tag=a%3Ab+c&empty#part");
        let pairs: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("page", "2"), ("tag", "a:b c"), ("empty", "")]);
        assert!(query_of("https://elsewhere.example").is_empty());
    }
}
