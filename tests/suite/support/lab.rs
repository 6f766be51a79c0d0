//! The classic setup in one value: a PostgreSQL host, a backup host, ssh both ways, WAL by archive_command.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use super::cluster::{Cluster, ClusterOptions, Version};
use super::manager::Manager;
use super::process::{Account, Finished, eventually};
use super::scratch::{Scratch, make_directory};
use super::sshd::Sshd;
use super::tool::Tool;

/// How WAL gets from PostgreSQL to the backup host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shipping {
    /// `barman-wal-archive` of the given tool, to `put-wal` of the same tool.
    Client,
    /// `rsync` over ssh into the incoming directory.
    Rsync,
    /// `rsync` into the incoming directory, as on one host.
    LocalRsync,
    /// `cp` into the incoming directory, as on one host.
    Copy,
}

/// How to build a [`Lab`].
#[derive(Debug, Clone)]
pub struct LabOptions {
    pub version: Version,
    pub shipping: Shipping,
    /// Lines added to the section of the server `main`.
    pub server: String,
    /// pgbench's scale factor: 15 MB each.
    pub scale: u32,
    pub tablespace: bool,
    /// Whether pages have checksums.
    pub checksums: bool,
    /// Further lines for postgresql.conf.
    pub settings: Vec<String>,
    /// Further arguments of initdb.
    pub initdb: Vec<String>,
    /// Everything is kept in memory, where there is room.
    pub in_memory: bool,
}

/// Hooks that write down, before and after each backup, which backups are held against deletion then.
pub const TELLING_HELD: &str = "pre_backup_script = for lock in home/.main-2*.lock; do [ ! -e $lock ] || flock -n $lock true || \
                                echo $BARMAN_BACKUP_ID $BARMAN_PHASE $lock >>held; done\n\
                                post_backup_script = for lock in home/.main-2*.lock; do [ ! -e $lock ] || flock -n $lock true || \
                                echo $BARMAN_BACKUP_ID $BARMAN_PHASE $lock >>held; done";

impl LabOptions {
    pub fn new(version: Version) -> LabOptions {
        LabOptions {
            version,
            shipping: Shipping::Client,
            server: String::new(),
            scale: 1,
            tablespace: false,
            checksums: true,
            settings: Vec::new(),
            initdb: Vec::new(),
            in_memory: false,
        }
    }

    pub fn in_memory(mut self) -> LabOptions {
        self.in_memory = true;
        self
    }

    pub fn shipping(mut self, shipping: Shipping) -> LabOptions {
        self.shipping = shipping;
        self
    }

