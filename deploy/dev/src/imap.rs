//! A small IMAP client (RFC 3501, MOVE of RFC 6851): the commands that make a mailbox look lived in.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::wire::{Lines, with_crlf};

/// Most untagged answers read for one command: a mailbox of the corpus answers with a few hundred.
const UNTAGGED_MAX: usize = 100_000;

/// A connection to an IMAP server.
pub struct Imap {
    lines: Lines,
    sent: u32,
}

impl Imap {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When there is no server or it does not greet.
    pub fn connect(socket: &Path) -> Result<Self> {
        let mut lines = Lines::connect(socket)?;
        let greeting = lines.read()?;
        anyhow::ensure!(greeting.starts_with("* OK"), "the server said: {greeting}");
        Ok(Self { lines, sent: 0 })
    }

    /// Logs in.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        self.command(&format!("LOGIN {user} {password}")).map(drop)
    }

    /// Makes a folder and selects it.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&mut self, folder: &str) -> Result<()> {
        self.command(&format!("CREATE {folder}")).map(drop)
    }

    /// Gives a folder another name.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn rename(&mut self, folder: &str, name: &str) -> Result<()> {
        self.command(&format!("RENAME {folder} {name}")).map(drop)
    }

    /// Removes a folder.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn delete(&mut self, folder: &str) -> Result<()> {
        self.command(&format!("DELETE {folder}")).map(drop)
    }

    /// Selects a folder.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn select(&mut self, folder: &str) -> Result<()> {
        self.command(&format!("SELECT {folder}")).map(drop)
    }

    /// Appends a message with flags or keywords, and a date such as `01-Mar-2021 10:00:00 +0000`.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn append(&mut self, folder: &str, flags: &str, date: &str, message: &[u8]) -> Result<()> {
        let message = with_crlf(message);
        let mut command =
            format!("APPEND {folder} ({flags}) \"{date}\" {{{}+}}\r\n", message.len()).into_bytes();
        command.extend_from_slice(&message);
        self.send(&command).with_context(|| format!("append to {folder}")).map(drop)
    }

    /// UIDs of the selected folder, ascending.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn uids(&mut self) -> Result<Vec<u32>> {
        let answers = self.command("UID SEARCH ALL")?;
        let listed = answers.iter().filter_map(|line| line.strip_prefix("* SEARCH"));
        Ok(listed.flat_map(str::split_whitespace).filter_map(|uid| uid.parse().ok()).collect())
    }

    /// Adds flags or keywords to a message.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn flag(&mut self, uid: u32, flags: &str) -> Result<()> {
        self.command(&format!("UID STORE {uid} +FLAGS.SILENT ({flags})")).map(drop)
    }

    /// Moves a message to another folder.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn move_to(&mut self, uid: u32, folder: &str) -> Result<()> {
        self.command(&format!("UID MOVE {uid} {folder}")).map(drop)
    }

    /// Copies a message to another folder.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn copy_to(&mut self, uid: u32, folder: &str) -> Result<()> {
        self.command(&format!("UID COPY {uid} {folder}")).map(drop)
    }

    /// Marks a message deleted and expunges it.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn expunge(&mut self, uid: u32) -> Result<()> {
        self.flag(uid, "\\Deleted")?;
        self.command(&format!("UID EXPUNGE {uid}")).map(drop)
    }

    /// Ends the session, which makes the server write what it holds back.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn logout(mut self) -> Result<()> {
        self.command("LOGOUT").map(drop)
    }

    fn command(&mut self, command: &str) -> Result<Vec<String>> {
        self.send(command.as_bytes())
            .with_context(|| format!("send {}", command.split(' ').next().unwrap_or(command)))
    }

    /// Sends one command and returns the untagged answers to it.
    fn send(&mut self, command: &[u8]) -> Result<Vec<String>> {
        self.sent += 1;
        let tag = format!("c{} ", self.sent);
        self.lines.write(&[tag.as_bytes(), command, b"\r\n"].concat())?;
        let mut untagged = Vec::new();
        while untagged.len() < UNTAGGED_MAX {
            let line = self.lines.read()?;
            match line.strip_prefix(&tag) {
                Some(answer) if answer.starts_with("OK") => return Ok(untagged),
                Some(answer) => bail!("the server said: {answer}"),
                None => untagged.push(line),
            }
        }
        bail!("more than {UNTAGGED_MAX} answers to one command")
    }
}
