// SPDX-License-Identifier: Apache-2.0

package term

import (
	"bytes"
	"io"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// DefaultDetachKeys detach from a container without stopping it.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ErrDetached is what an Escape's Read returns after the detach keys.
var ErrDetached error = errs.New(errs.Canceled, "read escape sequence")

// ParseKeys turns the value of --detach-keys into bytes. It is a list, by
// commas, of single characters and ctrl-X with X a letter or one of @ [ \ ] ^ _.
// Empty means no keys: nothing detaches.
func ParseKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var keys []byte
	for _, k := range strings.Split(s, ",") {
		b, ok := parseKey(k)
		if !ok {
			return nil, errs.WithHint(errs.New(errs.Invalid, "invalid detach keys (%s) provided: unknown character: '%s'", s, k),
				"write keys separated by commas, each one character or ctrl- with a letter or one of @ [ \\ ] ^ _")
		}
		keys = append(keys, b)
	}
	return keys, nil
}

func parseKey(k string) (byte, bool) {
	if len(k) == 1 {
		return k[0], k[0] < 0x80
	}
	c, ok := strings.CutPrefix(strings.ToLower(k), "ctrl-")
	if !ok || len(c) != 1 {
		return 0, false
	}
	switch b := c[0]; {
	case b >= 'a' && b <= 'z':
		return b - 'a' + 1, true
	case strings.IndexByte(`@[\]^_`, b) >= 0:
		return b - '@', true
	}
	return 0, false
}

// Escape passes a terminal's input on until it meets the detach keys. The
// beginning of the keys is held back until the next byte tells.
type Escape struct {
	r       io.Reader
	keys    []byte
	matched int    // bytes of keys held back
	out     []byte // to be returned before anything is read
	err     error  // after out
}

// NewEscape wraps r. Without keys everything is passed on.
func NewEscape(r io.Reader, keys []byte) *Escape { return &Escape{r: r, keys: keys} }

// Read is that of an io.Reader; after the detach keys it returns ErrDetached,
// having passed on all that came before them.
func (e *Escape) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(e.keys) == 0 {
		return e.r.Read(p)
	}
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		n, err := e.r.Read(p)
		e.scan(p[:n])
		if e.err == nil && err != nil {
			// What was held back was no escape after all.
			e.out = append(e.out, e.keys[:e.matched]...)
			e.matched, e.err = 0, err
		}
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

func (e *Escape) scan(p []byte) {
	for _, b := range p {
		for e.matched > 0 && b != e.keys[e.matched] {
			e.shift()
		}
		if b != e.keys[e.matched] {
			e.out = append(e.out, b)
			continue
		}
		if e.matched++; e.matched == len(e.keys) {
			e.matched, e.err = 0, ErrDetached
			return
		}
	}
}

// shift gives up the longest match for the next one that its end begins: with
// the keys "aab", the input "aaab" detaches.
func (e *Escape) shift() {
	held := e.keys[:e.matched]
	for n := 1; n <= len(held); n++ {
		if bytes.HasPrefix(e.keys, held[n:]) {
			e.out = append(e.out, held[:n]...)
			e.matched = len(held) - n
			return
		}
	}
}
