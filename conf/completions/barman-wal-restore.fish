complete -c barman-wal-restore -s U -l user -d 'The user on the backup host' -r
complete -c barman-wal-restore -l port -d 'The port of its ssh server' -r
complete -c barman-wal-restore -s c -l config -d 'The configuration file to use on the backup host' -r
complete -c barman-wal-restore -s s -l sleep -d 'Wait this many seconds after a failure before reporting it' -r
complete -c barman-wal-restore -s p -l parallel -d 'Fetch up to this many WAL files at once in the background while PostgreSQL replays, and keep twice as many at most; 0 fetches none ahead' -r
complete -c barman-wal-restore -l spool-dir -d 'Where WAL files fetched ahead are kept' -r -F
complete -c barman-wal-restore -l retry -d 'In a recovery that a missing file would end, go on trying for this long when the backup host cannot be reached or fails, and stop PostgreSQL then' -r
complete -c barman-wal-restore -l persist -d 'Keep the connection for this long after its last use, for the next WAL file; 0 keeps none' -r
complete -c barman-wal-restore -s V -l version -d 'Show the version and exit'
complete -c barman-wal-restore -s P -l partial -d 'Accept partial WAL files (.partial) as well'
complete -c barman-wal-restore -s z -l gzip -d 'Have WAL files compressed with gzip on their way'
complete -c barman-wal-restore -s j -l bzip2 -d 'Have WAL files compressed with bzip2 on their way'
complete -c barman-wal-restore -l keep-compression -d 'Have WAL files sent as they are stored, and decompress them here'
complete -c barman-wal-restore -s t -l test -d 'Only test that WAL files can be fetched'
complete -c barman-wal-restore -s h -l help -d 'Print help'
