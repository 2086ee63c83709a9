//! A private Dovecot: LMTP and IMAP on Unix sockets in a folder of its own, users from a file, nothing of the host touched.
//!
//! It runs from its unpacked packages, as root or not. `doveconf` is started in place of the master process and turns into it, because the
//! master would look for `doveconf` where the package would have been installed. It is ended by process id when the value is dropped; the
//! kernel ends it when the thread that started it ends, so a test that is killed leaves no server behind.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::imap::Imap;
use crate::lmtp::Lmtp;
use crate::{servers, wait};

/// From start to the first answer; it takes a quarter of a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// From the order to end until the last process is gone: sessions write their indexes.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Owner of the mail when running as root: `nobody`, there on every Debian, and never root, which Dovecot refuses.
const MAIL_USER: u32 = 65534;
/// The password of every user.
pub const PASSWORD: &str = "lab";

/// A format of mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// One file for each message, flags in its name.
    Maildir,
    /// One file for each message, flags in the index.
    Sdbox,
    /// Many messages in each file, found by a map.
    Mdbox,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Maildir, Self::Sdbox, Self::Mdbox];

    fn name(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
        }
    }
}

/// How messages are packed when they are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As they are.
    Plain,
    /// A gzip stream each.
    Gzip,
    /// A zstd stream each.
    Zstd,
}

/// How a user's mail is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The format of the mailbox.
    pub format: Format,
    /// How what is saved is packed.
    pub packing: Packing,
    /// Directory in which attachments of some size are stored apart from their messages, each content once; not of a Maildir.
    pub attachments: Option<PathBuf>,
    /// Directory to which older messages are moved when that is asked for; not of a Maildir.
    pub alternative: Option<PathBuf>,
}

/// A user and where its mail is.
#[derive(Clone, Debug)]
pub struct User {
    /// Full address, which is the login name.
    pub address: String,
    /// Folder of the mailbox.
    pub mail: PathBuf,
    /// How it is stored.
    pub storage: Storage,
}

/// A running Dovecot; dropping it stops it.
pub struct Dovecot {
    folder: TempDir,
    master: Child,
}

impl Dovecot {
    /// Starts a Dovecot for these users and waits until it answers on both sockets.
    ///
    /// # Errors
    /// When it cannot be brought, configured or started, or does not answer in time; the error quotes its log.
    pub fn start(users: &[User]) -> Result<Self> {
        let unpacked = servers::dovecot()?;
        let folder =
            tempfile::Builder::new().prefix("rientro-dovecot-").tempdir().context("make Dovecot's folder")?;
        prepare_folder(folder.path(), &unpacked)?;
        fs::write(folder.path().join("users"), passwd_file(users)).context("write the users")?;
        for user in users {
            prepare_mail_folder(&user.mail)?;
            let Storage { attachments, alternative, .. } = &user.storage;
            attachments.iter().chain(alternative).try_for_each(|folder| prepare_mail_folder(folder))?;
        }
        let config = folder.path().join("dovecot.conf");
        fs::write(&config, configuration(folder.path(), &unpacked))
            .context("write Dovecot's configuration")?;
        let master = master_command(&unpacked, &config).spawn().context("start Dovecot")?;
        let mut dovecot = Self { folder, master };
        dovecot.wait_until_ready()?;
        Ok(dovecot)
    }

    /// A connection to LMTP.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn lmtp(&self) -> Result<Lmtp> {
        Lmtp::connect(&self.socket("lmtp"))
    }

    /// A connection to IMAP, logged in.
    ///
    /// # Errors
    /// When it does not answer or refuses the user.
    pub fn imap(&self, address: &str) -> Result<Imap> {
        let mut imap = Imap::connect(&self.socket("imap"))?;
        imap.login(address, PASSWORD)?;
        Ok(imap)
    }

    /// Copies the mail of a user into another format in the folder `to`, as `doveadm backup` does for a migration.
    ///
    /// # Errors
    /// When the folder cannot be made or the copy fails.
    pub fn back_up(&self, address: &str, format: Format, to: &Path) -> Result<()> {
        prepare_mail_folder(to)?;
        let to = format!("{}:{}", format.name(), to.display());
        // The separator of a dbox, which a Maildir has to be read with.
        self.doveadm(&["-o", "namespace/inbox/separator=/", "backup", "-u", address, &to])
    }

    /// Moves messages of a user to the alternative storage: those that a search finds, in doveadm-search-query(7)'s words.
    ///
    /// # Errors
    /// When the move fails.
    pub fn move_to_alternative(&self, address: &str, query: &[&str]) -> Result<()> {
        self.doveadm(&[&["altmove", "-u", address], query].concat())?;
        self.doveadm(&["purge", "-u", address])
    }

    fn doveadm(&self, arguments: &[&str]) -> Result<()> {
        let (unpacked, config) = (servers::dovecot()?, self.folder.path().join("dovecot.conf"));
        let mut command = Command::new(unpacked.join("usr/bin/doveconf"));
        command.args(["-f", "service=doveadm", "-c"]).arg(&config);
        command.arg("-e").arg(unpacked.join("usr/bin/doveadm")).arg("-c").arg(&config).args(arguments);
        command.env("LD_LIBRARY_PATH", library_path(&unpacked)).stdin(Stdio::null());
        let output = command.output().context("start doveadm")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "doveadm {} failed ({}): {said}",
            arguments.join(" "),
            output.status
        );
        Ok(())
    }

    /// Stops it and waits until every process has ended and written what it had to.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let mut ended = false;
        let ready = wait::until(START_LIMIT, || {
            ended = !matches!(self.master.try_wait(), Ok(None));
            ended || (self.lmtp().is_ok() && Imap::connect(&self.socket("imap")).is_ok())
        });
        ensure!(ready && !ended, "Dovecot did not start; its log says:\n{}", self.log());
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log"))
            .unwrap_or_else(|error| format!("(no log: {error})"))
    }

    fn end(&mut self) -> Result<()> {
        if self.master.try_wait().context("look after Dovecot")?.is_some() {
            return Ok(());
        }
        let children = children_of(self.master.id());
        terminate(self.master.id(), Signal::TERM);
        let ended = wait::until(STOP_LIMIT, || matches!(self.master.try_wait(), Ok(Some(_))));
        if !ended {
            terminate(self.master.id(), Signal::KILL);
            self.master.wait().context("wait for Dovecot's end")?;
            bail!("Dovecot did not stop within {} s", STOP_LIMIT.as_secs());
        }
        let gone = wait::until(STOP_LIMIT, || children.iter().all(|pid| !alive(*pid)));
        ensure!(gone, "processes of Dovecot outlived it: {children:?}");
        Ok(())
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "dovecot was not stopped cleanly");
        }
    }
}

