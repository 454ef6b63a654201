//! Both ends of the ring, in one hand.

use crate::ring::{Consumer, Producer, ring};
use fsmon_format::record::Slot;

/// A ring of which the same thread is producer and consumer.
pub struct Ring {
    producer: Producer,
    consumer: Consumer,
}

impl Ring {
    /// Of at least so many slots.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        let (producer, consumer) = ring(slots);
        Ring { producer, consumer }
    }

    /// Takes a whole record; false when there is no room.
    #[inline]
    pub fn push(&mut self, record: &[Slot]) -> bool {
        self.producer.push(record)
    }

    /// Shows the consumer what was pushed.
    #[inline]
    pub fn publish(&mut self) {
        self.producer.publish();
    }

    /// What was published and not released yet, a piece that lies in one run.
    #[inline]
    pub fn peek(&mut self) -> &[Slot] {
        self.consumer.peek()
    }

    /// Gives that many slots back.
    #[inline]
    pub fn release(&mut self, count: usize) {
        self.consumer.release(count);
    }
}
