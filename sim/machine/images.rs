//! Raw memory images: bytes as they lie in memory, each at its address.

use std::path::Path;

use smmu::addr::Pa;
use smmu::mem::{PAGE_BYTES, Ram};

use super::{MachineError, hex};
use crate::input;

/// RAM with the contents of the images, each `FILE@ADDRESS`.
///
/// # Errors
/// [`MachineError`] naming the argument or the file.
pub(super) fn load(images: &[String]) -> Result<Ram, MachineError> {
    let mut loaded = Vec::new();
    for argument in images {
        let malformed = || MachineError::Image(argument.clone());
        let (path, address) = argument.rsplit_once('@').ok_or_else(malformed)?;
        let address = hex(address)
            .filter(|a| a % PAGE_BYTES == 0)
            .ok_or_else(malformed)?;
        let path = Path::new(path);
        let bytes = input::read(path).map_err(|source| MachineError::Read {
            path: path.into(),
            source,
        })?;
        loaded.push((address, bytes));
    }
    let regions: Vec<_> = loaded
        .iter()
        .map(|(base, bytes)| (*base, (bytes.len() as u64).next_multiple_of(PAGE_BYTES)))
        .collect();
    let ram = Ram::with_regions(&regions)?;
    for (base, bytes) in &loaded {
        ram.load(Pa::new(*base), bytes)
            .expect("its region holds the image");
    }
    Ok(ram)
}
