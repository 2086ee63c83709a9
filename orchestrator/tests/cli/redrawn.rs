//! Watching on a terminal: a real one, and what its screen shows at the end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rientro_types::CampaignView;
use rientro_wire::operator::WatchEvent;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::server::Canned;
use crate::{Cell, RUN_TIMEOUT, fixtures};

/// What was read of the terminal and not yet shown, in reads.
const READS_QUEUED: usize = 64;
/// What Ctrl-C sends.
const INTERRUPT: &[u8] = b"\x03";

/// As much of a terminal as the command makes use of. Anything else that it sends is an error.
struct Screen {
    columns: usize,
    rows: Vec<String>,
    cursor: (usize, usize),
    cursor_shown: bool,
    /// Lines that went out at the top.
    scrolled: Vec<String>,
    /// Pictures begun by going up to the top of the one before, and by clearing all.
    redrawn: usize,
    cleared: usize,
    /// The size has changed, and what comes may be drawn for the one before.
    outdated: bool,
    /// Bytes of a sequence that is not complete.
    pending: Vec<u8>,
}

impl Screen {
    fn new(columns: u16, rows: u16) -> Self {
        Self {
            columns: columns.into(),
            rows: vec![String::new(); rows.into()],
            cursor: (0, 0),
            cursor_shown: true,
            scrolled: Vec::new(),
            redrawn: 0,
            cleared: 0,
            outdated: false,
            pending: Vec::new(),
        }
    }

    /// Fewer or more rows and columns: what does not fit is cut off. So is what was drawn for the size before and is still on
    /// its way, until the screen is cleared.
    fn resize(&mut self, columns: u16, rows: u16) {
        self.outdated = true;
        self.columns = columns.into();
        self.rows.resize(rows.into(), String::new());
        for row in &mut self.rows {
            *row = row.chars().take(self.columns).collect();
        }
        self.cursor.0 = self.cursor.0.min(self.rows.len() - 1);
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.pending.push(*byte);
            if self.pending[0] != 0x1b {
                if let Ok(text) = std::str::from_utf8(&self.pending) {
                    let character = text.chars().next().expect("a character");
                    self.pending.clear();
                    self.character(character);
                }
            } else if self.pending.len() > 2 && (0x40..0x7f).contains(byte) {
                let sequence = String::from_utf8(std::mem::take(&mut self.pending)).expect("ASCII");
                self.sequence(&sequence[1..]);
            }
        }
    }

    fn character(&mut self, character: char) {
        match character {
            '\r' => self.cursor.1 = 0,
            '\n' if self.cursor.0 + 1 == self.rows.len() => {
                let gone = self.rows.remove(0);
                self.rows.push(String::new());
                if !self.outdated {
                    self.scrolled.push(gone);
                }
            }
            '\n' => self.cursor.0 += 1,
            control if control.is_control() => panic!("{control:?} is sent to the terminal"),
            shown => {
                let (row, column) = self.cursor;
                if column >= self.columns {
                    assert!(
                        self.outdated,
                        "a line is longer than the terminal is wide: {:?}",
                        self.rows[row]
                    );
                    return;
                }
                let mut line: Vec<char> = self.rows[row].chars().collect();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = shown;
                self.rows[row] = line.into_iter().collect();
                self.cursor.1 += 1;
            }
        }
    }

    fn sequence(&mut self, sequence: &str) {
        let (row, column) = self.cursor;
        match sequence {
            "[?25l" => self.cursor_shown = false,
            "[?25h" => self.cursor_shown = true,
            "[H" => self.cursor = (0, 0),
            "[2J" => {
                self.outdated = false;
                self.rows.fill(String::new());
                self.cleared += 1;
            }
            "[K" => self.rows[row] = self.rows[row].chars().take(column).collect(),
            "[J" => {
                self.rows[row] = self.rows[row].chars().take(column).collect();
                self.rows[row + 1..].fill(String::new());
            }
            up if up.ends_with('A') => {
                let rows: usize = up[1..up.len() - 1].parse().expect("a number of rows");
                self.cursor.0 = row.saturating_sub(rows);
                self.redrawn += 1;
            }
            tone if tone.ends_with('m') => {}
            other => panic!("the sequence {other:?} is sent to the terminal"),
        }
    }

    /// All that was ever shown and not drawn over.
    fn text(&self) -> String {
        self.scrolled.iter().chain(&self.rows).map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    fn times(&self, what: &str) -> usize {
        self.text().matches(what).count()
    }
}

/// `rientro watch` on a terminal of its own.
struct Watched {
    command: Child,
    terminal: OwnedFd,
    read: mpsc::Receiver<Vec<u8>>,
    screen: Screen,
}

