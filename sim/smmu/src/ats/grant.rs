//! What a translation request is granted: found out by trying (IHI 0070 §13.6.2).

use super::{AtsTranslation, Refusal, TranslationRequest};
use crate::fault::Raised;
use crate::fetch::{Eats, Stage1Use, StreamContext};
use crate::perm::{DirtyState, Request};
use crate::transaction::{AccessKind, InstructionOrData};
use crate::translate::{Programmed, Through};

/// Whether an attempt may change descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trial {
    /// As a transaction would.
    Real,
    /// Memory stays as it is: tables of stage 1 may lie in pages that are clean, and whether the
    /// page itself is granted is all that is asked.
    Dry,
}

impl Programmed {
    /// Finds out what may be done at an address by trying it: each right is what a transaction
    /// that needs it would get. `attempt` makes an access on the stages it is given.
    pub(crate) fn grant(
        &self,
        request: &TranslationRequest,
        stream: &StreamContext,
        stage1: &Stage1Use,
        attempt: impl FnMut(&StreamContext, &Stage1Use, Request, Trial) -> Result<Through, Raised>,
    ) -> Result<AtsTranslation, Refusal> {
        let transaction = request.transaction();
        if let (Stage1Use::Bypassed, None) = (stage1, &stream.s2) {
            if transaction.address.get() >> self.config.ias() != 0 {
                return Err(Refusal::Nothing);
            }
            let size_log2 = request.stu_log2;
            return Ok(AtsTranslation {
                address: transaction.address.get() >> size_log2 << size_log2,
                size_log2,
                read: true,
                write: true,
                execute: false,
                privileged: false,
            });
        }
        let pnu = stream.privcfg.unwrap_or(transaction.pnu);
        let access = |kind, ind| Request { kind, ind, pnu };
        let (data, instruction) = (InstructionOrData::Data, InstructionOrData::Instruction);
        let reads_as = stream.instcfg.unwrap_or(data);
        let mut tries = Tries {
            attempt,
            through: None,
        };
        let write = access(AccessKind::Write, data);
        let write = if request.no_write {
            tries.already_writable(stream, stage1, write)?
        } else {
            tries.allowed(stream, stage1, write)?
        };
        let read = tries.allowed(stream, stage1, access(AccessKind::Read, reads_as))?;
        let may_execute = request.execute && request.substream.is_some() && read;
        let execute = may_execute
            && (stream.instcfg.is_some()
                || tries.allowed(stream, stage1, access(AccessKind::Read, instruction))?);
        let Some(through) = tries.through else {
            return Err(Refusal::Nothing);
        };
        let size_log2 = through.walked.span_log2;
        let output = match self.effective_eats(stream) {
            Eats::SplitStage => through.stage1_output.unwrap_or(transaction.address.get()),
            _ => through.walked.pa.get(),
        };
        Ok(AtsTranslation {
            address: output >> size_log2 << size_log2,
            size_log2,
            read,
            write,
            execute,
            privileged: request.is_privileged(),
        })
    }
}

/// Attempts at one address, and the way one of them went.
struct Tries<A> {
    attempt: A,
    through: Option<Through>,
}

impl<A> Tries<A>
where
    A: FnMut(&StreamContext, &Stage1Use, Request, Trial) -> Result<Through, Raised>,
{
    /// Whether an access would be allowed. What is missing is no error; a broken table is.
    fn allowed(
        &mut self,
        stream: &StreamContext,
        stage1: &Stage1Use,
        request: Request,
    ) -> Result<bool, Refusal> {
        let through = (self.attempt)(stream, stage1, request, Trial::Real);
        self.note(through)
    }

    /// Whether a page is writable already: no page is marked dirty, and one that is clean does not
    /// count.
    fn already_writable(
        &mut self,
        stream: &StreamContext,
        stage1: &Stage1Use,
        request: Request,
    ) -> Result<bool, Refusal> {
        let mut stream = *stream;
        if let Some(s2) = &mut stream.s2 {
            s2.dirty_state = DirtyState::Ignored;
        }
        let mut stage1 = *stage1;
        if let Stage1Use::Translates(s1) = &mut stage1 {
            s1.regime.dirty_state = false;
        }
        let through = (self.attempt)(&stream, &stage1, request, Trial::Dry);
        self.note(through)
    }

    fn note(&mut self, through: Result<Through, Raised>) -> Result<bool, Refusal> {
        match through {
            Ok(through) => {
                self.through = Some(through);
                Ok(true)
            }
            Err(raised) if raised.cause.is_translation_related() => Ok(false),
            Err(raised) => Err(Refusal::Configuration(raised.cause)),
        }
    }
}
