//! Owns the vendors' own clients that the end-to-end suite runs: system packages when it may, Python packages under
//! `target/clients`.

use std::path::Path;
use std::process::{Command, Stdio};

/// Debian package and the program it brings.
const SYSTEM: [(&str, &str); 2] = [("hcloud-cli", "/usr/bin/hcloud"), ("awscli", "/usr/bin/aws")];
/// Python package, as pip wants it, and the module it brings.
const PYTHON: [(&str, &str); 6] = [
    ("upcloud-api==2.9.0", "upcloud_api"),
    ("boto3==1.44.8", "boto3"),
    ("hcloud==2.27.0", "hcloud"),
    // moto[server] would bring every service of AWS; this is what its server needs for EC2.
    ("moto[ec2]==5.2.5", "moto.ec2.models"),
    ("flask==3.1.3", "flask"),
    ("flask-cors==6.0.5", "flask_cors"),
];

/// Makes the clients available and returns, in words, what had to be left out. Does nothing when all are there.
pub fn ensure(workspace: &Path) -> Vec<String> {
    let mut left_out = system();
    left_out.extend(python(workspace));
    left_out.extend(description(workspace).err());
    left_out
}

fn system() -> Vec<String> {
    let absent = || SYSTEM.iter().filter(|(_, program)| !Path::new(program).exists());
    if absent().next().is_none() {
        return Vec::new();
    }
    // Without a password prompt: as root, or through a sudo that asks nothing.
    let prefix: &[&str] = if quiet("apt-get", &["--version"]) && quiet("sh", &["-c", "test \"$(id -u)\" = 0"]) {
        &["env"]
    } else if quiet("sudo", &["-n", "true"]) {
        &["sudo", "-n", "env"]
    } else {
        return absent()
            .map(|(package, program)| format!("{program} (package {package}: not permitted to install it)"))
            .collect();
    };
    let apt = |arguments: &[&str]| {
        let mut all: Vec<&str> = prefix[1..].to_vec();
        all.extend(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
        all.extend(arguments);
        quiet(prefix[0], &all)
    };
    apt(&["update"]);
    let packages: Vec<&str> = absent().map(|(package, _)| *package).collect();
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    apt(&install);
    absent().map(|(package, program)| format!("{program} (package {package} could not be installed)")).collect()
}

/// The crate whose source carries Hetzner's own description of its API, and the file in it.
const DESCRIBED: (&str, &str, &str) = ("hetzner", "1.0.0", "hetzner-cloud-openapi.json");

/// Puts Hetzner's description of its API beside the Python clients: fetched as a crate, never compiled.
fn description(workspace: &Path) -> Result<(), String> {
    let (name, version, file) = DESCRIBED;
    let kept = workspace.join("target/clients").join(file);
    if kept.exists() {
        return Ok(());
    }
    let failed = |what: &dyn std::fmt::Display| format!("{file} of the crate {name} ({what})");
    let folder = workspace.join("target/clients/described");
    let manifest = folder.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"described\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n\n[workspace]\n"
    );
    std::fs::create_dir_all(folder.join("src")).map_err(|error| failed(&error))?;
    std::fs::write(folder.join("src/lib.rs"), "").map_err(|error| failed(&error))?;
    std::fs::write(&manifest, text).map_err(|error| failed(&error))?;
    let mut cargo = crate::workspace::cargo();
    cargo.args(["metadata", "--format-version", "1", "--quiet", "--manifest-path"]).arg(&manifest);
    let said = cargo.stderr(Stdio::null()).output().map_err(|error| failed(&error))?;
    let known: serde_json::Value = serde_json::from_slice(&said.stdout).map_err(|error| failed(&error))?;
    let packages = known["packages"].as_array().into_iter().flatten();
    let package = packages.into_iter().find(|package| package["name"] == name);
    let source = package.and_then(|package| package["manifest_path"].as_str()).map(Path::new).and_then(Path::parent);
    let source = source.ok_or_else(|| failed(&"cargo could not fetch it"))?;
    std::fs::copy(source.join(file), kept).map(|_| ()).map_err(|error| failed(&error))
}

fn python(workspace: &Path) -> Vec<String> {
    let folder = workspace.join("target").join("clients");
    let python = folder.join("bin").join("python");
    let program = python.to_string_lossy().into_owned();
    let has = |module: &str| quiet(&program, &["-c", &format!("import {module}")]);
    let absent = || PYTHON.iter().filter(|(_, module)| !has(module));
    if absent().next().is_none() {
        return Vec::new();
    }
    if !quiet(&program, &["-m", "pip", "--version"]) {
        let made = quiet("python3", &["-m", "venv", &folder.to_string_lossy()]);
        if !made {
            return PYTHON.iter().map(|(package, _)| format!("{package} (python3 -m venv failed)")).collect();
        }
    }
    let mut install = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    install.extend(absent().map(|(package, _)| *package).collect::<Vec<_>>());
    quiet(&program, &install);
    absent().map(|(package, _)| format!("{package} (pip could not install it)")).collect()
}

/// Whether a program could be run and was content; its output is nobody's business.
fn quiet(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
