// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"

	"github.com/proa-containers/proa/pkg/errs"
)

// FreeSubnet is the first of Docker's address pools that overlaps with none of
// the given prefixes: the host's routes and the user's other networks.
func FreeSubnet(avoid []netip.Prefix) (netip.Prefix, error) {
	for p := range pools() {
		if !overlapsAny(p, avoid) {
			return p, nil
		}
	}
	return netip.Prefix{}, errs.WithHint(
		errs.New(errs.Unavailable, "all predefined address pools have been fully subnetted"),
		"give a free block with --subnet, for example --subnet 10.89.0.0/24")
}

// pools are 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on.
func pools() func(func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		for i := byte(17); i < 32; i++ {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i, 0, 0}), 16)) {
				return
			}
		}
		for i := 0; i < 256; i += 16 {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 20)) {
				return
			}
		}
		for i := 89; i < 256; i++ {
			if !yield(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24)) {
				return
			}
		}
	}
}

func overlapsAny(p netip.Prefix, avoid []netip.Prefix) bool {
	for _, a := range avoid {
		// A default route covers everything and says nothing.
		if a.Bits() > 0 && a.Overlaps(p) {
			return true
		}
	}
	return false
}

// Gateway is the first address of a subnet.
func Gateway(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }
