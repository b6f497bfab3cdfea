// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"time"

	"github.com/proa-containers/proa/pkg/spec"
)

// Docker's figures: the first restart after 100 ms, each further one after
// twice as long up to a minute; a run of ten seconds starts over.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = time.Minute
	backoffReset = 10 * time.Second
)

// ended is how a run came to its end, as the restart policy sees it.
type ended struct {
	code    int
	ran     time.Duration
	stopped bool // by the user, or by the end of the session
}

// backoff decides about restarts. The zero value has seen none.
type backoff struct {
	wait  time.Duration
	count int
}

// next tells whether the process is started again, and after how long.
func (b *backoff) next(p spec.Restart, e ended) (time.Duration, bool) {
	if e.stopped || !wanted(p, e.code, b.count) {
		return 0, false
	}
	if b.wait == 0 || e.ran >= backoffReset {
		b.wait = backoffFirst
	} else {
		b.wait = min(2*b.wait, backoffMax)
	}
	b.count++
	return b.wait, true
}

func wanted(p spec.Restart, code, count int) bool {
	switch p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return code != 0 && (p.MaxRetries == 0 || count < p.MaxRetries)
	}
	return false
}
