// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// Ports reads one word of EXPOSE: 80, 80/udp, 8000-8010/tcp.
func Ports(word string) ([]string, error) {
	bad := errs.New(errs.Invalid, "invalid containerPort: %s", word)
	rng, proto, ok := strings.Cut(word, "/")
	proto = strings.ToLower(proto)
	if !ok {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, bad
	}
	// host:container is tolerated, as in Docker.
	if i := strings.LastIndexByte(rng, ':'); i >= 0 {
		rng = rng[i+1:]
	}
	lo, hi, isRange := strings.Cut(rng, "-")
	first, err := strconv.ParseUint(lo, 10, 16)
	if err != nil || first == 0 {
		return nil, bad
	}
	last := first
	if isRange {
		if last, err = strconv.ParseUint(hi, 10, 16); err != nil || last < first {
			return nil, bad
		}
	}
	var out []string
	for p := first; p <= last; p++ {
		out = append(out, fmt.Sprintf("%d/%s", p, proto))
	}
	return out, nil
}
