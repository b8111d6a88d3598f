//! Devices at work.

use super::super::bench::{self, Model, Transfer};
use super::super::machine::Hardware;
use super::super::player::{Answer, Player, Words};
use super::word32;

impl<B: Hardware> Player<B> {
    pub(super) fn op_dma(&mut self, words: &Words<'_>) -> Answer {
        let known = match self.open_device(words.at(1)) {
            Ok(known) => known,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let iova = self.key(words, "iova", 0);
        let mut length = self.key(words, "len", 4) as u32;
        self.clear_watched();
        let bus = match self.known[known].model.clone() {
            Model::Edu(buffer) => {
                length = length.min(buffer.len() as u32);
                self.dma(known)
                    .write(bench::edu_address(iova), &buffer[..length as usize]);
                "edu"
            }
            Model::Tester | Model::Other => {
                Self::bus_word(self.dma(known).write_pattern(iova, length.into()))
            }
        };
        let input = format!("\"iova\":\"{iova:#x}\",\"len\":{length}");
        let landed = self.landed();
        self.clear_watched();
        Answer::of(Ok(0))
            .input(input)
            .output(format!("\"bus\":\"{bus}\",\"landed\":[{landed}]"))
    }

    pub(super) fn op_dmaread(&mut self, words: &Words<'_>) -> Answer {
        let known = match self.open_device(words.at(1)) {
            Ok(known) => known,
            Err(errno) => return Answer::of(Err(errno)),
        };
        let iova = self.key(words, "iova", 0);
        let mut length = self.key(words, "len", 4) as u32;
        let output = if let Model::Edu(mut buffer) = self.known[known].model.clone() {
            length = length.min(buffer.len() as u32);
            self.dma(known)
                .read(bench::edu_address(iova), &mut buffer[..length as usize]);
            self.known[known].model = Model::Edu(buffer.clone());
            self.edu_bounce(words, known, &buffer, length)
        } else {
            let (transfer, word) = self.dma(known).read_word(iova, length.into());
            let data = match transfer {
                Transfer::Whole => word,
                Transfer::Refused => 0,
            };
            let bus = Self::bus_word(transfer);
            format!("\"bus\":\"{bus}\",\"data\":\"{data:#010x}\"")
        };
        let input = format!("\"iova\":\"{iova:#x}\",\"len\":{length}");
        Answer::of(Ok(0)).input(input).output(output)
    }

    /// The word an `edu` device read comes back by way of the region `bounce`, if there is one.
    pub(super) fn edu_bounce(
        &mut self,
        words: &Words<'_>,
        known: usize,
        buffer: &[u8],
        length: u32,
    ) -> String {
        let Some(bounce) = self.memory("bounce") else {
            return "\"bus\":\"edu\"".into();
        };
        for at in (0..4096).step_by(self.page_size as usize) {
            let filled = vec![0xee; 4096.min(self.page_size as usize)];
            // A region too small for the recorder would have stopped it.
            let _ = self.cpu_write(bounce.address + at, &filled);
        }
        let to = self.key(words, "biova", 0);
        self.dma(known)
            .write(bench::edu_address(to), &buffer[..length as usize]);
        let bytes = self.region_bytes(bounce.address);
        let data = bytes.map_or(0, |bytes| word32(&bytes, 0));
        format!("\"bus\":\"edu\",\"data\":\"{data:#010x}\"")
    }
}
