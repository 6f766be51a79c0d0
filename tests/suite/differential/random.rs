//! Random catalogs.

use std::path::{Path, PathBuf};

use super::servers::server;
use crate::support::catalog::Backup;
use crate::support::random::Random;
use crate::support::scratch::Scratch;
use crate::support::tool::Tool;
use crate::support::tree::copy_of;
use crate::support::warm_barman::{Request, WarmBarman};

/// Where the tools think that they are: with summer time now, then, never, and by half an hour.
const TIME_ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/New_York",
];

/// A home with random servers.
pub struct Home {
    pub scratch: Scratch,
    pub servers: Vec<Server>,
    pub time_zone: &'static str,
}

/// A copy of a home.
pub struct Copy {
    pub home: PathBuf,
    pub config: PathBuf,
}

/// One random server.
#[derive(Clone)]
pub struct Server {
    pub name: String,
    pub policy: Option<&'static str>,
    pub minimum_redundancy: u32,
    /// More lines of its configuration.
    pub options: String,
    pub backups: Vec<Backup>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            formatter,
            "{}, policy {:?}, minimum_redundancy {}, {:?}",
            self.name, self.policy, self.minimum_redundancy, self.options
        )?;
        for backup in &self.backups {
            writeln!(
                formatter,
                "  {} {} {} parent {:?} keep {:?} timeline {} segments {:?} {:?}",
                backup.id,
                backup.status,
                backup.mode,
                backup.parent,
                backup.keep,
                backup.timeline,
                backup.segments,
                backup.overrides
            )?;
        }
        Ok(())
    }
}

impl Home {
    pub fn path(&self) -> PathBuf {
        self.scratch.join("home")
    }

    pub fn config(&self) -> PathBuf {
        self.scratch.join("barman.conf")
    }

    /// Builds `count` servers.
    pub fn generate(random: &mut Random, count: u32) -> Home {
        let scratch = Scratch::in_memory("random");
        let home = scratch.join("home");
        let servers: Vec<Server> = (0..count).map(|number| server(random, &home, number)).collect();
        let mut config = format!(
            "[barman]\nbarman_home = {}\nbarman_user = root\nlog_file = {}\n",
            home.display(),
            scratch.join("barman.log").display()
        );
        for server in &servers {
            config.push_str(&format!(
                "\n[{}]\narchiver = on\nbackup_options = concurrent_backup\nssh_command = ssh nowhere\n\
                 conninfo = host=/nonexistent\nminimum_redundancy = {}\n{}",
                server.name, server.minimum_redundancy, server.options
            ));
            if let Some(policy) = server.policy {
                config.push_str(&format!("retention_policy = {policy}\n"));
            }
        }
        std::fs::write(scratch.join("barman.conf"), config).unwrap();
        Home {
            scratch,
            servers,
            time_zone: random.pick(&TIME_ZONES),
        }
    }

    /// Another home with the same configuration over a copy of everything.
    pub fn copied(&self, name: &str) -> Copy {
        let home = copy_of(&self.path(), &self.scratch.join(name));
        let text = std::fs::read_to_string(self.config()).unwrap();
        let config = self.scratch.join(format!("{name}.conf"));
        let text = text.replace(self.path().to_str().unwrap(), home.to_str().unwrap());
        std::fs::write(&config, text).unwrap();
        Copy { home, config }
    }

    /// Runs real Barman on the home and returns what it printed, both streams together.
    pub fn barman(&self, barman: &WarmBarman, arguments: &[&str]) -> String {
        self.barman_with(barman, &self.config(), arguments)
    }

    pub fn barman_with(&self, barman: &WarmBarman, config: &Path, arguments: &[&str]) -> String {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.scratch.join(name));
        barman.run(&Request {
            words: &[&["-c", config.to_str().unwrap()], arguments].concat(),
            directory: &self.path(),
            environment: &self.environment(),
            stdout: &stdout,
            stderr: &stderr,
        });
        let text = |file: &Path| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        text(&stdout) + &text(&stderr)
    }

    /// Runs the tool under test on the home and returns what it printed, both streams together.
    pub fn barkeep(&self, tool: &Tool, arguments: &[&str]) -> String {
        self.barkeep_with(tool, &self.config(), arguments)
    }

    pub fn barkeep_with(&self, tool: &Tool, config: &Path, arguments: &[&str]) -> String {
        let output = std::process::Command::new(tool.program("barman"))
            .arg("-c")
            .arg(config)
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(self.environment())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn environment(&self) -> [(&'static str, &'static str); 4] {
        [
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", self.time_zone),
            ("PATH", "/usr/lib/postgresql/15/bin:/usr/bin:/bin"),
        ]
    }
}
