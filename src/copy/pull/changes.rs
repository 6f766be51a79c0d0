//! The receiving half of an incremental copy: changed blocks become incremental files, and are proven to be all.

use super::Outcome;
use super::assemble::{Received, Receiving};
use super::blocks::{Blocks, Old, Place};
use crate::agent::connection::{Answer, Answers};
use crate::agent::message::{Fetched, Response};
use crate::base::error::PathContext;
use crate::copy::chain::ChainError;
use crate::copy::compare::Action;
use crate::copy::conversation::End;
use crate::copy::records::Form;
use crate::postgres::manifest::Checksum;
use crate::postgres::page::SEGMENT_PAGES;

impl Receiving<'_> {
    /// The changed blocks of a file, or all of it when that is better.
    pub(super) fn changes(&mut self, answers: &mut Answers, old: Old) -> Result<Received, End> {
        let (blocks, count) = match self.next(answers)? {
            Answer::Message(Response::Changed { blocks, count }) => (blocks, count),
            Answer::Message(Response::InWhole) => {
                self.pull.tally_blocks(|blocks| blocks.mostly_changed += 1);
                return self.content(answers, None);
            }
            Answer::Message(Response::Failed(failure)) => return self.failed(failure, None),
            _ => return Err(self.nonsense()),
        };
        let numbers = self.numbers(answers, count)?;
        let path = self.pull.incremental_target(self.task)?;
        let algorithm = self.pull.algorithm().unwrap_or(Checksum::None);
        let Some(mut file) = Blocks::begin(path, blocks, numbers, old, algorithm)? else {
            return Err(self.nonsense());
        };
        self.remain(file.ahead());
        let relative = self.pull.recorded_path(self.task)?.unwrap_or_default();
        let place = Place {
            members: &self.pull.members,
            relative: &relative,
        };
        loop {
            let taken = match self.next(answers)? {
                Answer::Data(data) => file.data(data, &place),
                Answer::Message(Response::Zeros { bytes }) if bytes <= file.ahead() => {
                    file.zeros(bytes, &place)
                }
                Answer::Message(Response::Fetched(fetched)) => {
                    let fetched = fetched.clone();
                    return self.changed(file, &fetched, &place);
                }
                Answer::Message(Response::Failed(failure)) => {
                    let path = file.path().to_path_buf();
                    return self.failed(failure, Some(&path));
                }
                Answer::Message(_) => return Err(self.nonsense()),
            };
            match taken {
                Ok(true) => self.remain(file.ahead()),
                Ok(false) => return Err(self.nonsense()),
                Err(ChainError::Path(error)) => return Err(error.into()),
                Err(error) => return Err(End::Fatal(error.into())),
            }
        }
    }

    /// The numbers of the blocks that changed.
    pub(super) fn numbers(&mut self, answers: &mut Answers, count: u32) -> Result<Vec<u32>, End> {
        if count > SEGMENT_PAGES {
            return Err(self.nonsense());
        }
        let count = count as usize;
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            match self.next(answers)? {
                Answer::Data(data) if !data.is_empty() && data.len() % 4 == 0 => {
                    numbers.extend(
                        data.as_chunks::<4>()
                            .0
                            .iter()
                            .map(|four| u32::from_le_bytes(*four)),
                    );
                }
                _ => return Err(self.nonsense()),
            }
        }
        if numbers.len() > count {
            return Err(self.nonsense());
        }
        Ok(numbers)
    }

    /// All changes are here: they count if they are all.
    fn changed(&mut self, file: Blocks, fetched: &Fetched, place: &Place) -> Result<Received, End> {
        self.corrupt(fetched)?;
        let path = file.path().to_path_buf();
        let Some((finished, proven)) = file.finish(fetched, place)? else {
            return Err(self.nonsense());
        };
        let by_lsn = self.task.action == Action::BlocksByLsn;
        if !proven {
            drop(finished);
            std::fs::remove_file(&path).at("remove", &path)?;
            if by_lsn {
                log::info!(
                    "\"{}\" changed in pages whose LSN does not say so: comparing all its pages",
                    self.pull.source_path(self.task)?.display()
                );
                self.pull.tally_blocks(|blocks| blocks.lsn_refuted += 1);
                return Ok(Received::Differently(Action::BlocksByHash));
            }
            self.pull
                .parent_is_damaged(self.task, "it is not what was recorded when it was copied")?;
            return Ok(Received::Differently(Action::Whole));
        }
        let count = finished.count as u64;
        self.pull.tally_blocks(|blocks| {
            if by_lsn {
                blocks.by_lsn += 1;
                blocks.blocks_by_lsn += count;
            } else {
                blocks.by_hash += 1;
                blocks.blocks_by_hash += count;
            }
        });
        let outcome = Outcome {
            attributes: fetched.attributes,
            sum: Some(fetched.sum),
            pages: finished.pages,
            checksum: Some(finished.checksum).filter(|checksum| !checksum.value.is_empty()),
            form: Form::Blocks {
                longest: finished.longest,
            },
            stored: Some(finished.stored),
            reused: false,
            linked: false,
        };
        self.pull.syncer.submit(finished.file, finished.path)?;
        Ok(Received::Complete(fetched.size, outcome))
    }
}
