complete -c barman-wal-archive -s U -l user -d 'The user on the backup host' -r
complete -c barman-wal-archive -l port -d 'The port of its ssh server' -r
complete -c barman-wal-archive -s c -l config -d 'The configuration file to use on the backup host' -r
complete -c barman-wal-archive -l compression-level -d 'The level of compression: low, medium, high or a number' -r
complete -c barman-wal-archive -l persist -d 'Keep the connection for this long after its last use, for the next WAL file; 0 keeps none' -r
complete -c barman-wal-archive -l look-ahead -d 'Send up to this many of the segments that wait behind WAL_PATH along with it, and as many again in the background while PostgreSQL asks for those; 0 sends it alone' -r
complete -c barman-wal-archive -s V -l version -d 'Show the version and exit'
complete -c barman-wal-archive -s t -l test -d 'Only test that WAL files can be sent'
complete -c barman-wal-archive -l md5 -d 'Send MD5 checksums instead of SHA-256, which old backup hosts do not know'
complete -c barman-wal-archive -s z -l gzip -d 'Compress the WAL file with gzip'
complete -c barman-wal-archive -s j -l bzip2 -d 'Compress the WAL file with bzip2'
complete -c barman-wal-archive -l xz -d 'Compress the WAL file with xz'
complete -c barman-wal-archive -l snappy -d 'Compress the WAL file with snappy'
complete -c barman-wal-archive -l zstd -d 'Compress the WAL file with zstd'
complete -c barman-wal-archive -l lz4 -d 'Compress the WAL file with lz4'
complete -c barman-wal-archive -s h -l help -d 'Print help'
