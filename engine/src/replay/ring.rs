//! Both ends of the ring, for a single thread.

use crate::ring::{Consumer, Producer, ring};
use fsmon_format::record::Slot;

/// A ring whose producer and consumer are the same thread.
pub struct Ring {
    producer: Producer,
    consumer: Consumer,
}

impl Ring {
    /// A ring of at least `slots` slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let (producer, consumer) = ring(slots);
        Ring { producer, consumer }
    }

    /// Puts a whole record into the ring; false if there is no room.
    #[inline]
    pub fn push(&mut self, record: &[Slot]) -> bool {
        self.producer.push(record)
    }

    /// Makes what was pushed visible to the consumer.
    #[inline]
    pub fn publish(&mut self) {
        self.producer.publish();
    }

    /// Whole records that were published and not released yet, up to the end of the ring's memory at most.
    #[inline]
    pub fn peek(&mut self) -> &[Slot] {
        self.consumer.peek()
    }

    /// Releases `count` slots, so that they can be used again.
    #[inline]
    pub fn release(&mut self, count: usize) {
        self.consumer.release(count);
    }
}
