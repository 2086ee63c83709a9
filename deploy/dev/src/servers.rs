//! Servers and samples that are not ours, brought by the scripts of this crate and unpacked beside the system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Root folder of an unpacked Dovecot.
///
/// # Errors
/// When the script cannot bring it; what it said is on stderr.
pub fn dovecot() -> Result<PathBuf> {
    bring("dovecot.sh")
}

/// Folder of CPython's sample messages.
///
/// # Errors
/// When the script cannot bring them; what it said is on stderr.
pub fn samples() -> Result<PathBuf> {
    bring("samples.sh")
}

/// The program `b3sum`.
///
/// # Errors
/// When the script cannot bring it; what it said is on stderr.
pub fn b3sum() -> Result<PathBuf> {
    Ok(bring("b3sum.sh")?.join("usr/bin/b3sum"))
}

/// Folder of the workspace.
///
/// # Panics
/// Never: it is known when this is compiled.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("deploy/dev lies two levels inside the workspace")
}

fn bring(script: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = Command::new("bash")
        .arg(&path)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", path.display()))?;
    ensure!(
        output.status.success(),
        "{} could not bring what tests need ({})",
        path.display(),
        output.status
    );
    Ok(PathBuf::from(String::from_utf8(output.stdout).context("read the script's answer")?.trim_end()))
}
