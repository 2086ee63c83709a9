//! Which setting is in force: the file's, the environment's above it, a flag's above both.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::fs;
use std::process::Command;

/// What the agent says its settings lead to, or why it refuses them.
fn checked(config: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rientro-agent"));
    for name in ["CONFIG", "NODE", "STATE", "ENDPOINTS"] {
        command.env_remove(format!("RIENTRO_AGENT_{name}"));
    }
    command.env("RIENTRO_AGENT_CONFIG", config).envs(environment.iter().copied());
    let output = command.args(["run", "--check"]).args(flags).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// A list of expected mailboxes that cannot be read would fail every verification: that is found out before.
#[test]
fn a_list_of_expected_mailboxes_is_read_by_a_check() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let [list, pipe, absent] = ["list", "pipe", "absent"].map(|name| dir.path().join(name));
    fs::write(&list, "ex.org/anna\n").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let check = |expected: &std::path::Path| {
        let text = format!(
            "node = \"n\"\nstate = \"/s\"\nendpoints = [\"http://127.0.0.1:1\"]\n[[roots]]\npath = {:?}\nlayout = \"{{user}}\"\n\
             shard_id = \"v\"\nexpected = {expected:?}\n",
            dir.path()
        );
        fs::write(&file, text).unwrap();
        checked(file.to_str().unwrap(), &[], &[])
    };
    assert!(check(&list).contains("settings are good"));
    for (expected, why) in [
        (&*absent, "No such file"),
        (dir.path(), "it is no regular file"),
        (&*pipe, "it is no regular file"),
        (std::path::Path::new("/dev/zero"), "it is no regular file"),
    ] {
        let told = check(expected);
        let named = format!("cannot read the list of expected mailboxes {}: {why}", expected.display());
        assert!(told.contains(&named) && !told.contains("settings are good"), "{told}");
    }
}

/// Nothing is written among mail.
#[test]
fn a_state_directory_among_mail_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let check = |state: &str, roots: &[&str]| {
        let root =
            |path: &&str| format!("[[roots]]\npath = {path:?}\nlayout = \"{{user}}\"\nshard_id = \"v\"\n");
        let roots: String = roots.iter().map(root).collect();
        let text = format!("node = \"n\"\nstate = {state:?}\nendpoints = [\"http://127.0.0.1:1\"]\n{roots}");
        fs::write(&file, text).unwrap();
        checked(file.to_str().unwrap(), &[], &[])
    };
    assert!(check("/mail/abc", &["/mail/a", "/mail/ab"]).contains("settings are good"));
    for state in ["/mail/a/ex.org/state", "/srv/none/../../mail/a/state", "/mail/./b/../a"] {
        let told = check(state, &["/mail/b", "/mail/a"]);
        assert!(told.contains("is below root /mail/a; put it elsewhere"), "{told}");
    }
    // By whatever name.
    let [mail, link, dangling] = ["mail", "link", "dangling"].map(|name| dir.path().join(name));
    fs::create_dir(&mail).unwrap();
    std::os::unix::fs::symlink("mail", &link).unwrap();
    std::os::unix::fs::symlink(mail.join("later"), &dangling).unwrap();
    let [mail, link, dangling] = [mail, link, dangling].map(|path| path.to_str().unwrap().to_owned());
    for (state, root) in [
        (format!("{link}/state"), &mail),
        (dangling.clone(), &mail),
        (format!("{mail}/state"), &link),
        (format!("{}/none/../mail/state", dir.path().display()), &mail),
    ] {
        let told = check(&state, &[root]);
        assert!(told.contains(&format!("is below root {root}; put it elsewhere")), "{told}");
    }
    let told = check(&dangling, &[&mail]);
    assert!(told.contains(&format!("`state` {dangling}, which leads to {mail}/later, is below")), "{told}");
}

