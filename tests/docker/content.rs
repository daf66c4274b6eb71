//! What is in the image, what is not, and what it says of itself.

use std::{
    collections::BTreeMap,
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use jiff::Timestamp;

use super::engine::{Container, docker, image, inspect};

/// Programs that a container does not need and an intruder likes.
const TOOLS: [&str; 12] = [
    "sh", "bash", "dash", "ash", "busybox", "apt", "apt-get", "dpkg", "apk", "rpm", "cargo", "gcc",
];
const SHARE: &str = "usr/share/sagemaker-burn";

struct Entry {
    bytes: u64,
    mode: u32,
    is_link: bool,
}

/// Every file of the image by its path, and the content of those below [`SHARE`].
fn files() -> (BTreeMap<String, Entry>, BTreeMap<String, String>) {
    let container = docker(&["create", image().unwrap()]).succeeded().stdout;
    let container = Container {
        name: container.trim().to_owned(),
    };
    let mut export = Command::new("docker")
        .args(["export", &container.name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut files, mut texts) = (BTreeMap::new(), BTreeMap::new());
    let mut archive = tar::Archive::new(export.stdout.take().unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let path = path.trim_end_matches('/').to_owned();
        if path.starts_with(SHARE) && entry.header().entry_type().is_file() {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            texts.insert(path[SHARE.len() + 1..].to_owned(), text);
        }
        let header = entry.header();
        files.insert(
            path,
            Entry {
                bytes: header.size().unwrap(),
                mode: header.mode().unwrap(),
                is_link: header.entry_type().is_symlink(),
            },
        );
    }
    assert!(export.wait().unwrap().success());
    (files, texts)
}

#[test]
fn small_readable_and_without_tools() {
    if image().is_none() {
        return;
    }
    let (files, _) = files();
    let is_cuda = files.contains_key("usr/local/cuda/nvvm/libdevice/libdevice.10.bc");
    let baked = |path: &str| path.starts_with("opt/sagemaker-burn/cache/");
    let bytes: u64 = files
        .iter()
        .filter(|(path, _)| !baked(path))
        .map(|(_, entry)| entry.bytes)
        .sum();
    let budget = if is_cuda { 600_000_000 } else { 150_000_000 };
    assert!(bytes > 10_000_000 && bytes <= budget, "{bytes} bytes");
    for (path, entry) in &files {
        let name = path.rsplit('/').next().unwrap();
        let program = entry.mode & 0o111 != 0 || entry.is_link;
        assert!(
            !(TOOLS.contains(&name) && program && path.contains("bin/")),
            "{path}"
        );
        assert!(
            !path.starts_with("opt/ml"),
            "{path} hides what SageMaker mounts"
        );
        assert!(
            !name.starts_with("libcuda.so"),
            "{path} is the host's to bring"
        );
        let ours = [
            "usr/local",
            "usr/share/sagemaker-burn",
            "opt",
            "cubecl.toml",
        ];
        if ours.iter().any(|prefix| path.starts_with(prefix)) && !entry.is_link {
            assert_eq!(entry.mode & 0o4, 0o4, "{path} cannot be read by every user");
        }
    }
    assert!(files.contains_key("etc/ssl/certs/ca-certificates.crt"));
}

#[test]
fn a_bill_of_materials_and_every_licence() {
    if image().is_none() {
        return;
    }
    let (files, texts) = files();
    let bill: serde_json::Value = serde_json::from_str(&texts["sbom.cdx.json"]).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let program = &bill["metadata"]["component"];
    assert_eq!(
        (program["name"].as_str(), program["version"].as_str()),
        (Some("sagemaker-burn"), Some(env!("CARGO_PKG_VERSION")))
    );
    let components = bill["components"].as_array().unwrap();
    let named = |name: &str| components.iter().any(|component| component["name"] == name);
    // One of Burn's, one of the feature s3, and not what only tests use.
    assert!(named("burn-flex") && named("aws-sdk-s3") && named("rust-standard-library"));
    assert!(!named("proptest"));
    let is_cuda = files.contains_key("usr/local/cuda/nvvm/libdevice/libdevice.10.bc");
    assert_eq!(
        named("cubecl-cuda") && named("llvm") && named("libdevice"),
        is_cuda
    );
    assert_eq!(texts.contains_key("LICENCE-libdevice.txt"), is_cuda);
    let licences = &texts["THIRD-PARTY-LICENCES.txt"];
    for component in components {
        let (name, version) = (
            component["name"].as_str().unwrap(),
            component["version"].as_str().unwrap(),
        );
        let beside = ["rust-standard-library", "libdevice"].contains(&name);
        assert!(
            beside || licences.contains(&format!("{name} {version} (")),
            "{name}"
        );
    }
    for text in ["LICENSE-APACHE", "LICENSE-MIT"] {
        assert!(texts[text].len() > 500, "{text}");
    }
}

#[test]
fn labels_and_the_program_as_process_one() {
    let Some(image) = image() else { return };
    let label = |name: &str| inspect(image, &format!("{{{{index .Config.Labels {name:?}}}}}"));
    for capability in ["accept-bind-to-port", "multi-models"] {
        let name = format!("com.amazonaws.sagemaker.capabilities.{capability}");
        assert_eq!(label(&name), "true");
    }
    assert_eq!(
        label("org.opencontainers.image.version"),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        label("org.opencontainers.image.licenses"),
        "MIT OR Apache-2.0"
    );
    assert_eq!(
        inspect(image, "{{json .Config.Entrypoint}}"),
        r#"["/usr/local/bin/sagemaker-burn"]"#
    );
    let help = Container::finish(&["--rm"], &[]).succeeded();
    assert!(help.stdout.contains("Usage: sagemaker-burn"), "{help:#?}");
}

#[test]
fn it_starts_within_a_second() {
    if image().is_none() {
        return;
    }
    // From the start of the process to its end as the engine saw them. Other work on this machine may get in the way, not each time.
    let took = || {
        let (container, command) = Container::command(&["--network", "none"], &["--version"]);
        let said = crate::main_job::run::finish(command).succeeded();
        assert!(said.stdout.contains(env!("CARGO_PKG_VERSION")));
        let time = |field: &str| {
            let text = inspect(&container.name, &format!("{{{{.State.{field}}}}}"));
            text.parse::<Timestamp>().unwrap()
        };
        time("FinishedAt").duration_since(time("StartedAt"))
    };
    let best = (0..10)
        .map(|_| Duration::try_from(took()).unwrap())
        .find(|took| *took < Duration::from_secs(1));
    assert!(best.is_some());
}
