//! The ground on which the peers meet: one PostgreSQL 15 cluster, one sshd, and every tool configured for both; a
//! second cluster of PostgreSQL 18 for its own incremental backups.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::meter::{Meter, unmeasured};
use crate::support::cluster::{Cluster, ClusterOptions, Version};
use crate::support::manager::Manager;
use crate::support::mount::Mount;
use crate::support::process::{Account, run};
use crate::support::scratch::{Scratch, make_directory, write_file};
use crate::support::sshd::Sshd;
use crate::support::tool::{Tool, cache};

/// Transactions between two incremental backups.
pub const TRANSACTIONS: u32 = 16_000;

/// The servers of barkeep's and Barman's configuration: one catalog for each way of taking backups.
pub const SERVERS: [&str; 3] = ["main", "linked", "chain"];

/// Everything that runs. Fields are dropped in this order.
pub struct Field {
    pub cluster: Cluster,
    pub newer: Option<Cluster>,
    pub sshd: Sshd,
    pub manager: Manager,
    pub barman: Tool,
    pub barkeep: Tool,
    pub scratch: Scratch,
}

impl Field {
    /// Starts the servers and loads them; `newer` asks for the cluster of PostgreSQL 18.
    pub fn start(scale: u32, newer: bool) -> Field {
        let scratch = Scratch::new("bench");
        let barkeep = Tool::barkeep(&scratch);
        let manager = Manager::new(&scratch.join("manager"));
        let sshd = Sshd::start(&scratch, &[barkeep.path()], &manager.config_file());
        let script = scratch.join("archive");
        // While the tables are filled, WAL goes nowhere.
        write_file(&script, "#!/bin/sh\nexit 0\n", 0o755, &Account::named("root"));
        let options = ClusterOptions::new(Version::V15)
            .setting("archive_mode = on")
            .setting(format!("archive_command = '{} %p %f'", script.display()))
            .setting("shared_buffers = 128MB")
            .setting("max_wal_size = 1GB");
        let cluster = Cluster::start(&scratch, "pg", &options);
        cluster.pgbench_init(scale);
        cluster.sql("CHECKPOINT");
        let newer = newer.then(|| {
            let options = ClusterOptions::new(Version::V18)
                .setting("summarize_wal = on")
                .setting("shared_buffers = 128MB")
                .setting("max_wal_size = 1GB");
            let cluster = Cluster::start(&scratch, "pg18", &options);
            cluster.pgbench_init(scale);
            cluster.sql("CHECKPOINT");
            cluster
        });
        let field = Field {
            cluster,
            newer,
            sshd,
            manager,
            barman: Tool::barman(),
            barkeep,
            scratch,
        };
        field.manager.configure("", &field.servers());
        field.configure_pgbackrest();
        field.ship_wal(&[&field.manager]);
        field
    }

    /// What CPU time and memory of the far side are read from.
    pub fn meter(&self) -> Meter {
        let clusters = [Some(&self.cluster), self.newer.as_ref()];
        let servers = clusters.into_iter().flatten().map(Cluster::pid);
        Meter {
            daemons: servers.chain(self.sshd.pid()).collect(),
        }
    }

