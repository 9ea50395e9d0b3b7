//! Owns turning the XML that `ec2-query` answers with into JSON: elements are fields, lists of `item` are lists. Pure.

use provision_model::{Json, Map};
use quick_xml::Reader;
use quick_xml::events::Event;

/// An open element: its name, what it holds so far, and its text.
type Open = (String, Vec<(String, Json)>, String);

/// The content of the root element. Texts stay texts; an element without content is null.
pub fn to_json(text: &str) -> Result<Json, String> {
    let mut reader = Reader::from_str(text);
    let mut stack: Vec<Open> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if stack.len() > 64 {
                    return Err("nested too deeply".into());
                }
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                stack.push((name, Vec::new(), String::new()));
            }
            Event::Empty(start) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                match stack.last_mut() {
                    Some(parent) => parent.1.push((name, Json::Null)),
                    None => return answer(&name, Json::Null),
                }
            }
            Event::Text(text) => {
                if let Some(top) = stack.last_mut() {
                    top.2.push_str(&text.decode().map_err(|error| error.to_string())?);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(top) = stack.last_mut() {
                    let name = reference.decode().map_err(|error| error.to_string())?;
                    match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(c) => top.2.push(c),
                        None => top.2.push_str(match name.as_ref() {
                            "amp" => "&",
                            "lt" => "<",
                            "gt" => ">",
                            "quot" => "\"",
                            "apos" => "'",
                            _ => return Err(format!("unknown entity {name}")),
                        }),
                    }
                }
            }
            Event::CData(data) => {
                if let Some(top) = stack.last_mut() {
                    top.2.push_str(&String::from_utf8_lossy(&data));
                }
            }
            Event::End(_) => {
                let Some((name, children, text)) = stack.pop() else { return Err("unbalanced".into()) };
                let value = element(children, text);
                match stack.last_mut() {
                    Some(parent) => parent.1.push((name, value)),
                    None => return answer(&name, value),
                }
            }
            Event::Eof => return Err("ends early".into()),
            _ => {}
        }
    }
}

/// The query protocol answers with `<…Response>`; anything else, HTML above all, is not from it.
fn answer(root: &str, value: Json) -> Result<Json, String> {
    match root.ends_with("Response") {
        true => Ok(value),
        false => Err(format!("it is <{root}>, not the answer of an action")),
    }
}

fn element(children: Vec<(String, Json)>, text: String) -> Json {
    if children.is_empty() {
        return if text.trim().is_empty() { Json::Null } else { Json::String(text) };
    }
    if children.iter().all(|(name, _)| name == "item") {
        return children.into_iter().map(|(_, value)| value).collect();
    }
    let mut map = Map::new();
    for (name, value) in children {
        map.insert(name, value);
    }
    Json::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_fields_and_entities() {
        let text = "<?xml version=\"1.0\"?><RResponse xmlns=\"x\"><set><item><a>1</a><b/></item><item><a>x &amp; y</a></item></set><e/></RResponse>";
        assert_eq!(to_json(text).unwrap(), json!({"set": [{"a": "1", "b": null}, {"a": "x & y"}], "e": null}));
        assert!(to_json("<a><b>").is_err());
        assert!(to_json("<html><body>oops</html>").is_err());
        assert!(to_json("<html><body>oops</body></html>").unwrap_err().contains("<html>"));
    }
}