impl Watched {
    async fn start(canned: Canned, (columns, rows): (u16, u16)) -> Self {
        let cell = Cell::new(canned).await;
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).expect("the terminal is ours");
        unlockpt(&terminal).expect("the terminal can be opened");
        resize(&terminal, columns, rows);
        let name = ptsname(&terminal, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
        let end = || File::options().read(true).write(true).open(&name).expect("its other end");
        // In a session of its own, whose terminal it is: Ctrl-C there interrupts it.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_rientro"), "watch", "return-1"]);
        command
            .env_clear()
            .envs([("RIENTRO_ENDPOINT", &cell.endpoint[..]), ("TZ", "UTC"), ("TERM", "xterm")])
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(end())
            .stdout(end())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let spawned = command.spawn().expect("rientro runs");
        // Holds the other end, which has to be closed for the terminal to have an end.
        drop(command);
        let (to, read) = mpsc::channel(READS_QUEUED);
        let mut file = File::from(terminal.try_clone().expect("one more descriptor"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // An error when nobody has the other end any more.
            while let Ok(count @ 1..) = file.read(&mut bytes) {
                if to.blocking_send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { command: spawned, terminal, read, screen: Screen::new(columns, rows) }
    }

    /// Shows what is sent until the screen is so.
    async fn until(&mut self, condition: impl Fn(&Screen) -> bool) {
        while !condition(&self.screen) {
            let read = tokio::time::timeout(RUN_TIMEOUT, self.read.recv()).await.expect("it goes on");
            let text = self.screen.text();
            self.screen.take(&read.unwrap_or_else(|| panic!("it ended: {text}")));
        }
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        resize(&self.terminal, columns, rows);
        self.screen.resize(columns, rows);
    }

    async fn press(&mut self, keys: &[u8]) {
        let mut file = File::from(self.terminal.try_clone().expect("one more descriptor"));
        file.write_all(keys).expect("it can be typed");
    }

    /// Shows all that is sent, to the end; how it ended.
    async fn ended(mut self) -> (Screen, i32) {
        let shown = async {
            while let Some(read) = self.read.recv().await {
                self.screen.take(&read);
            }
            self.command.wait().await.expect("it can be waited for").code()
        };
        let code = tokio::time::timeout(RUN_TIMEOUT, shown).await.expect("it ends");
        (self.screen, code.expect("not killed"))
    }
}

fn resize(terminal: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("it has a size");
}

/// A stream for each view, which ends after it: so each is drawn, and that the connection is lost is, too.
fn watches(views: Vec<CampaignView>) -> Canned {
    let script = |view| vec![WatchEvent::Campaign(Box::new(view))];
    Canned { watches: views.into_iter().map(script).collect(), ..Canned::default() }
}

/// One picture, drawn again and again in one place: what it shows in the end it shows once, and the cursor is back.
#[tokio::test]
async fn a_terminal_shows_the_last_picture_once_and_has_its_cursor_back() {
    let canned = watches(vec![fixtures::campaign(), fixtures::campaign(), fixtures::campaign_back()]);
    let mut watched = Watched::start(canned, (100, 30)).await;
    watched.until(|screen| screen.redrawn > 0).await;
    assert!(!watched.screen.cursor_shown, "it does not flicker over the picture");
    let (screen, code) = watched.ended().await;
    assert_eq!(code, 0, "{}", screen.text());
    assert!(screen.redrawn > 1, "{} drawn over", screen.redrawn);
    assert!(screen.scrolled.is_empty(), "scrolled: {}", screen.text());
    let once = ["return-1  ended", "WAVE ", "back    ", "shards  8 open"].map(|what| screen.times(what));
    assert_eq!(once, [1; 4], "{}", screen.text());
    assert_eq!(screen.times("running"), 0, "nothing of earlier pictures is left: {}", screen.text());
    assert!(screen.cursor_shown);
}

/// In a smaller window nothing of the larger picture is left, and none of it scrolls away; Ctrl-C gives the cursor back.
#[tokio::test]
async fn a_smaller_window_is_drawn_anew_and_ctrl_c_gives_the_cursor_back() {
    let mut watched = Watched::start(watches(vec![fixtures::campaign()]), (100, 30)).await;
    watched.until(|screen| screen.redrawn > 0).await;
    watched.resize(60, 12);
    watched.until(|screen| screen.cleared > 0).await;
    let redrawn = watched.screen.redrawn;
    watched.until(|screen| screen.redrawn > redrawn).await;
    watched.press(INTERRUPT).await;
    let (screen, code) = watched.ended().await;
    assert_eq!(code, 130, "{}", screen.text());
    assert_eq!(screen.times("return-1  "), 1, "{}", screen.text());
    assert!(screen.scrolled.is_empty(), "scrolled: {}", screen.text());
    assert!(screen.cursor_shown);
}