/// Each mailbox is in one shard; roots may share a volume as long as their layouts tell them apart.
#[test]
fn roots_with_the_same_mailboxes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [file, mail, link] = ["agent.toml", "mail", "link"].map(|name| dir.path().join(name));
    fs::create_dir(&mail).unwrap();
    std::os::unix::fs::symlink(&mail, &link).unwrap();
    let [mail, link] = [mail, link].map(|path| path.to_str().unwrap().to_owned());
    let check = |roots: &[(&str, &str)]| {
        let root = |(at, (path, layout)): (usize, &(&str, &str))| {
            format!("[[roots]]\npath = {path:?}\nlayout = {layout:?}\nshard_id = \"v{at}\"\n")
        };
        let roots: String = roots.iter().enumerate().map(root).collect();
        fs::write(
            &file,
            format!("node = \"n\"\nstate = \"/s\"\nendpoints = [\"http://127.0.0.1:1\"]\n{roots}"),
        )
        .unwrap();
        checked(file.to_str().unwrap(), &[], &[])
    };
    let nested = format!("{mail}/ex.org");
    for (one, other) in [
        ((&*mail, "{domain}/{user}"), (&*mail, "{domain}/{user}")),
        ((&*mail, "{domain}/{user}"), (&*link, "{domain}/{user}")),
        ((&*mail, "{domain}/{user}"), (&*nested, "{user}")),
        ((&*nested, "anna"), (&*mail, "{domain}/{user}")),
    ] {
        let told = check(&[one, ("/other", "{user}"), other]);
        assert!(
            told.contains("show the same mailboxes") && told.contains("leave one of the roots out"),
            "{told}"
        );
        assert!(told.contains(one.0) && told.contains(other.0), "{told}");
    }
    for (one, other) in [
        ((&*mail, "flat/{user}"), (&*mail, "nested/{user}/Maildir")),
        ((&*mail, "anna"), (&*mail, "bert")),
        ((&*mail, "ex.org/{user}/Maildir"), (&*nested, "carl/{folder}")),
        ((&*mail, "{user}"), (&*nested, "{user}")),
    ] {
        let told = check(&[one, other]);
        assert!(told.contains("settings are good"), "{told}");
    }
}

#[test]
fn flags_stand_above_the_environment_and_that_above_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = |node: &str, endpoint: &str| {
        format!(
            "node = {node:?}\nstate = \"/s\"\nendpoints = [{endpoint:?}]\n[[roots]]\npath = {:?}\nlayout = \"{{user}}\"\nshard_id = \"v\"\n",
            dir.path()
        )
    };
    let (file, other) = (dir.path().join("agent.toml"), dir.path().join("other.toml"));
    fs::write(&file, text("of-file", "http://127.0.0.1:1")).unwrap();
    fs::write(&other, text("of-other", "http://127.0.0.1:1")).unwrap();
    let file = file.to_str().unwrap();
    assert!(checked(file, &[], &[]).contains("node of-file with"));
    let environment = [("RIENTRO_AGENT_NODE", "of-environment")];
    assert!(checked(file, &environment, &[]).contains("node of-environment with"));
    assert!(checked(file, &environment, &["--node", "of-flag"]).contains("node of-flag with"));
    assert!(checked(file, &[], &["--config", other.to_str().unwrap()]).contains("node of-other with"));

    // What is refused shows where it came from.
    let environment =
        [("RIENTRO_AGENT_ENDPOINTS", "http://10.0.0.1:1"), ("RIENTRO_AGENT_STATE", "of-environment")];
    assert!(checked(file, &environment, &[]).contains("endpoint `http://10.0.0.1:1` cannot be used"));
    let flags = ["--endpoint", "http://127.0.0.1:2"];
    assert!(checked(file, &environment, &flags).contains("`state` is of-environment, which is not absolute"));
    let flags = ["--endpoint", "http://127.0.0.1:2", "--state", "of-flag"];
    assert!(checked(file, &environment, &flags).contains("`state` is of-flag, which is not absolute"));
}
