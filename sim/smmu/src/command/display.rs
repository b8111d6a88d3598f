//! Commands as people read them: what is invalidated, and for whom.

use core::fmt;

use super::{AsidScope, Command, Tlbi, TlbiAddress, TlbiRegime, TlbiStage};

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CfgiSte { stream, .. } => write!(f, "CFGI_STE {:#x}", stream.get()),
            Self::CfgiSteRange { size_log2: 32, .. } => f.write_str("CFGI_ALL"),
            Self::CfgiSteRange { stream, size_log2 } => {
                write!(f, "CFGI_STE_RANGE {:#x}+2^{size_log2}", stream.get())
            }
            Self::CfgiCd {
                stream, substream, ..
            } => write!(f, "CFGI_CD {:#x}.{:#x}", stream.get(), substream.get()),
            Self::CfgiCdAll { stream } => write!(f, "CFGI_CD_ALL {:#x}", stream.get()),
            Self::Tlbi(tlbi) => write!(f, "{tlbi}"),
            Self::Sync(_) => f.write_str("SYNC"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Tlbi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLBI")?;
        match self.regime {
            TlbiRegime::El1 => {}
            TlbiRegime::El2 | TlbiRegime::AnyEl2 => f.write_str(" EL2")?,
        }
        match self.stage {
            TlbiStage::Stage1 => {}
            TlbiStage::Stage2 => f.write_str(" stage 2")?,
            TlbiStage::Both => f.write_str(" both stages")?,
        }
        if let Some(vmid) = self.vmid {
            write!(f, " VMID {}", vmid.get())?;
        }
        match self.asid {
            AsidScope::Any => {}
            AsidScope::Only(asid) => write!(f, " ASID {} but global", asid.get())?,
            AsidScope::OrGlobal(asid) => write!(f, " ASID {}", asid.get())?,
        }
        match self.address {
            TlbiAddress::All => f.write_str(" all"),
            TlbiAddress::Single { address, .. } => write!(f, " at {address:#x}"),
            TlbiAddress::Range { first, last, .. } => write!(f, " {first:#x}..={last:#x}"),
        }
    }
}
