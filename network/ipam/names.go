// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Names answers questions about the live containers of one network. Files are
// read when something changed; liveness is asked for each answer.
type Names struct {
	dir string

	mu    sync.Mutex
	mtime time.Time // of the directory when it was read; zero: read again
	recs  []Record
}

// NewNames reads the leases in dir (StateDir/NAME) when first asked.
func NewNames(dir string) *Names { return &Names{dir: dir} }

// Lookup finds the containers that answer to name: name, alias, host name, or
// the first twelve or all digits of the id. Letter case does not matter.
func (n *Names) Lookup(name string) []Record {
	var out []Record
	for _, r := range n.records() {
		if r.answersTo(name) && r.alive() {
			out = append(out, r)
		}
	}
	return out
}

// Owner finds the container with an address.
func (n *Names) Owner(a netip.Addr) (Record, bool) {
	for _, r := range n.records() {
		for _, x := range r.Addrs {
			if x == a && r.alive() {
				return r, true
			}
		}
	}
	return Record{}, false
}

// All lists the live containers.
func (n *Names) All() []Record {
	var out []Record
	for _, r := range n.records() {
		if r.alive() {
			out = append(out, r)
		}
	}
	return out
}

func (r Record) answersTo(name string) bool {
	if name == "" {
		return false
	}
	if strings.EqualFold(name, r.Name) || strings.EqualFold(name, r.Hostname) || strings.EqualFold(name, r.ID) {
		return true
	}
	if len(name) == 12 && strings.HasPrefix(r.ID, strings.ToLower(name)) {
		return true
	}
	for _, a := range r.Aliases {
		if strings.EqualFold(name, a) {
			return true
		}
	}
	return false
}

func (n *Names) records() []Record {
	n.mu.Lock()
	defer n.mu.Unlock()
	fi, err := os.Stat(n.dir)
	if err != nil {
		n.recs, n.mtime = nil, time.Time{}
		return nil
	}
	if !n.mtime.IsZero() && fi.ModTime().Equal(n.mtime) {
		return n.recs
	}
	n.recs = readAll(n.dir)
	// Two changes within one tick of the clock have one time: trust it only
	// when it is old enough.
	n.mtime = time.Time{}
	if time.Since(fi.ModTime()) > time.Second {
		n.mtime = fi.ModTime()
	}
	return n.recs
}

func readAll(dir string) []Record {
	names, err := fileNames(dir)
	if err != nil {
		return nil
	}
	var out []Record
	for _, f := range names {
		a, _, ok := parseName(f)
		if !ok {
			continue
		}
		r, err := read(filepath.Join(dir, f))
		// A container with two addresses has two files of the same content.
		if err == nil && len(r.Addrs) > 0 && r.Addrs[0] == a {
			out = append(out, r)
		}
	}
	return out
}
