//! GET_INFO and its capabilities, taken apart.

use std::fmt::Write as _;

use iommu_core::Errno;
use vfio_type1::abi;

use super::super::machine::Hardware;
use super::super::player::{Answer, Player, Words};
use super::super::user::{Buffers, STACK};
use super::{word32, word64};

/// What an `info` buffer holds.
const INFO_BUFFER: usize = 4096;

impl<B: Hardware> Player<B> {
    /// GET_INFO into a buffer that held 0xa5 everywhere.
    pub(super) fn get_info(
        &mut self,
        words: &Words<'_>,
        argsz: u64,
    ) -> (Result<i64, Errno>, Vec<u8>) {
        let fd = self.fd(words.at(1));
        let mut bytes = vec![0xa5; INFO_BUFFER];
        bytes[..4].copy_from_slice(&(argsz as u32).to_le_bytes());
        let mut user = Buffers::default().with(STACK, bytes);
        let result = self.ioctl(fd, abi::IOMMU_GET_INFO, STACK, &mut user);
        (result, user.bytes(STACK).to_vec())
    }

    pub(super) fn op_info(&mut self, words: &Words<'_>) -> Answer {
        let argsz = self.key(words, "argsz", INFO_BUFFER as u64);
        let (result, bytes) = self.get_info(words, argsz);
        if result.is_err() {
            return Answer::of(result);
        }
        let flags = word32(&bytes, 4);
        let mut output = format!(
            "\"argsz\":{},\"flags\":{flags},\"iova_pgsizes\":\"{:#x}\"",
            word32(&bytes, 0),
            word64(&bytes, 8)
        );
        if argsz >= 24 {
            let offset = word32(&bytes, 16);
            let _infallible = write!(output, ",\"cap_offset\":{offset}");
            if flags & abi::info::CAPS != 0 && offset != 0 && offset < 4000 {
                let caps: Vec<String> = capabilities(&bytes)
                    .map(|at| show_capability(&bytes, at))
                    .collect();
                let _infallible = write!(output, ",\"caps\":[{}]", caps.join(","));
            }
        }
        Answer::of(result).output(output)
    }

    pub(super) fn op_avail(&mut self, words: &Words<'_>) -> Answer {
        let (result, bytes) = self.get_info(words, INFO_BUFFER as u64);
        if result.is_err() {
            return Answer::of(result);
        }
        let avail = capabilities(&bytes)
            .filter(|at| word32(&bytes, *at) & 0xffff == u32::from(abi::info::CAP_DMA_AVAIL))
            .map(|at| i64::from(word32(&bytes, at + 8)))
            .last();
        Answer::of(result).output(format!("\"avail\":{}", avail.unwrap_or(-1)))
    }
}

/// Where the capabilities of a GET_INFO answer are.
fn capabilities(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let offset = |at: usize| Some(word32(bytes, at) as usize).filter(|next| *next != 0);
    std::iter::successors(offset(16), move |at| offset(at + 4)).take(16)
}

fn show_capability(bytes: &[u8], at: usize) -> String {
    let head = word32(bytes, at);
    let (id, version) = ((head & 0xffff) as u16, head >> 16);
    let next = word32(bytes, at + 4);
    let mut shown = format!("{{\"id\":{id},\"ver\":{version},\"off\":{at},\"next\":{next}");
    match id {
        abi::info::CAP_IOVA_RANGE => {
            let ranges: Vec<String> = (0..word32(bytes, at + 8) as usize)
                .map(|range| {
                    let start = word64(bytes, at + 16 + 16 * range);
                    let end = word64(bytes, at + 24 + 16 * range);
                    format!("[\"{start:#x}\",\"{end:#x}\"]")
                })
                .collect();
            let _infallible = write!(shown, ",\"ranges\":[{}]", ranges.join(","));
        }
        abi::info::CAP_MIGRATION => {
            let _infallible = write!(
                shown,
                ",\"mig_flags\":{},\"pgsize_bitmap\":\"{:#x}\",\"max_dirty_bitmap_size\":\"{:#x}\"",
                word32(bytes, at + 8),
                word64(bytes, at + 16),
                word64(bytes, at + 24)
            );
        }
        abi::info::CAP_DMA_AVAIL => {
            let _infallible = write!(shown, ",\"avail\":{}", word32(bytes, at + 8));
        }
        _ => {}
    }
    shown + "}"
}
