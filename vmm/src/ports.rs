//! Port I/O: the boot-stage port, the early console, and the keyboard controller's reset line. Every other port
//! is a floating bus. Called by vCPU threads.

use std::sync::{Arc, Mutex, PoisonError};

use spec::Stage;
use spec::boot::STAGE_PORT;

use crate::early_console::{EarlyConsole, FIRST_PORT, LAST_PORT};
use crate::exit::VmExit;
use crate::timeline::Timeline;

/// The keyboard controller's command and status port.
const I8042_COMMAND: u16 = 0x64;
/// The command that pulses the CPU's reset line.
const I8042_RESET: u8 = 0xfe;
/// Status: buffers empty. Linux waits for that before it sends the command.
const I8042_IDLE: u8 = 0;

/// The ports of a virtual machine.
pub(crate) struct Ports {
    console: Mutex<EarlyConsole>,
    timeline: Arc<Timeline>,
}

impl Ports {
    /// Ports whose stages go to `timeline`.
    pub(crate) fn new(console: EarlyConsole, timeline: Arc<Timeline>) -> Self {
        Self { console: Mutex::new(console), timeline }
    }

    /// A guest's read of one or more units of one port.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(match port {
            I8042_COMMAND => I8042_IDLE,
            FIRST_PORT..=LAST_PORT => self.console.lock().unwrap_or_else(PoisonError::into_inner).read(port),
            _ => 0xff,
        });
    }

    /// A guest's write of one or more units to one port; the reason where it ends the virtual machine.
    pub(crate) fn write(&self, port: u16, data: &[u8]) -> Option<VmExit> {
        match port {
            STAGE_PORT => data.iter().find_map(|byte| self.stage(*byte)),
            I8042_COMMAND => data.contains(&I8042_RESET).then_some(VmExit::GuestPanic),
            FIRST_PORT..=LAST_PORT => {
                let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
                data.iter().for_each(|byte| console.write(port, *byte));
                None
            }
            _ => None,
        }
    }

    /// Writes out what the early console holds back.
    pub(crate) fn flush(&self) {
        self.console.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    fn stage(&self, byte: u8) -> Option<VmExit> {
        let stage = Stage::from_byte(byte)?;
        self.timeline.stage(stage);
        match stage {
            Stage::PowerOff => Some(VmExit::PowerOff),
            Stage::InitFailed => Some(VmExit::InitFailed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn ports() -> Ports {
        Ports::new(EarlyConsole::new(None), Arc::new(Timeline::new(Instant::now())))
    }

    #[test]
    fn the_three_ways_to_end_are_told_apart() {
        let ports = ports();
        assert_eq!(ports.write(STAGE_PORT, &[Stage::PowerOff as u8]), Some(VmExit::PowerOff));
        assert_eq!(ports.write(STAGE_PORT, &[Stage::InitFailed as u8]), Some(VmExit::InitFailed));
        assert_eq!(ports.write(I8042_COMMAND, &[I8042_RESET]), Some(VmExit::GuestPanic));
    }

    #[test]
    fn everything_else_goes_on() {
        let ports = ports();
        for port in 0..=u16::MAX {
            for byte in [0, 0x10, 0x40, 0xff] {
                assert_eq!(ports.write(port, &[byte]), None, "{port:#x} {byte:#x}");
            }
        }
        assert_eq!(ports.write(I8042_COMMAND, &[]), None);
        assert_eq!(ports.write(STAGE_PORT, &[]), None);
    }

    #[test]
    fn reads_do_not_make_the_kernel_wait() {
        let ports = ports();
        let read = |port| {
            let mut data = [0x55; 4];
            ports.read(port, &mut data);
            data[0]
        };
        assert_eq!(read(I8042_COMMAND), 0);
        assert_eq!(read(FIRST_PORT + 5), 0x60);
        assert_eq!(read(STAGE_PORT), 0xff);
        assert_eq!(read(0x61), 0xff);
    }
}
