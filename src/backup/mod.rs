//! Base backups: the state machine from the first check to the last WAL file (behaviour reference §4–§7).

mod held;
mod start_stop;

#[cfg(test)]
mod tests;
