//! The proc connector: a netlink socket on which the kernel reports forks, execs, changes of user and group, and
//! exits (linux/cn_proc.h).

use crate::limits::sys::{ACKNOWLEDGEMENT_READS, DATAGRAM_MAX, DATAGRAMS_EACH_CALL};
use crate::sys::fd::{check, owned};
use fsmon_format::number::{to_u16, to_u32};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// `CN_IDX_PROC` of linux/connector.h: the multicast group and the connector's index.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const NLMSG_DONE: u16 = 3;
/// `struct nlmsghdr`
const NLMSG_HEADER: usize = 16;
/// `struct cn_msg`
const CN_HEADER: usize = 20;

/// The socket. It is non-blocking.
pub struct Socket {
    fd: OwnedFd,
}

/// Datagrams received by one call, and where they came from.
pub struct Received {
    bytes: Box<[[u8; DATAGRAM_MAX]; DATAGRAMS_EACH_CALL]>,
    senders: [libc::sockaddr_nl; DATAGRAMS_EACH_CALL],
    lengths: [usize; DATAGRAMS_EACH_CALL],
    count: usize,
}

impl Default for Received {
    fn default() -> Self {
        // SAFETY: sockaddr_nl is plain numbers, for which all zero is a value.
        let sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        Received {
            bytes: Box::new([[0; DATAGRAM_MAX]; DATAGRAMS_EACH_CALL]),
            senders: [sender; DATAGRAMS_EACH_CALL],
            lengths: [0; DATAGRAMS_EACH_CALL],
            count: 0,
        }
    }
}

