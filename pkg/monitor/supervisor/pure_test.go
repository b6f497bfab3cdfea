// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/spec"
)

func TestBackoff(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name   string
		policy spec.Restart
		ends   []ended
		waits  []time.Duration // -1: no restart
	}{
		{"none", spec.Restart{}, []ended{{code: 1}}, []time.Duration{-1}},
		{"no", spec.Restart{Name: "no"}, []ended{{code: 1}}, []time.Duration{-1}},
		{"always doubles", spec.Restart{Name: "always"}, []ended{{}, {}, {}, {code: 1}}, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms}},
		{"reset after ten seconds", spec.Restart{Name: "always"}, []ended{{}, {}, {ran: 10 * time.Second}, {}},
			[]time.Duration{100 * ms, 200 * ms, 100 * ms, 200 * ms}},
		{"stopped", spec.Restart{Name: "always"}, []ended{{}, {stopped: true}}, []time.Duration{100 * ms, -1}},
		{"unless-stopped", spec.Restart{Name: "unless-stopped"}, []ended{{code: 137}}, []time.Duration{100 * ms}},
		{"on-failure", spec.Restart{Name: "on-failure"}, []ended{{code: 1}, {code: 0}}, []time.Duration{100 * ms, -1}},
		{"on-failure:2", spec.Restart{Name: "on-failure", MaxRetries: 2}, []ended{{code: 1}, {code: 1}, {code: 1}}, []time.Duration{100 * ms, 200 * ms, -1}},
	} {
		var b backoff
		for i, e := range c.ends {
			wait, again := b.next(c.policy, e)
			if !again {
				wait = -1
			}
			if wait != c.waits[i] {
				t.Errorf("%s: end %d: %v, want %v", c.name, i, wait, c.waits[i])
			}
		}
	}
	var b backoff
	var last time.Duration
	for range 20 {
		last, _ = b.next(spec.Restart{Name: "always"}, ended{})
	}
	if last != time.Minute {
		t.Errorf("the longest wait is %v", last)
	}
}

func TestStopSignal(t *testing.T) {
	for name, want := range map[string]int{"SIGTERM": 15, "term": 15, "9": 9, "SIGRTMIN+3": 37, "RTMIN": 34, "": 15, "SIGQUIT": 3, "nonsense": 15} {
		if got := stopSignal(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

func TestCleanRanges(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 08:01 1                 /usr/bin/proa-monitor
Size:               1024 kB
Anonymous:             0 kB
VmFlags: rd ex
00500000-00501000 r--p 00100000 08:01 1                 /usr/bin/proa-monitor
Anonymous:             4 kB
00501000-00502000 rw-p 00101000 08:01 1                 /usr/bin/proa-monitor
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffc0000000-7ffc0001000 r-xp 00000000 00:00 0          [vdso]
Anonymous:             0 kB
`
	if got := cleanRanges(smaps); len(got) != 1 || got[0] != (addrRange{0x400000, 0x500000}) {
		t.Errorf("%+v", got)
	}
}
