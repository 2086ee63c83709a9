//! The scripts that bring servers, against a mirror that does not have what the host's package lists name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rientro_dev::servers::workspace;

/// Stands in for apt-get: with the host's lists the first package comes and the second is gone from the mirror; with lists of
/// its own both come, in a newer version.
const APT_GET: &str = r#"#!/usr/bin/env bash
case " $* " in
*" update "*) touch "$STATE/fresh" ;;
*" download "*)
    version=1; [[ ! -e $STATE/fresh ]] || version=2
    touch "one_$version.deb"
    [[ -e $STATE/fresh ]] || { echo "E: 404 Not Found" >&2; exit 100; }
    touch "two_$version.deb" ;;
esac
"#;
const APT_CACHE: &str = "#!/bin/sh\necho '  Candidate: 1'\n";

fn program(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    fs::write(folder.join(name), text)?;
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))
}

/// What came before a mirror said 404 is of another version, and is not unpacked beside what comes after.
#[test]
fn a_download_that_broke_off_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (bin, debs) = (folder.path().join("bin"), folder.path().join("debs"));
    fs::create_dir(&bin).unwrap();
    program(&bin, "apt-get", APT_GET).unwrap();
    program(&bin, "apt-cache", APT_CACHE).unwrap();
    let library = workspace().join("deploy/dev/scripts/lib.sh");
    let fetch = format!("source '{}'; fetch '{}' no one two", library.display(), debs.display());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &fetch])
        .env("PATH", path)
        .env("STATE", folder.path())
        .env("RIENTRO_DEV_SERVERS", folder.path().join("cache"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("trying again"), "{said}");
    let mut names: Vec<_> = fs::read_dir(&debs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["one_2.deb", "two_2.deb"]);
}