/// Makes the folder of a mailbox and hands it to the user whom Dovecot stores mail as.
fn prepare_mail_folder(mail: &Path) -> Result<()> {
    fs::create_dir_all(mail).with_context(|| format!("make {}", mail.display()))?;
    if running_as_root() {
        chown(mail, Some(MAIL_USER), Some(MAIL_USER))
            .with_context(|| format!("hand over {}", mail.display()))?;
    }
    Ok(())
}

fn prepare_folder(folder: &Path, unpacked: &Path) -> Result<()> {
    // Login processes run as another user than the one who made the folder.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).context("open Dovecot's folder")?;
    for name in ["run", "state"] {
        fs::create_dir(folder.join(name)).context("make Dovecot's folders")?;
    }
    symlink(unpacked.join("usr/lib/dovecot/modules"), folder.join("run/modules"))
        .context("link Dovecot's modules")
}

fn passwd_file(users: &[User]) -> String {
    let owner = mail_owner();
    users.iter().fold(String::new(), |mut file, User { address, mail, storage }| {
        let mail = mail.display();
        let format = storage.format.name();
        let extra = match storage.packing {
            Packing::Plain => "",
            Packing::Gzip => " userdb_zlib_save=gz userdb_zlib_save_level=6",
            Packing::Zstd => " userdb_zlib_save=zstd userdb_zlib_save_level=3",
        };
        let apart = storage.attachments.as_ref();
        let apart =
            apart.map_or(String::new(), |dir| format!(" userdb_mail_attachment_dir={}", dir.display()));
        let moved = storage.alternative.as_ref();
        let moved = moved.map_or(String::new(), |dir| format!(":ALT={}", dir.display()));
        writeln!(
            file,
            "{address}:{{PLAIN}}{PASSWORD}:{owner}:{owner}::{mail}::userdb_mail={format}:{mail}{moved}{extra}{apart}"
        )
        .expect("a String takes every write");
        file
    })
}

fn mail_owner() -> u32 {
    if running_as_root() { MAIL_USER } else { rustix::process::getuid().as_raw() }
}

fn running_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn configuration(folder: &Path, unpacked: &Path) -> String {
    let (folder, unpacked) = (folder.display(), unpacked.display());
    let (user, group) = service_user();
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
libexec_dir = {unpacked}/usr/lib/dovecot
mail_plugin_dir = {unpacked}/usr/lib/dovecot/modules
import_environment = TZ LD_LIBRARY_PATH
instance_name = rientro-dev
log_path = {folder}/log
protocols = imap lmtp
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_plugins = zlib
mail_fsync = never
mail_attachment_min_size = 2k
mail_attachment_fs = sis posix
hostname = dev.rientro.test
postmaster_address = postmaster@rientro.test
lmtp_save_to_detail_mailbox = no
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
service imap-login {{
  chroot =
  unix_listener imap {{
    mode = 0666
  }}
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
"
    )
}

/// Whom Dovecot's helper processes run as: `nobody` under root, else ourselves, since only root may change users.
fn service_user() -> (String, String) {
    if running_as_root() {
        return ("nobody".into(), "nogroup".into());
    }
    let own = |flag: &str| {
        let output = Command::new("id").arg(flag).output();
        output
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    (own("-un"), own("-gn"))
}

fn master_command(unpacked: &Path, config: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        .arg(unpacked.join("usr/bin/doveconf"))
        .args(["-f", "service=master", "-m", "master", "-c"])
        .arg(config)
        .arg("-e")
        .arg(unpacked.join("usr/sbin/dovecot"))
        .args(["-F", "-c"])
        .arg(config)
        .env("LD_LIBRARY_PATH", library_path(unpacked))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command
}

/// Every folder of the unpacked packages that holds libraries Dovecot links to.
fn library_path(unpacked: &Path) -> String {
    let own = ["usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats"].map(|folder| unpacked.join(folder));
    let by_machine = ["usr/lib", "lib"].into_iter().flat_map(|folder| {
        let entries = fs::read_dir(unpacked.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-gnu"))
    });
    let folders: Vec<String> =
        own.into_iter().chain(by_machine).map(|path| path.display().to_string()).collect();
    folders.join(":")
}

fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = fs::read_to_string(path).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether the process still runs; one that has ended and waits for its parent to look does not.
fn alive(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|state| !state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

fn terminate(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(error) = rustix::process::kill_process(pid, signal) {
        tracing::warn!(%error, pid = pid.as_raw_pid(), "a process of Dovecot could not be signalled");
    }
}
