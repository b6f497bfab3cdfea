// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"cmp"
	"slices"
	"strconv"
)

// PortRange is a run of neighbouring ports of one protocol. An image names
// thousands of ports in a few bytes: ranges are kept as ranges.
type PortRange struct {
	First, Last uint16
	Protocol    string
}

// ParsePortRange reads "80", "80/tcp" or "8000-8005/udp".
func ParsePortRange(s string) (PortRange, bool) {
	rest, proto, err := splitProto(s)
	if err != nil {
		return PortRange{}, false
	}
	r, ok := parsePortRange(rest)
	if !ok || r.start == 0 {
		return PortRange{}, false
	}
	return PortRange{r.start, r.end, proto}, true
}

// String is the form that ParsePortRange reads.
func (r PortRange) String() string {
	s := strconv.Itoa(int(r.First))
	if r.Last != r.First {
		s += "-" + strconv.Itoa(int(r.Last))
	}
	return s + "/" + r.Protocol
}

// Size is the number of ports.
func (r PortRange) Size() int { return int(r.Last) - int(r.First) + 1 }

// MergePorts sorts ranges by their first port and makes one of those that touch
// or overlap.
func MergePorts(list []PortRange) []PortRange {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && out[n-1].Protocol == r.Protocol && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

// Without is what is left of r when single ports are taken out. taken is
// sorted, and of r's protocol.
func (r PortRange) Without(taken []uint16) []PortRange {
	var out []PortRange
	next := int(r.First)
	for _, p := range taken {
		if p < r.First || p > r.Last || int(p) < next {
			continue
		}
		if int(p) > next {
			out = append(out, PortRange{uint16(next), p - 1, r.Protocol})
		}
		next = int(p) + 1
	}
	if next <= int(r.Last) {
		out = append(out, PortRange{uint16(next), r.Last, r.Protocol})
	}
	return out
}
