# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_barkeep_global_optspecs
    string join \n v/version c/config= color= log-level= q/quiet d/debug f/format= h/help
end

function __fish_barkeep_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_barkeep_global_optspecs) -- $cmd 2>/dev/null
    or begin
        set -e cmd[-1]
        argparse -s (__fish_barkeep_global_optspecs) -- $cmd 2>/dev/null
    end
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_barkeep_using_subcommand
    set -l cmd (__fish_barkeep_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c barkeep -n "__fish_barkeep_needs_command" -s c -l config -d 'Read this configuration file instead of the first that exists of ~/.barman.conf, /etc/barman.conf and /etc/barman/barman.conf' -r -F
complete -c barkeep -n "__fish_barkeep_needs_command" -l color -l colour -d 'When to colour warnings, errors and results of checks: never, always or auto, which means on a terminal' -r -f -a "never\t''
always\t''
auto\t''"
complete -c barkeep -n "__fish_barkeep_needs_command" -l log-level -d 'Log from this level on, whatever the configuration says: NOTSET (everything), DEBUG, INFO, WARNING, ERROR or CRITICAL' -r -f -a "NOTSET\t''
DEBUG\t''
INFO\t''
WARNING\t''
ERROR\t''
CRITICAL\t''"
complete -c barkeep -n "__fish_barkeep_needs_command" -s f -l format -d 'Write lines for people (console) or one JSON document (json)' -r -f -a "console\t''
json\t''"
complete -c barkeep -n "__fish_barkeep_needs_command" -s v -l version -d 'Show the version and exit'
complete -c barkeep -n "__fish_barkeep_needs_command" -s q -l quiet -d 'Show warnings and errors only'
complete -c barkeep -n "__fish_barkeep_needs_command" -s d -l debug -d 'Show debugging lines as well'
complete -c barkeep -n "__fish_barkeep_needs_command" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "help" -d 'Show this help'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-servers" -d 'List the servers'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-server" -d 'List the servers'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-processes" -d 'List the processes that work for a server'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-process" -d 'List the processes that work for a server'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "terminate-process" -d 'Stop a process that works for a server'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "cron" -d 'Do the maintenance that is due: archive WAL files, check backups, apply retention policies'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "lock-directory-cleanup" -d 'Remove lock files that nobody holds'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "backup" -d 'Take a backup of servers'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-backups" -d 'List the backups of servers'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-backup" -d 'List the backups of servers'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "status" -d 'Show the state of servers and of their backups'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "replication-status" -d 'Show who streams WAL from servers, and how far each of them is'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "rebuild-xlogdb" -d 'Write the database of WAL files anew, from the files in the archive'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "restore" -d 'Restore a server, to the end of a backup or to a later point'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "recover" -d 'Restore a server, to the end of a backup or to a later point'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "show-servers" -d 'Show the configuration of servers, and what PostgreSQL says'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "show-server" -d 'Show the configuration of servers, and what PostgreSQL says'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "switch-wal" -d 'Make PostgreSQL close the current WAL file'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "switch-xlog" -d 'Make PostgreSQL close the current WAL file'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "check" -d 'Check that servers are ready to be backed up'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "diagnose" -d 'Write everything that helps to find a problem as one JSON document'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "doctor" -d 'Say what is wrong with servers, in the order in which to repair it, with the commands'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "sync-info" -d 'Write what a passive node asks for: the complete backups, the WAL files and the configuration of a server, as JSON'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "sync-backup" -d 'Copy a backup from the primary node'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "sync-wals" -d 'Copy WAL files from the primary node'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "show-backup" -d 'Show everything about a backup'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "show-backups" -d 'Show everything about a backup'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "list-files" -d 'List the files of a backup'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "delete" -d 'Delete a backup, and the WAL files that nothing needs then'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "get-wal" -d 'Send a WAL file of a server to standard output, or put it into a directory'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "put-wal" -d 'Take WAL files from standard input, as a tar stream, into the incoming directory of a server'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "archive-wal" -d 'Archive the WAL files that have arrived from a server'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "receive-wal" -d 'Receive WAL by streaming replication, until it is stopped'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "check-backup" -d 'Check that the WAL files a backup needs are archived, and set its status accordingly'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "verify-backup" -d 'Check the files of a backup against its manifest, and its pages against their checksums'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "verify" -d 'Check the files of a backup against its manifest, and its pages against their checksums'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "export-backup" -d 'Write a backup to a tar file'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "import-backup" -d 'Add a backup from a tar file that export-backup wrote'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "generate-manifest" -d 'Write the manifest of a backup that has none'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "keep" -d 'Keep a backup from being deleted, whatever the retention policy says'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "merge" -d 'Turn an incremental backup and everything that it builds on into one full backup'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "recovery-windows" -d 'Show the intervals that servers can be recovered to, by backup and timeline, and the gaps in their WAL archives'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "check-wal-archive" -d 'Check that the WAL archive of a server is fit for a new cluster: that it holds no WAL files yet'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "config-switch" -d 'Apply a model to a server, or take it off'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "config-update" -d 'Change options of servers and models in the configuration files'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "convert-config" -d 'Make a configuration of Barman from that of EDB BART or of pgBackRest'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "cloud-wal-archive" -d 'Upload a WAL file to an object store (not in this version)'
complete -c barkeep -n "__fish_barkeep_needs_command" -f -a "cloud-wal-restore" -d 'Fetch a WAL file from an object store (not in this version)'
complete -c barkeep -n "__fish_barkeep_using_subcommand help" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-servers" -l minimal -d 'List names only'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-servers" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-server" -l minimal -d 'List names only'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-server" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-processes" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-process" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand terminate-process" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand cron" -l keep-descriptors -d 'Let the processes that are started write to the standard output and error of this one'
complete -c barkeep -n "__fish_barkeep_using_subcommand cron" -l dry-run -d 'Say what the retention policies would remove and why, and do nothing: nothing is archived or started either'
complete -c barkeep -n "__fish_barkeep_using_subcommand cron" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand lock-directory-cleanup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l incremental -d 'Copy only what changed since this backup: an id, a name, latest, latest-full, or auto, which takes the newest backup that will do, and a full backup where there is none or full_backup_interval is over' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l reuse-backup -d 'What to do with files that have not changed since the previous backup: link or copy them from it, or copy everything again (off); link, if nothing is said' -r -f -a "copy\t''
link\t''
off\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l retry-times -d 'Try a failed copy again this many times' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l retry-sleep -d 'Wait this many seconds before a failed copy is tried again' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -s j -l jobs -d 'Copy with this many workers at the same time' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l jobs-start-batch-period -d 'The number of seconds in which at most one batch of workers starts' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l jobs-start-batch-size -d 'How many workers a batch has' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l bwlimit -d 'Transfer at most this many KiB per second; 0 means no limit' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l wait-timeout -d 'Stop waiting for WAL files after this many seconds' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l keepalive-interval -d 'Send a query every so many seconds to keep the connection to PostgreSQL alive; 0 sends none' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l name -d 'A name by which other commands can refer to the backup' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l check-timeout -d 'Give the checks before the backup this many seconds; 0 means no limit' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l cloud-staging-directory -d 'Where files wait for their upload to an object store' -r -F
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l cloud-staging-max-size -d 'How much the staging directory may hold, as 30Gi' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l immediate-checkpoint -d 'Begin with a fast checkpoint'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l no-immediate-checkpoint -d 'Wait for a spread checkpoint to begin with'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l full -d 'Take a full backup even if full_backup_interval asks for an incremental one'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l resume -d 'Take over what the last attempt that failed has copied, where it is still right'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l no-retry -d 'Do not try a failed copy again'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -s w -l wait -d 'Wait until the WAL files that the backup needs are archived'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l manifest -d 'Write a backup manifest'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -l no-manifest -d 'Write no backup manifest'
complete -c barkeep -n "__fish_barkeep_using_subcommand backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-backups" -l minimal -d 'List ids only'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-backups" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-backup" -l minimal -d 'List ids only'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand status" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand replication-status" -l target -d 'Whom to show: hot-standby, wal-streamer or all' -r -f -a "all\t''
hot-standby\t''
wal-streamer\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand replication-status" -l source -d 'Whom to ask: the host that is backed up (backup-host) or the one that WAL is streamed from (wal-host)' -r -f -a "backup-host\t''
wal-host\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand replication-status" -l minimal -d 'One line for each'
complete -c barkeep -n "__fish_barkeep_using_subcommand replication-status" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand rebuild-xlogdb" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-tli -d 'Follow this timeline: a number, current or latest' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-time -d 'Recover up to this time, as "2026-01-31 23:59:59.123+01:00"' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-xid -d 'Recover up to this transaction' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-lsn -d 'Recover up to this position in the WAL' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-name -d 'Recover up to this restore point, made with pg_create_restore_point()' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l tablespace -d 'Put a tablespace somewhere else; may be repeated' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l remote-ssh-command -d 'Restore to another host, reached by this ssh command, as "ssh postgres@db2"' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l staging-wal-directory -d 'Where WAL files wait, on the host restored to, until PostgreSQL reads them; barman_wal in the destination directory, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l retry-times -d 'Try a failed copy again this many times' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l retry-sleep -d 'Wait this many seconds before a failed copy is tried again' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -s j -l jobs -d 'Copy with this many workers at the same time' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l jobs-start-batch-period -d 'The number of seconds in which at most one batch of workers starts' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l jobs-start-batch-size -d 'How many workers a batch has' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l bwlimit -d 'Transfer at most this many KiB per second; 0 means no limit' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-action -d 'What PostgreSQL does when it has reached the target: pause, shutdown or promote' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l recovery-staging-path -d 'Accepted and not needed: nothing is staged on the host restored to (deprecated: --staging-path)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l local-staging-path -d 'Accepted and not needed: nothing is staged on this host (deprecated: --staging-path)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l staging-path -d 'Accepted and not needed: a backup is decrypted, decompressed and combined on its way into the destination' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l staging-location -d 'Accepted and not needed, as --staging-path: local or remote' -r -f -a "local\t''
remote\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l combine-mode -d 'Accepted and not needed, as --staging-path: copy, link, clone or copy-file-range' -r -f -a "copy\t''
link\t''
clone\t''
copy-file-range\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l recovery-conf-filename -d 'The file that gets the recovery options (PostgreSQL 12 or newer); postgresql.auto.conf, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l recovery-option-port -d 'The port that the generated barman-wal-restore command connects to' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l restore-command -d 'The restore_command to write instead of the generated one; with get-wal' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l snapshot-recovery-instance -d 'The instance to which the disks made from snapshots are attached' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l snapshot-recovery-zone -d 'The zone of that instance (deprecated: --gcp-zone)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l gcp-zone -d 'The Google Cloud zone of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l azure-resource-group -d 'The Azure resource group of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l aws-region -d 'The AWS region of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l target-immediate -d 'Stop as soon as the data are consistent'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l exclusive -d 'Stop just before the target instead of just after it'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l no-retry -d 'Do not try a failed copy again'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l get-wal -d 'Let PostgreSQL fetch WAL files from here while it recovers'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l no-get-wal -d 'Copy the WAL files now'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l partial-wal -d 'Copy partial WAL files (.partial) as well; with --no-get-wal'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l network-compression -d 'Compress data on their way to another host'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l no-network-compression -d 'Do not compress data on their way to another host'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l standby-mode -d 'Start as a standby'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l dry-run -d 'Say what would be copied and what --delta-restore would remove, and do nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l delta-restore -d 'Reuse what is already in the destination directory'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -l no-delta-restore -d 'Restore into an empty directory only'
complete -c barkeep -n "__fish_barkeep_using_subcommand restore" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-tli -d 'Follow this timeline: a number, current or latest' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-time -d 'Recover up to this time, as "2026-01-31 23:59:59.123+01:00"' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-xid -d 'Recover up to this transaction' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-lsn -d 'Recover up to this position in the WAL' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-name -d 'Recover up to this restore point, made with pg_create_restore_point()' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l tablespace -d 'Put a tablespace somewhere else; may be repeated' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l remote-ssh-command -d 'Restore to another host, reached by this ssh command, as "ssh postgres@db2"' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l staging-wal-directory -d 'Where WAL files wait, on the host restored to, until PostgreSQL reads them; barman_wal in the destination directory, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l retry-times -d 'Try a failed copy again this many times' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l retry-sleep -d 'Wait this many seconds before a failed copy is tried again' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -s j -l jobs -d 'Copy with this many workers at the same time' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l jobs-start-batch-period -d 'The number of seconds in which at most one batch of workers starts' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l jobs-start-batch-size -d 'How many workers a batch has' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l bwlimit -d 'Transfer at most this many KiB per second; 0 means no limit' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-action -d 'What PostgreSQL does when it has reached the target: pause, shutdown or promote' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l recovery-staging-path -d 'Accepted and not needed: nothing is staged on the host restored to (deprecated: --staging-path)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l local-staging-path -d 'Accepted and not needed: nothing is staged on this host (deprecated: --staging-path)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l staging-path -d 'Accepted and not needed: a backup is decrypted, decompressed and combined on its way into the destination' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l staging-location -d 'Accepted and not needed, as --staging-path: local or remote' -r -f -a "local\t''
remote\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l combine-mode -d 'Accepted and not needed, as --staging-path: copy, link, clone or copy-file-range' -r -f -a "copy\t''
link\t''
clone\t''
copy-file-range\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l recovery-conf-filename -d 'The file that gets the recovery options (PostgreSQL 12 or newer); postgresql.auto.conf, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l recovery-option-port -d 'The port that the generated barman-wal-restore command connects to' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l restore-command -d 'The restore_command to write instead of the generated one; with get-wal' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l snapshot-recovery-instance -d 'The instance to which the disks made from snapshots are attached' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l snapshot-recovery-zone -d 'The zone of that instance (deprecated: --gcp-zone)' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l gcp-zone -d 'The Google Cloud zone of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l azure-resource-group -d 'The Azure resource group of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l aws-region -d 'The AWS region of that instance' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l target-immediate -d 'Stop as soon as the data are consistent'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l exclusive -d 'Stop just before the target instead of just after it'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l no-retry -d 'Do not try a failed copy again'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l get-wal -d 'Let PostgreSQL fetch WAL files from here while it recovers'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l no-get-wal -d 'Copy the WAL files now'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l partial-wal -d 'Copy partial WAL files (.partial) as well; with --no-get-wal'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l network-compression -d 'Compress data on their way to another host'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l no-network-compression -d 'Do not compress data on their way to another host'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l standby-mode -d 'Start as a standby'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l dry-run -d 'Say what would be copied and what --delta-restore would remove, and do nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l delta-restore -d 'Reuse what is already in the destination directory'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -l no-delta-restore -d 'Restore into an empty directory only'
complete -c barkeep -n "__fish_barkeep_using_subcommand recover" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand show-servers" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand show-server" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-wal" -l archive-timeout -d 'Stop waiting after this many seconds; 0 means never' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-wal" -l force -d 'Issue a checkpoint before, so that there is something to close'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-wal" -l archive -d 'Wait until the WAL file is archived'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-wal" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-xlog" -l archive-timeout -d 'Stop waiting after this many seconds; 0 means never' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-xlog" -l force -d 'Issue a checkpoint before, so that there is something to close'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-xlog" -l archive -d 'Wait until the WAL file is archived'
complete -c barkeep -n "__fish_barkeep_using_subcommand switch-xlog" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand check" -l check-timeout -d 'Give the checks of a server this many seconds; 0 means no limit' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand check" -l nagios -d 'Answer as a Nagios plugin does'
complete -c barkeep -n "__fish_barkeep_using_subcommand check" -l hints -d 'Say what to do about failures, also where the output is no terminal; in JSON as well'
complete -c barkeep -n "__fish_barkeep_using_subcommand check" -l no-hints -d 'Do not say what to do about failures'
complete -c barkeep -n "__fish_barkeep_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c barkeep -n "__fish_barkeep_using_subcommand diagnose" -l show-config-source -d 'Say in which file each value of the configuration was found'
complete -c barkeep -n "__fish_barkeep_using_subcommand diagnose" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand doctor" -l fix -d 'Create missing directories and remove lock files that nobody holds; show the SQL for the rest in one piece'
complete -c barkeep -n "__fish_barkeep_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-info" -l hold -d 'Keep this backup from being deleted until the standard input ends' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-info" -l primary -d 'Ask the primary node of the server'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-info" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-backup" -l dry-run -d 'Say what would be copied, and copy nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-wals" -l dry-run -d 'Say what would be copied, and copy nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand sync-wals" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand show-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand show-backups" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-files" -l target -d 'What to list: data, the files of the backup; standalone, those and the WAL files it needs; wal, its WAL files up to the next backup; full, data and wal' -r -f -a "standalone\t''
data\t''
wal\t''
full\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand list-files" -l list-empty-directories -d 'List empty directories as well'
complete -c barkeep -n "__fish_barkeep_using_subcommand list-files" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand delete" -l dry-run -d 'Say what would be removed and why, and do nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand delete" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s o -l output-directory -d 'Put the WAL file into this directory, under its own name' -r -F
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s p -l peek -d 'List the names of up to this many archived WAL files, from the given one on, and send none' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s P -l partial -d 'Find partial WAL files (.partial) as well'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s z -s x -l gzip -d 'Compress with gzip what is sent'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s j -l bzip2 -d 'Compress with bzip2 what is sent'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -l keep-compression -d 'Send the WAL file as it is stored'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s t -l test -d 'Only test that WAL files of the server can be sent'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -l series -d 'Send the WAL files whose names are read from standard input, for barman-wal-restore'
complete -c barkeep -n "__fish_barkeep_using_subcommand get-wal" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand put-wal" -s t -l test -d 'Only test that WAL files of the server can be taken'
complete -c barkeep -n "__fish_barkeep_using_subcommand put-wal" -l xxh128 -d 'The list of checksums will be XXH128SUMS (barman-wal-archive says so to a barkeep)'
complete -c barkeep -n "__fish_barkeep_using_subcommand put-wal" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand archive-wal" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -l stop -d 'Stop the process that receives WAL of the server'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -l reset -d 'Start over from the position of the server'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -l create-slot -d 'Create the replication slot'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -l if-not-exists -d 'With --create-slot: be content with a slot that exists'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -l drop-slot -d 'Drop the replication slot'
complete -c barkeep -n "__fish_barkeep_using_subcommand receive-wal" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand check-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand verify-backup" -s j -l jobs -d 'Read this many files at the same time; parallel_jobs of the configuration, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand verify-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand verify" -s j -l jobs -d 'Read this many files at the same time; parallel_jobs of the configuration, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand verify" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand export-backup" -l compression -d 'Compress the tar file: gzip, bzip2 or xz' -r -f -a "gzip\t''
bzip2\t''
xz\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand export-backup" -l compression-level -d 'The level of compression: 1 to 9 for gzip and bzip2, 0 to 9 for xz' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand export-backup" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand import-backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c barkeep -n "__fish_barkeep_using_subcommand generate-manifest" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand keep" -l target -d 'Keep the backup with the WAL files it needs by itself (standalone), or with all later ones (full)' -r -f -a "full\t''
standalone\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand keep" -s r -l release -d 'Let the backup go again'
complete -c barkeep -n "__fish_barkeep_using_subcommand keep" -s s -l status -d 'Say whether the backup is kept'
complete -c barkeep -n "__fish_barkeep_using_subcommand keep" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand merge" -s j -l jobs -d 'Change this many files at the same time; parallel_jobs of the configuration, if nothing is said' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand merge" -l dry-run -d 'Say what would be done, and do nothing'
complete -c barkeep -n "__fish_barkeep_using_subcommand merge" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand recovery-windows" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c barkeep -n "__fish_barkeep_using_subcommand check-wal-archive" -l timeline -d 'Allow WAL files of earlier timelines than this one' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand check-wal-archive" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand config-switch" -l reset -d 'Take the active model off'
complete -c barkeep -n "__fish_barkeep_using_subcommand config-switch" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand config-update" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand convert-config" -l from -d 'What the file is from: bart (bart.cfg) or pgbackrest (pgbackrest.conf)' -r -f -a "bart\t''
pgbackrest\t''"
complete -c barkeep -n "__fish_barkeep_using_subcommand convert-config" -l output -d 'Write the configuration to this file, which must not exist, instead of to standard output' -r -F
complete -c barkeep -n "__fish_barkeep_using_subcommand convert-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c barkeep -n "__fish_barkeep_using_subcommand cloud-wal-archive" -s p -l parallel -d 'Upload up to this many WAL files at the same time' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand cloud-wal-archive" -s h -l help -d 'Print help'
complete -c barkeep -n "__fish_barkeep_using_subcommand cloud-wal-restore" -s p -l parallel -d 'Look ahead and fetch this many WAL files at the same time' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand cloud-wal-restore" -l spool-dir -d 'Where WAL files fetched ahead are kept' -r
complete -c barkeep -n "__fish_barkeep_using_subcommand cloud-wal-restore" -s h -l help -d 'Print help'

function __fish_barkeep_names
    barkeep complete (commandline -opc)[2..] 2>/dev/null
end

function __fish_barkeep_has_names
    __fish_barkeep_needs_command >/dev/null
    and return 1
    set -l names (__fish_barkeep_names)
    set -q names[1]
end

complete -c barkeep -n "__fish_barkeep_has_names" -f -k -a "(__fish_barkeep_names)"
