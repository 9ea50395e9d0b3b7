//! Owns the versions of the engine API: which a manifest asks for, and whether this engine has one of them.

/// The engine API that manifests ask for in `api`.
pub const ENGINE_API: &str = "1";

/// What an older engine API had otherwise, by its version, oldest first.
const CHANGES: &[(u64, &str)] =
    &[(0, "before 1 there was no stable shape: hold the manifest against docs/manifest.md")];

/// Whether a range such as `1`, `>=1, <3` or `^1.2` has the API of this engine. `Err` says what is wrong with the range.
pub fn accepts(range: &str) -> Result<bool, String> {
    let engine = version(ENGINE_API)?;
    let mut all = true;
    for part in range.split(',').map(str::trim) {
        // Without a number all of it is what should be one.
        let at = part.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
        let (sign, wanted) = (part[..at].trim(), version(&part[at..])?);
        all &= match sign {
            ">=" => engine >= wanted,
            ">" => engine > wanted,
            "<=" => engine <= wanted,
            "<" => engine < wanted,
            "" | "=" | "^" => engine[0] == wanted[0] && engine >= wanted,
            other => return Err(format!("`{other}` is no comparison; use `>=`, `>`, `<=`, `<`, `=` or `^`")),
        };
    }
    Ok(all)
}

/// What to do about a range that this engine is not in.
pub fn advice(range: &str) -> String {
    let asked = range.split(',').find_map(|part| version(part.trim_start_matches(|c: char| !c.is_ascii_digit())).ok());
    let engine = version(ENGINE_API).unwrap_or_default();
    match asked {
        Some(asked) if asked < engine => {
            let changed: Vec<&str> =
                CHANGES.iter().filter(|(since, _)| *since >= asked[0]).map(|(_, what)| *what).collect();
            format!("It was made for an older engine: {}. Then write `api = \"{ENGINE_API}\"`.", changed.join("; "))
        }
        _ => format!("Update nu-provision, or use a version of the extension made for engine API {ENGINE_API}."),
    }
}

/// Numbers of a version, the absent ones 0.
fn version(text: &str) -> Result<Vec<u64>, String> {
    let mut numbers: Vec<u64> = text
        .trim()
        .split('.')
        .map(|part| part.parse().map_err(|_| format!("`{}` is no version; write it like `1` or `1.2`", text.trim())))
        .collect::<Result<_, String>>()?;
    numbers.resize(3.max(numbers.len()), 0);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_people_write_them() {
        let yes = ["1", "^1", ">=1", ">= 1, < 3", "=1", "1.0"];
        let no = ["2", "0", ">1", "<1", "1.4", ">=2, <3"];
        assert!(yes.iter().all(|range| accepts(range) == Ok(true)));
        assert!(no.iter().all(|range| accepts(range) == Ok(false)));
        assert!(["", "one", "~1", "1.x"].iter().all(|range| accepts(range).is_err()));
        assert!(advice("0").contains("older engine"), "{}", advice("0"));
        assert!(advice(">=2").contains("Update"), "{}", advice(">=2"));
    }
}