    fn servers(&self) -> [(&'static str, String); 3] {
        let body = format!(
            "conninfo = {}\nssh_command = {}\narchiver = on\nbackup_method = rsync\nreuse_backup = link\n\
             backup_options = concurrent_backup\nimmediate_checkpoint = true\nparallel_jobs = 2\npath_prefix = {}\n",
            self.cluster.conninfo(),
            self.sshd.command_for("postgres"),
            self.cluster.version.bin().display(),
        );
        SERVERS.map(|name| (name, format!("description = {name}\n{body}")))
    }

    /// WAL goes to every catalog. pgBackRest needs none for what is measured here.
    pub fn ship_wal(&self, managers: &[&Manager]) {
        let mut text = "#!/bin/sh\nset -e\numask 022\n".to_owned();
        for (manager, name) in managers
            .iter()
            .flat_map(|manager| SERVERS.map(|name| (manager, name)))
        {
            let server = manager.server(name);
            for directory in [server.clone(), server.join("incoming")] {
                make_directory(&directory, &manager.account);
                let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
                std::fs::set_permissions(&directory, open).unwrap();
            }
            text.push_str(&format!(
                "cat \"$1\" >{}/\"$2\"\n",
                server.join("incoming").display()
            ));
        }
        write_file(
            &self.scratch.join("archive"),
            text,
            0o755,
            &Account::named("root"),
        );
        for (manager, name) in managers
            .iter()
            .flat_map(|manager| SERVERS.map(|name| (manager, name)))
        {
            let tool = if name == "main" {
                &self.barman
            } else {
                &self.barkeep
            };
            manager.run(tool, &["check", name]);
            let segment = self.cluster.switch_wal();
            self.cluster.wait_archived(&segment);
            manager.run(tool, &["archive-wal", name]).success();
        }
    }

    fn configure_pgbackrest(&self) {
        let scratch = &self.scratch;
        let (barman, postgres) = (Account::barman(), Account::postgres());
        let repository = scratch.directory("pgbackrest", &barman);
        let near_files = scratch.directory("pgbackrest-near", &barman);
        let far_files = scratch.directory("pgbackrest-far", &postgres);
        let paths = |files: &Path| {
            format!(
                "log-path={0}\nlock-path={0}\nspool-path={0}\nlog-level-file=off\ncmd={1}\ncmd-ssh={2}/ssh\n",
                files.display(),
                pgbackrest().display(),
                self.sshd.bin.display()
            )
        };
        let ours = "process-max=2\ncompress-type=none\narchive-check=n\nstart-fast=y\nrepo1-bundle=y\nrepo1-block=y\n\
                    repo1-retention-full=9\n";
        let repository = format!("repo1-path={}\n", repository.display());
        let host = |label: &str, user: &str, config: &Path| {
            format!(
                "{label}-host=127.0.0.1\n{label}-host-user={user}\n{label}-host-port={}\n{label}-host-cmd={}\n\
                 {label}-host-config={}\n",
                self.sshd.port,
                pgbackrest().display(),
                config.display()
            )
        };
        let far_config = self.pgbackrest_config("far");
        let near_config = self.pgbackrest_config("local");
        let place = format!(
            "pg1-path={}\npg1-port={}\npg1-socket-path={}\npg1-user=postgres\n",
            self.cluster.data.display(),
            self.cluster.port,
            self.cluster.socket.display()
        );
        let write = |name: &str, text: String| {
            write_file(&self.pgbackrest_config(name), text, 0o644, &barman);
        };
        let near = paths(&near_files);
        write(
            "near",
            format!(
                "[global]\n{near}{ours}{repository}\n[main]\n{place}{}",
                host("pg1", "postgres", &far_config)
            ),
        );
        // Restores on the backup host, and on the host of the cluster.
        write(
            "local",
            format!("[global]\n{near}{ours}{repository}\n[main]\n{place}"),
        );
        write(
            "far",
            format!(
                "[global]\n{}{ours}{}\n[main]\n{place}",
                paths(&far_files),
                host("repo1", "barman", &near_config)
            ),
        );
    }

    pub fn pgbackrest_config(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("pgbackrest-{name}.conf"))
    }

    /// `pgbackrest` on one of its hosts.
    pub fn pgbackrest(&self, config: &str, arguments: &[&str]) -> Command {
        let account = if config == "far" {
            Account::postgres()
        } else {
            Account::barman()
        };
        let mut command = account.applied_to(Command::new(pgbackrest()));
        command
            .env_clear()
            // It starts its own helpers by the name it was called by.
            .env(
                "PATH",
                format!(
                    "{}:{}:/usr/bin:/bin",
                    cache().join("pgbackrest").display(),
                    self.sshd.bin.display()
                ),
            )
            .env(
                "HOME",
                if config == "far" {
                    "/var/lib/postgresql"
                } else {
                    "/var/lib/barman"
                },
            )
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/tmp")
            .arg(format!("--config={}", self.pgbackrest_config(config).display()))
            .arg("--stanza=main")
            .args(arguments);
        command
    }

    /// `barman` of one of the tools.
    pub fn tool(&self, tool: &Tool, arguments: &[&str]) -> Command {
        self.manager.command(tool, arguments)
    }

    /// A second backup host, whose catalogs lie on an XFS in an image; `None`, with the reason, where none can be mounted.
    pub fn on_xfs(&self) -> Result<(Manager, Mount), String> {
        let manager = Manager::new(&self.scratch.join("xfs"));
        let mount = Mount::xfs(&self.scratch, &manager.home(), 24 << 30, &manager.account)?;
        manager.configure("", &self.servers());
        self.ship_wal(&[&self.manager, &manager]);
        Ok((manager, mount))
    }

    /// A step of a tool that is not measured.
    pub fn quietly(&self, command: Command, what: &str) -> Result<(), String> {
        unmeasured(run(command), what).map(|_| ())
    }

    /// Random updates, and their pages on disk.
    pub fn workload(&self) -> Result<(), String> {
        for cluster in [Some(&self.cluster), self.newer.as_ref()].into_iter().flatten() {
            let mut pgbench = cluster.client("pgbench");
            let each = (TRANSACTIONS / 4).to_string();
            pgbench.args(["-n", "-c", "4", "-j", "2", "-t", &each, "postgres"]);
            self.quietly(pgbench, "pgbench")?;
            cluster.sql("CHECKPOINT");
        }
        let segment = self.cluster.switch_wal();
        self.cluster.wait_archived(&segment);
        for name in SERVERS {
            let archive = self.tool(&self.barkeep, &["archive-wal", name]);
            self.quietly(archive, "archive-wal")?;
        }
        Ok(())
    }
}

pub fn pgbackrest() -> PathBuf {
    cache().join("pgbackrest/pgbackrest")
}
