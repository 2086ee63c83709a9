//! Settings that are read, and settings that are refused by the name of what is wrong.

use super::*;

fn load(text: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    Settings::load(Some(&path), Overrides::default())
}

const GOOD: &str = r#"
node = "n1"
state = "/var/lib/rientro-agent"
endpoints = ["http://127.0.0.1:7400", "unix:/run/rientro.sock"]
rescan = "10m"
state_space_min = "1 GiB"

[labels]
rack = "r1"

[[roots]]
path = "/srv/mail"
layout = "{shard}/{domain}/{user}"
shard = "{shard}"
volume = "marker"
"#;

#[test]
fn a_whole_file_is_read() {
    let settings = load(GOOD).unwrap();
    assert_eq!(settings.node.as_str(), "n1");
    assert_eq!(settings.rescan, Duration::from_secs(600));
    assert_eq!((settings.state_space_min, settings.tasks_max), (1 << 30, 8));
    assert!(settings.roots[0].marker_only);
    let over = Overrides { node: Some("n2".to_owned()), ..Overrides::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(Settings::load(Some(&path), over).unwrap().node.as_str(), "n2");
}

#[test]
fn a_file_beyond_its_bound_is_refused() {
    let long = GOOD.to_owned() + &"#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap());
    assert!(matches!(load(&long), Err(SettingsError::TooLarge { .. })));
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    for other in [Path::new("/dev/zero"), &pipe, dir.path()] {
        let refused = Settings::load(Some(other), Overrides::default()).unwrap_err();
        let told = format!("{:#}", anyhow::Error::new(refused));
        assert_eq!(told, format!("cannot read {}: it is no regular file", other.display()));
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (from, to, says) in [
        ("node =", "nod =", "unknown key `nod`; did you mean `node`?"),
        ("layout =", "layuot =", "unknown key `roots[0].layuot`; did you mean `layout`?"),
        ("\"n1\"", "\"n 1\"", "`node`: has ' ' at position 1"),
        ("127.0.0.1", "10.0.0.1", "endpoint `http://10.0.0.1:7400` cannot be used"),
        ("\"10m\"", "\"10\"", "`rescan`: is not a duration"),
        ("1 GiB", "1 Gib", "`state_space_min`: is not a size"),
        ("\"marker\"", "\"uuid\"", "`volume` is `uuid`"),
        ("shard = \"{shard}\"", "", "set either `shard`"),
        ("shard = \"{shard}\"", "shard = \"{user}\"", "does not begin the layout"),
        ("volume =", "alternative = \"srv/old/{user}\"\nvolume =", "an absolute path is needed"),
        ("volume =", "alternative = \"/srv/old\"\nvolume =", "write each mailbox's own directory"),
        ("volume =", "alternative = \"/srv/old/{name}\"\nvolume =", "write each mailbox's own directory"),
        (
            "volume =",
            "alternative = \"/srv/mail/old/{user}\"\nvolume =",
            "is not apart from the root /srv/mail",
        ),
        ("volume =", "alternative = \"/srv/{user}\"\nvolume =", "is not apart from the root /srv/mail"),
        ("volume =", "alternative = \"/srv/a/../mail/{user}\"\nvolume =", "has the component `..`"),
        (
            "volume =",
            "alternative = \"/var/lib/{user}\"\nvolume =",
            "`state` /var/lib/rientro-agent is below",
        ),
        ("/var/lib", "var/lib", "which is not absolute"),
        ("[labels]", "tasks_max = 0\n[labels]", "`tasks_max` is 0; it must be 1 to 256"),
        ("[[roots]]", "[[rootz]]", "unknown key `rootz`; did you mean `roots`?"),
    ] {
        let error = format!("{:#}", anyhow::Error::new(load(&GOOD.replacen(from, to, 1)).unwrap_err()));
        assert!(error.contains(says), "{error}");
    }
    assert!(matches!(Settings::load(None, Overrides::default()), Err(SettingsError::Missing("node"))));
    for apart in ["/srv/old", "/srv/mail/.old"] {
        load(&GOOD.replacen("volume =", &format!("alternative = \"{apart}/{{user}}\"\nvolume ="), 1))
            .unwrap();
    }
}