    pub fn server(mut self, lines: &str) -> LabOptions {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    pub fn scale(mut self, scale: u32) -> LabOptions {
        self.scale = scale;
        self
    }

    pub fn checksums(mut self, on: bool) -> LabOptions {
        self.checksums = on;
        self
    }

    pub fn setting(mut self, line: &str) -> LabOptions {
        self.settings.push(line.to_owned());
        self
    }

    pub fn initdb(mut self, argument: &str) -> LabOptions {
        self.initdb.push(argument.to_owned());
        self
    }

    pub fn tablespace(mut self) -> LabOptions {
        self.tablespace = true;
        self
    }
}

/// A cluster that is backed up as the server `main`.
///
/// The fields are dropped in this order: servers first, the directory last.
#[derive(Debug)]
pub struct Lab {
    pub cluster: Cluster,
    pub sshd: Sshd,
    pub manager: Manager,
    pub scratch: Scratch,
    /// How the manager reaches the PostgreSQL host, for backups and for restores.
    pub ssh_command: String,
    options: LabOptions,
}

impl Lab {
    /// Starts everything; the WAL client and `put-wal` are those of `tool`.
    #[track_caller]
    pub fn start(label: &str, tool: &Tool, options: &LabOptions) -> Lab {
        let scratch = if options.in_memory {
            Scratch::in_memory(label)
        } else {
            Scratch::new(label)
        };
        let manager = Manager::new(&scratch.join("manager"));
        let sshd = Sshd::start(&scratch, &[tool.path()], &manager.config_file());
        let incoming = manager.server("main").join("incoming");
        let archive_command = match options.shipping {
            Shipping::Client => format!(
                "barman-wal-archive {} -U barman -c {} backup-host main %p",
                tool.leaving_nothing(),
                manager.config_file().display()
            ),
            Shipping::Rsync => format!("rsync -a %p barman@backup-host:{}/%f", incoming.display()),
            Shipping::LocalRsync => format!("rsync -a --chmod=F644 %p {}/%f", incoming.display()),
            Shipping::Copy => format!("cp %p {}/%f", incoming.display()),
        };
        let mut settings = ClusterOptions::new(options.version)
            .setting("archive_mode = on")
            .setting(format!("archive_command = '{archive_command}'"))
            .path(&sshd.bin)
            .path(tool.path());
        settings.checksums = options.checksums;
        settings.settings.extend(options.settings.iter().cloned());
        settings.initdb.clone_from(&options.initdb);
        let cluster = Cluster::start(&scratch, "pg", &settings);
        let lab = Lab {
            ssh_command: sshd.command_for("postgres"),
            cluster,
            sshd,
            manager,
            scratch,
            options: options.clone(),
        };
        lab.configure("");
        if options.tablespace {
            let location = lab.scratch.directory("space", &Account::postgres());
            lab.cluster.sql(&format!(
                "CREATE TABLESPACE space LOCATION '{}'",
                location.display()
            ));
        }
        lab.cluster.pgbench_init(options.scale);
        lab.cluster.sql("CREATE TABLE marks (name text PRIMARY KEY)");
        if options.tablespace {
            lab.cluster
                .sql("ALTER TABLE pgbench_history SET TABLESPACE space");
        }
        if matches!(options.shipping, Shipping::Copy | Shipping::LocalRsync) {
            // As on a real host where both accounts may write: the directory is there and open.
            for directory in [lab.manager.server("main"), incoming] {
                make_directory(&directory, &lab.manager.account);
                std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o777))
                    .unwrap();
            }
        }
        lab
    }

    /// Writes the configuration again with further lines for `main`.
    pub fn configure(&self, more: &str) {
        let body = format!(
            "description = \"The lab\"\nconninfo = {}\nssh_command = {}\narchiver = on\nbackup_method = rsync\n\
             backup_options = concurrent_backup\nreuse_backup = link\nimmediate_checkpoint = true\n\
             path_prefix = {}\n{}{more}",
            self.cluster.conninfo(),
            self.ssh_command,
            self.cluster.version.bin().display(),
            self.options.server,
        );
        self.manager.configure("", &[("main", body)]);
    }

    /// Makes directories and the first archived WAL: after this `backup` works.
    #[track_caller]
    pub fn prepare(&self, tool: &Tool) {
        self.manager.run(tool, &["check", "main"]);
        self.manager
            .run(tool, &["switch-wal", "--force", "--archive", "main"])
            .success();
    }

    /// Runs a backup and waits for its WAL.
    #[track_caller]
    pub fn backup(&self, tool: &Tool, more: &[&str]) -> String {
        let before = self.manager.backup_ids("main");
        // Ids have a resolution of a second.
        if let Some(newest) = before.first() {
            eventually(Duration::from_secs(3), "the next second", || {
                chrono::Utc::now().format("%Y%m%dT%H%M%S").to_string() > *newest
            });
        }
        let mut arguments = vec!["backup", "--wait", "--wait-timeout", "60"];
        arguments.extend(more);
        arguments.push("main");
        self.manager.run(tool, &arguments).success();
        let ids = self.manager.backup_ids("main");
        assert_eq!(
            ids.len(),
            before.len() + 1,
            "one backup more: {before:?} -> {ids:?}"
        );
        ids[0].clone()
    }

    /// Fails unless these backups were held from before the backup `id` until after it (see [`TELLING_HELD`]).
    #[track_caller]
    pub fn expect_held(&self, id: &str, held: &[String]) {
        let text = std::fs::read_to_string(self.manager.directory.join("held")).unwrap_or_default();
        for other in held {
            for phase in ["pre", "post"] {
                let line = format!("{id} {phase} home/.main-{other}.lock");
                assert!(text.lines().any(|known| known == line), "no {line:?} in\n{text}");
            }
        }
    }

    /// Restores as the manager's account (local) and returns the cluster that results, not started.
    #[track_caller]
    pub fn restore(&self, tool: &Tool, name: &str, backup: &str, options: &[&str]) -> Cluster {
        let directory = self.scratch.directory(name, &self.manager.account);
        let data = directory.join("data");
        self.run_restore(tool, &directory, backup, options, &[]).success();
        let mut cluster = Cluster::adopt(data, self.cluster.version, self.manager.account.clone())
            .with_path(&[tool.bin.clone(), self.sshd.bin.clone()]);
        self.point_at_manager(&mut cluster);
        cluster
    }

    /// Restores over ssh as `postgres` and returns the cluster that results, not started.
    #[track_caller]
    pub fn restore_remote(&self, tool: &Tool, name: &str, backup: &str, options: &[&str]) -> Cluster {
        let account = Account::postgres();
        let directory = self.scratch.directory(name, &account);
        let remote = ["--remote-ssh-command", &self.ssh_command];
        self.run_restore(tool, &directory, backup, options, &remote)
            .success();
        let mut cluster = Cluster::adopt(directory.join("data"), self.cluster.version, account)
            .with_path(&[tool.bin.clone(), self.sshd.bin.clone()]);
        self.point_at_manager(&mut cluster);
        cluster
    }

    fn point_at_manager(&self, cluster: &mut Cluster) {
        let config = self.manager.config_file().display().to_string();
        cluster
            .environment
            .insert("BARMAN_CONFIG_FILE".to_owned(), config);
    }

    fn run_restore(
        &self,
        tool: &Tool,
        directory: &Path,
        backup: &str,
        options: &[&str],
        remote: &[&str],
    ) -> Finished {
        let destination = directory.join("data").display().to_string();
        let space = format!("space:{}", directory.join("space").display());
        let mut arguments = vec!["restore"];
        arguments.extend(options);
        arguments.extend(remote);
        if self.options.tablespace {
            arguments.extend(["--tablespace", &space]);
        }
        arguments.extend(["main", backup, &destination]);
        self.manager.run(tool, &arguments)
    }

    /// The directory of one backup in the catalog.
    pub fn base(&self, id: &str) -> PathBuf {
        self.manager.server("main").join("base").join(id)
    }

    /// Waits until everything written so far is archived, on both sides.
    #[track_caller]
    pub fn archive_everything(&self, tool: &Tool) {
        let segment = self.cluster.switch_wal();
        self.cluster.wait_archived(&segment);
        self.manager.run(tool, &["archive-wal", "main"]).success();
    }
}

