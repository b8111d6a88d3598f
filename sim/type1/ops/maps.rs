//! MAP_DMA, UNMAP_DMA, DIRTY_PAGES, and ioctls by number.

use vfio_type1::abi::{self, dirty_flags, map_flags, unmap_flags};
use zerocopy::IntoBytes;

use super::super::machine::Hardware;
use super::super::player::{Answer, Player, Words};
use super::super::record::hex;
use super::super::user::{Buffers, HEAP, STACK};
use super::word64;

/// Bitmaps from this size on are not read back, nor is memory made for them.
const BITMAP_SHOWN: u64 = 1 << 24;
/// Repetitions of one `map` a test has time for: the recorder gives it 30 seconds.
const REPEAT_MAX: i64 = 1 << 20;

impl<B: Hardware> Player<B> {
    pub(super) fn op_map(&mut self, words: &Words<'_>) -> Answer {
        let mut map = abi::DmaMap {
            argsz: self.key(words, "argsz", 32) as u32,
            flags: self.flags(
                words,
                map_flags::READ | map_flags::WRITE,
                &[
                    ('r', map_flags::READ),
                    ('w', map_flags::WRITE),
                    ('v', map_flags::VADDR),
                ],
            ),
            vaddr: self.key(words, "vaddr", 0),
            iova: self.key(words, "iova", 0),
            size: self.key(words, "size", 0),
        };
        let input = format!(
            "\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\"flags\":{},\"argsz\":{}",
            map.iova, map.size, map.flags, map.argsz
        );
        let repeat = (self.key(words, "rep", 1) as i64).min(REPEAT_MAX);
        let step = self.key(words, "step", map.size);
        let vstep = self.key(words, "vstep", map.size);
        let (mut result, mut done) = (Ok(0), 0);
        while done < repeat {
            (result, _) = self.struct_ioctl(words, abi::IOMMU_MAP_DMA, &map);
            if result.is_err() {
                break;
            }
            map.iova = map.iova.wrapping_add(step);
            map.vaddr = map.vaddr.wrapping_add(vstep);
            done += 1;
        }
        let output = if repeat == 1 {
            String::new()
        } else {
            format!("\"done\":{done}")
        };
        Answer::of(result).input(input).output(output)
    }

    /// The value of `flags=`: a number, or letters.
    pub(super) fn flags(&self, words: &Words<'_>, default: u32, letters: &[(char, u32)]) -> u32 {
        match words.value("flags") {
            None => default,
            Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                self.number(text) as u32
            }
            Some(text) => text
                .chars()
                .filter_map(|c| letters.iter().find(|(letter, _)| *letter == c))
                .fold(0, |flags, (_, bit)| flags | bit),
        }
    }

    /// The bitmap of an operation, and memory for it or the region a script points at.
    pub(super) fn bitmap(&self, words: &Words<'_>) -> (abi::Bitmap, Buffers) {
        let size = self.key(words, "bmsize", 8);
        let pgsize = self.key(words, "bmpg", self.page_size);
        let mut user = Buffers::default();
        let data = match words.value("bmdata") {
            None => HEAP,
            Some(text) => self.number(text),
        };
        if let Some(bytes) = self.region_bytes(data) {
            user = user.with(data, bytes);
        }
        let room = if size < BITMAP_SHOWN { size + 8 } else { 8 };
        let bitmap = abi::Bitmap { pgsize, size, data };
        (bitmap, user.with(HEAP, vec![0; room as usize]))
    }

    pub(super) fn shown_bitmap(user: &Buffers, size: u64) -> String {
        let bytes = user.bytes(HEAP);
        format!(
            "\"bitmap\":\"{}\"",
            hex(&bytes[..bytes.len().min(size as usize)])
        )
    }

    pub(super) fn op_unmap(&mut self, words: &Words<'_>) -> Answer {
        let with_bitmap = words.value("bmpg").is_some();
        let size = if with_bitmap { 48 } else { 24 };
        let mut unmap = abi::DmaUnmap {
            argsz: self.key(words, "argsz", size) as u32,
            flags: self.flags(
                words,
                0,
                &[
                    ('d', unmap_flags::GET_DIRTY_BITMAP),
                    ('a', unmap_flags::ALL),
                    ('v', unmap_flags::VADDR),
                ],
            ),
            iova: self.key(words, "iova", 0),
            size: self.key(words, "size", 0),
        };
        let input = format!(
            "\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\"flags\":{},\"argsz\":{}",
            unmap.iova, unmap.size, unmap.flags, unmap.argsz
        );
        let (mut bitmap, mut user) = self.bitmap(words);
        let bitmap_size = bitmap.size;
        if !with_bitmap {
            bitmap = abi::Bitmap::default();
        }
        let mut bytes = unmap.as_bytes().to_vec();
        bytes.extend_from_slice(bitmap.as_bytes());
        user = user.with(STACK, bytes);
        let fd = self.fd(words.at(1));
        let result = self.ioctl(fd, abi::IOMMU_UNMAP_DMA, STACK, &mut user);
        unmap.size = word64(user.bytes(STACK), 16);
        let mut output = format!("\"size\":\"{:#x}\"", unmap.size);
        if with_bitmap && bitmap_size < BITMAP_SHOWN {
            output += ",";
            output += &Self::shown_bitmap(&user, bitmap_size);
        }
        Answer::of(result).input(input).output(output)
    }

    pub(super) fn op_dirty(&mut self, words: &Words<'_>) -> Answer {
        let named = match words.at(2) {
            "start" => dirty_flags::START,
            "stop" => dirty_flags::STOP,
            "get" => dirty_flags::GET_BITMAP,
            _ => 0,
        };
        let flags = match words.value("flags") {
            Some(text) => self.number(text) as u32,
            None => named,
        };
        let gets = flags & dirty_flags::GET_BITMAP != 0;
        let dirty = abi::DirtyBitmap {
            argsz: self.key(words, "argsz", if gets { 48 } else { 8 }) as u32,
            flags,
        };
        let (bitmap, mut user) = self.bitmap(words);
        let mut range = abi::DirtyRange::default();
        if gets {
            range = abi::DirtyRange {
                iova: self.key(words, "iova", 0),
                size: self.key(words, "size", 0),
                bitmap,
            };
        }
        let input = format!(
            "\"flags\":{flags},\"argsz\":{},\"iova\":\"{:#x}\",\"size\":\"{:#x}\",\
             \"bmpg\":\"{:#x}\",\"bmsize\":\"{:#x}\"",
            dirty.argsz, range.iova, range.size, range.bitmap.pgsize, bitmap.size
        );
        let mut bytes = dirty.as_bytes().to_vec();
        bytes.extend_from_slice(range.as_bytes());
        user = user.with(STACK, bytes);
        let fd = self.fd(words.at(1));
        let result = self.ioctl(fd, abi::IOMMU_DIRTY_PAGES, STACK, &mut user);
        let shown = gets && result == Ok(0) && bitmap.size < BITMAP_SHOWN;
        let output = if shown {
            Self::shown_bitmap(&user, bitmap.size)
        } else {
            String::new()
        };
        Answer::of(result).input(input).output(output)
    }

    pub(super) fn op_raw(&mut self, words: &Words<'_>) -> Answer {
        let fd = self.fd(words.at(1));
        let cmd = self.key(words, "cmd", 0) as u32;
        let arg = self.key(words, "arg", 0);
        let mut user = Buffers::default();
        if let Some(bytes) = self.region_bytes(arg) {
            user = user.with(arg, bytes);
        }
        Answer::of(self.ioctl(fd, cmd, arg, &mut user))
    }
}
