//! What leaves the kernel side: counters, and the only writer to the ring buffer.

use crate::maps;
use core::arch::asm;
use governor_common::counter::Counter;
use governor_common::event::Event;

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = maps::COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is this CPU's own element, valid for the run of the program.
        unsafe { add(value, 1) }
    }
}

/// Adds to a number of this CPU in one instruction: an interrupt on the same CPU may run a program that adds to it too.
///
/// # Safety
/// `value` is an aligned element of a map, valid for the run of the program.
#[inline(always)]
pub unsafe fn add(value: *mut u64, by: u64) {
    // `core` offers no atomics for this target.
    // SAFETY: as the caller says; the instruction touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({value} + 0) += {by}", value = in(reg) value, by = in(reg) by, options(nostack))
    }
}

/// Sends an event; counts it as dropped where the agent is too slow to make room.
#[inline(always)]
pub fn event(event: &Event) {
    match maps::EVENTS.reserve::<Event>(0) {
        Some(mut slot) => {
            slot.write(*event);
            slot.submit(0);
        }
        None => count(Counter::EventsDropped),
    }
}

#[inline(always)]
pub fn debug_log() -> bool {
    maps::SETTINGS.get(0).is_some_and(|settings| settings.debug_log != 0)
}