impl Received {
    /// The datagrams from the kernel itself; those sent by processes are left out.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count)
            .filter(|&index| self.senders[index].nl_pid == 0)
            .map(|index| &self.bytes[index][..self.lengths[index]])
    }

    /// Whether there may be more in the socket.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count == DATAGRAMS_EACH_CALL
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Opens the socket with room for `room` bytes and joins the group. Nothing comes before
    /// [`Socket::listen`].
    ///
    /// # Errors
    /// EPERM without `CAP_NET_ADMIN` before Linux 6.6; EPROTONOSUPPORT where the kernel has no connector.
    pub fn open(room: usize) -> io::Result<Socket> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: plain numbers.
        let fd = owned(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) })?;
        let socket = Socket { fd };
        socket.set_room(room);
        // SAFETY: sockaddr_nl is plain numbers, for which all zero is a value.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK.try_into().map_err(io::Error::other)?;
        address.nl_groups = CN_IDX_PROC;
        // SAFETY: `address` is a sockaddr_nl of the stated length and outlives the call.
        check(unsafe {
            libc::bind(
                socket.raw_fd(),
                (&raw const address).cast(),
                const { to_u32(size_of::<libc::sockaddr_nl>()) },
            )
        })?;
        Ok(socket)
    }

    /// Sets the receive buffer as large as allowed: beyond `net.core.rmem_max` with `CAP_NET_ADMIN`.
    fn set_room(&self, room: usize) {
        let room = i32::try_from(room).unwrap_or(i32::MAX);
        for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
            // SAFETY: the value is an int, as both options ask, and outlives the call. A refusal
            // leaves the room as it was: fewer messages fit, and a loss would be counted.
            unsafe {
                libc::setsockopt(
                    self.raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const room).cast(),
                    const { to_u32(size_of::<i32>()) },
                )
            };
        }
    }

    /// For polls; readable when a message is there.
    #[must_use]
    fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Requests messages, and then only those in `events` (`PROC_EVENT_*` bits). Linux before 6.6 ignores the
    /// second request and sends all. The plain request comes first, as its acknowledgement cannot pass a filter
    /// (`cn_filter`).
    ///
    /// Returns whether the kernel acknowledged: outside of the initial pid and user namespace it accepts the
    /// request and does nothing.
    ///
    /// # Errors
    /// Those of send(2).
    pub fn listen(&self, events: u32) -> io::Result<bool> {
        const ACK: u32 = 0x6673_6d6e;
        self.send(&PROC_CN_MCAST_LISTEN.to_ne_bytes(), ACK)?;
        let acknowledged = self.take_acknowledgement()?;
        if acknowledged {
            let mut filtered = [0; 8];
            filtered[..4].copy_from_slice(&PROC_CN_MCAST_LISTEN.to_ne_bytes());
            filtered[4..].copy_from_slice(&events.to_ne_bytes());
            self.send(&filtered, ACK)?;
        }
        Ok(acknowledged)
    }

    fn send(&self, payload: &[u8], ack: u32) -> io::Result<()> {
        let mut message = [0; NLMSG_HEADER + CN_HEADER + 8];
        let len = NLMSG_HEADER + CN_HEADER + payload.len();
        message[0..4].copy_from_slice(&to_u32(len).to_ne_bytes());
        message[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        message[16..20].copy_from_slice(&CN_IDX_PROC.to_ne_bytes());
        message[20..24].copy_from_slice(&CN_VAL_PROC.to_ne_bytes());
        message[28..32].copy_from_slice(&ack.to_ne_bytes());
        message[32..34].copy_from_slice(&to_u16(payload.len()).to_ne_bytes());
        message[36..len].copy_from_slice(payload);
        // SAFETY: `len` bytes of `message` are initialised and outlive the call.
        let sent = unsafe { libc::send(self.raw_fd(), message.as_ptr().cast(), len, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The kernel acknowledges during our send, so the answer is there when that returns, perhaps after messages.
    fn take_acknowledgement(&self) -> io::Result<bool> {
        let mut received = Received::default();
        for _ in 0..ACKNOWLEDGEMENT_READS {
            self.receive(&mut received)?;
            for datagram in received.datagrams() {
                // cn_msg.len and .flags, then proc_event.what (PROC_EVENT_NONE) and, 16 bytes on,
                // the error.
                let what = datagram.get(NLMSG_HEADER + CN_HEADER..NLMSG_HEADER + CN_HEADER + 4);
                let error =
                    datagram.get(NLMSG_HEADER + CN_HEADER + 16..NLMSG_HEADER + CN_HEADER + 20);
                if what == Some(&[0; 4]) {
                    return Ok(error == Some(&[0; 4]));
                }
            }
            if received.count == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Takes what is there, up to a batch; nothing if the socket is empty.
    ///
    /// # Errors
    /// ENOBUFS: messages were lost. The next call continues with the rest.
    pub fn receive(&self, into: &mut Received) -> io::Result<()> {
        into.count = 0;
        let mut vectors =
            [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; DATAGRAMS_EACH_CALL];
        // SAFETY: mmsghdr is pointers and numbers, for which all zero is a value.
        let mut headers: [libc::mmsghdr; DATAGRAMS_EACH_CALL] = unsafe { std::mem::zeroed() };
        for index in 0..DATAGRAMS_EACH_CALL {
            vectors[index] = libc::iovec {
                iov_base: into.bytes[index].as_mut_ptr().cast(),
                iov_len: DATAGRAM_MAX,
            };
            let header = &mut headers[index].msg_hdr;
            header.msg_iov = &raw mut vectors[index];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut into.senders[index]).cast();
            header.msg_namelen = const { to_u32(size_of::<libc::sockaddr_nl>()) };
        }
        // SAFETY: every header points at a buffer and an address of `into` with their true
        // lengths; all outlive the call, and nothing else refers to them.
        let count = unsafe {
            libc::recvmmsg(
                self.raw_fd(),
                headers.as_mut_ptr(),
                const { to_u32(DATAGRAMS_EACH_CALL) },
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(()),
                _ => Err(error),
            };
        };
        into.count = count.min(DATAGRAMS_EACH_CALL);
        for (length, header) in into.lengths.iter_mut().zip(&headers) {
            *length = (header.msg_len as usize).min(DATAGRAM_MAX);
        }
        Ok(())
    }
}
