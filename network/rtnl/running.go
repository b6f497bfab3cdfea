// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WaitRunning returns when the named interfaces of the socket's namespace can
// carry packets. The kernel notices a plugged-in cable by a work item of its
// own, a few milliseconds late; what is sent before is dropped and repeated
// after a second. Asking for the link state makes it look at once; on kernels
// where it does not, this waits. It gives up without a word after 30 ms.
func (c *Conn) WaitRunning(names ...string) {
	deadline := time.Now().Add(30 * time.Millisecond)
	for _, name := range names {
		for {
			c.glink(name)
			if c.running(name) || time.Now().After(deadline) {
				break
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
}

func (c *Conn) running(name string) bool {
	ifr, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(c.fd, unix.SIOCGIFFLAGS, ifr) != nil {
		return true // nothing to wait for
	}
	return ifr.Uint16()&unix.IFF_RUNNING != 0
}

// glink is ETHTOOL_GLINK; the answer is not wanted, the side effect is.
func (c *Conn) glink(name string) {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GLINK}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	req.data = unsafe.Pointer(&value)
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
}