/// What the tables hold: row counts and order-free sums over whole rows.
const DIGEST: &str = "SELECT concat_ws(' ', \
    (SELECT concat(count(*), ':', sum(hashtextextended(t::text, 0)::numeric)) FROM pgbench_accounts t), \
    (SELECT concat(count(*), ':', sum(hashtextextended(t::text, 0)::numeric)) FROM pgbench_tellers t), \
    (SELECT concat(count(*), ':', sum(hashtextextended(t::text, 0)::numeric)) FROM pgbench_branches t), \
    (SELECT concat(count(*), ':', sum(hashtextextended(t::text, 0)::numeric)) FROM pgbench_history t))";

/// What the tables of a cluster hold.
#[track_caller]
pub fn digest(cluster: &Cluster) -> String {
    cluster.sql(DIGEST)
}

/// A moment of a cluster under load, with every way to name it as a recovery target.
#[derive(Debug, Clone)]
pub struct Moment {
    pub name: String,
    pub time: String,
    pub xid: String,
    pub lsn: String,
    pub digest: String,
}

/// Freezes the pgbench tables, notes the moment, lets the load go on.
///
/// Writers are kept out by a lock while time, xid, LSN and restore point are taken, so each of them names the same
/// state, however busy the server is.
#[track_caller]
pub fn mark(cluster: &Cluster, name: &str) -> Moment {
    let mut session = Session::open(cluster);
    session.command(
        "BEGIN; LOCK TABLE pgbench_accounts, pgbench_tellers, pgbench_branches, pgbench_history IN SHARE MODE;",
    );
    let digest = session.answer(&format!("{DIGEST};"));
    let xid = cluster.sql(&format!(
        "INSERT INTO marks VALUES ('{name}') RETURNING pg_current_xact_id()"
    ));
    let lsn = cluster.sql(&format!("SELECT pg_create_restore_point('{name}')"));
    let time = cluster.sql("SELECT clock_timestamp()");
    session.command("COMMIT;");
    session.close();
    Moment {
        name: name.to_owned(),
        time,
        xid,
        lsn,
        digest,
    }
}

/// One psql session that stays open.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub fn open(cluster: &Cluster) -> Session {
        let mut psql = cluster.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]);
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Session { child, input, output }
    }

    /// Runs statements that print nothing, and waits for them.
    fn command(&mut self, sql: &str) {
        let answer = self.answer(&format!("{sql} SELECT 'done';"));
        assert_eq!(answer, "done", "{sql}");
    }

    /// Runs a statement that prints one line.
    pub fn answer(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}").unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn close(self) {
        let Session {
            mut child,
            input,
            output,
        } = self;
        drop(input);
        drop(output);
        child.wait().unwrap();
    }
}
