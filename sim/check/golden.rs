//! Golden scenarios: random tables, registers and accesses with QEMU's answer and, where QEMU
//! departs from it, the architecture's (`golden*.jsonl`).

use std::path::Path;

use serde::Deserialize;
use smmu::addr::{Iova, Pa};
use smmu::config::{IdRegisters, SmmuConfig};
use smmu::ids::StreamId;
use smmu::mem::{AccessClass, BusAbort, BusResult, PhysMem, Ram, RamPort};
use smmu::regfile::Width;
use smmu::{Smmu, Transaction};

use super::{Answer, CheckError, Report};

/// The part all golden scenarios were recorded on.
const PART: IdRegisters = IdRegisters {
    idr0: 0x0d44_101b,
    idr1: 0x0273_0010,
    idr2: 0,
    idr3: 0x1414,
    idr5: 0x74,
    aidr: 1,
};

/// RAM of the machine they were recorded on.
const RAM: (u64, u64) = (0x4000_0000, 0x10_0000_0000);

/// SMMUEN=0 and an address beyond OAS: the architecture aborts, QEMU passes it on into nothing and
/// the recording takes that for the architecture's answer too.
const DISABLED_BEYOND_OAS: &str = "D1 (SMMUEN=0, address beyond OAS)";

/// A scenario with its answers.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    pub(super) id: u64,
    pub(super) scenario: Scenario,
    pub(super) out: Vec<Recorded>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scenario {
    pub(super) ram: Vec<(u64, String)>,
    pub(super) regs: Vec<(u32, u8, u64)>,
    pub(super) accesses: Vec<DeviceAccess>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeviceAccess {
    pub(super) sid: u32,
    pub(super) iova: u64,
    pub(super) write: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    pub(super) qemu: RecordedAnswer,
    pub(super) agree: bool,
    arch: Option<RecordedAnswer>,
    #[cfg(test)]
    #[serde(default)]
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RecordedAnswer {
    pub(super) ok: bool,
    pub(super) pa: Option<u64>,
    pub(super) events: Vec<String>,
    pub(super) why: Option<String>,
    /// Where the access went, although nothing answered there.
    #[serde(alias = "out_pa")]
    pub(super) trace_pa: Option<u64>,
}

/// Compares every access of every scenario in `text`.
pub(super) fn check(path: &Path, text: &str, report: &mut Report) -> Result<(), CheckError> {
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let error = |what: String| CheckError::Line {
            path: path.into(),
            line: number + 1,
            what,
        };
        let case: Case = serde_json::from_str(line).map_err(|e| error(e.to_string()))?;
        check_case(path, &case, report).map_err(error)?;
    }
    Ok(())
}

fn check_case(path: &Path, case: &Case, report: &mut Report) -> Result<(), String> {
    let Scenario {
        ram: contents,
        regs,
        accesses,
    } = &case.scenario;
    if accesses.len() != case.out.len() {
        return Err(format!(
            "{} accesses but {} answers",
            accesses.len(),
            case.out.len()
        ));
    }
    let config = SmmuConfig::from_id_registers(PART).map_err(|e| e.to_string())?;
    let mut smmu = Smmu::new(config).map_err(|e| e.to_string())?;
    for &(offset, bytes, value) in regs {
        let width = match bytes {
            4 => Width::W32,
            8 => Width::W64,
            _ => return Err(format!("regs: a write of {bytes} bytes at {offset:#x}")),
        };
        smmu.mmio_write(offset, width, value);
    }
    let ram = Ram::with_regions(&[RAM]).map_err(|e| e.to_string())?;
    for (base, hex) in contents {
        let bytes = decode_hex(hex).ok_or_else(|| format!("ram: bad hex at {base:#x}"))?;
        ram.load(Pa::new(*base), &bytes)
            .map_err(|_| format!("ram: {base:#x} lies outside the machine's memory"))?;
    }
    let mut memory = Platform { ram: ram.port() };
    for (k, (access, recorded)) in accesses.iter().zip(&case.out).enumerate() {
        let stream = StreamId::new(access.sid);
        let iova = Iova::new(access.iova);
        let transaction = if access.write {
            Transaction::write(stream, iova)
        } else {
            Transaction::read(stream, iova)
        };
        let actual = Answer::of(&smmu.translate_cold(&mut memory, &transaction, &mut ()));
        let (source, answer) = match (&recorded.arch, recorded.agree) {
            (_, true) => ("QEMU", &recorded.qemu),
            (Some(arch), false) => ("the architecture", arch),
            (None, false) => return Err(format!("out[{k}]: agree is false but arch is missing")),
        };
        let expected = expectation(answer, &recorded.qemu, &actual)
            .ok_or_else(|| format!("out[{k}]: an event is not 64 hexadecimal digits"))?;
        let place = || {
            let what = if access.write { "write" } else { "read" };
            let (case, sid) = (case.id, access.sid);
            format!(
                "{}: id {case}, out[{k}]: sid {sid:#x} {what} {iova}",
                path.display()
            )
        };
        // Nothing answers at the address either way: the device sees the same.
        let disabled_beyond_oas = !smmu.registers().cr0().smmuen()
            && access.iova >> smmu.config().oas != 0
            && outside_ram(answer)
            && expected.pa == Some(access.iova)
            && actual
                == Answer {
                    pa: None,
                    event: None,
                };
        if disabled_beyond_oas {
            report.deviation(source, DISABLED_BEYOND_OAS, &expected, &actual, place);
        } else {
            report.case(source, &expected, &actual, place);
        }
    }
    Ok(())
}

/// What the model must say. A recorded access that failed without an event either was aborted
/// silently or went to an address nothing answers at; where the recording names that address the
/// model must give it, and where it does not, any address outside RAM will do.
fn expectation(answer: &RecordedAnswer, qemu: &RecordedAnswer, actual: &Answer) -> Option<Answer> {
    if let Some(event) = answer.events.first() {
        return Some(Answer {
            pa: None,
            event: Some(event_words(event)?),
        });
    }
    let pa = if answer.ok {
        answer.pa
    } else if outside_ram(answer) {
        answer.trace_pa
    } else if std::ptr::eq(answer, qemu) {
        None
    } else {
        actual.pa.filter(|pa| !(RAM.0..RAM.0 + RAM.1).contains(pa))
    };
    Some(Answer { pa, event: None })
}

fn outside_ram(answer: &RecordedAnswer) -> bool {
    answer.why.as_deref() == Some("pa_outside_ram")
}

/// The words of a record given as it lies in memory.
pub(super) fn event_words(hex: &str) -> Option<[u64; 4]> {
    let bytes = decode_hex(hex).filter(|bytes| bytes.len() == 32)?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

pub(super) fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| Some((value(pair[0])? << 4 | value(pair[1])?) as u8))
        .collect()
}

/// Memory of the recording machine: RAM, and holes that answer reads although nothing is there.
struct Platform<'a> {
    ram: RamPort<'a>,
}

impl Platform<'_> {
    fn hole(pa: Pa) -> BusResult<u64> {
        match pa.get() {
            0..0x0800_0000 => Ok(0),
            0x1000_0000..0x3eff_0000 | 0x80_0000_0000..0x100_0000_0000 => Ok(u64::MAX),
            _ => Err(BusAbort),
        }
    }
}

impl PhysMem for Platform<'_> {
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        self.ram.read64(pa, class).or_else(|_| Self::hole(pa))
    }

    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        self.ram.write64(pa, value, class)
    }

    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        self.ram.compare_exchange64(pa, current, new, class)
    }
}
