//! What the kernel remembers of connections that the rules led to a pod: it outlives the rule, so it is deleted with it
//! (ctnetlink; linux/netfilter/nfnetlink_conntrack.h).

use std::io;
use std::net::IpAddr;

use rustix::net::netlink;

use super::rtnetlink::{FAMILY_IPV4, FAMILY_IPV6, Message, Rtnetlink, octets};

/// `IPCTNL_MSG_CT_DELETE` of `NFNL_SUBSYS_CTNETLINK`.
const DELETE: u16 = 1 << 8 | 2;

/// Attributes.
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_F_CTA_IP_SRC`: of the tuple this alone counts.
const BY_SOURCE: u32 = 1;

/// Deletes all entries whose answers come from `address`, in the caller's namespace. Kernels that cannot choose so, those
/// before 6.8, delete nothing.
pub(super) fn forget(address: IpAddr) -> io::Result<()> {
    let kernel = Rtnetlink::open_to(Some(netlink::NETFILTER))?;
    match kernel.send(deletion(address)) {
        // None, or a kernel that takes no such choice.
        Err(error) if matches!(error.raw_os_error(), Some(ENOENT | EINVAL | EOPNOTSUPP)) => Ok(()),
        sent => sent,
    }
}

const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();
const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();
const EOPNOTSUPP: i32 = rustix::io::Errno::OPNOTSUPP.raw_os_error();

fn deletion(address: IpAddr) -> Message {
    let (family, source) = if address.is_ipv4() { (FAMILY_IPV4, 1) } else { (FAMILY_IPV6, 3) };
    // With version 0 the family would not count.
    let message = Message::new(DELETE, 0, &[family, 1, 0, 0]);
    let message =
        message.nest(TUPLE_REPLY, |tuple| tuple.nest(TUPLE_IP, |ip| ip.attribute(source, &octets(address))));
    message.nest(FILTER, |filter| {
        let filter = filter.attribute(FILTER_ORIGINAL, &0_u32.to_ne_bytes());
        filter.attribute(FILTER_REPLY, &BY_SOURCE.to_ne_bytes())
    })
}
