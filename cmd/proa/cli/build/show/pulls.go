// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
)

// buildPulls shows the transfers of a build among its status lines: two
// displays of their own on one terminal would overwrite each other. The bars
// stand below the steps, sentences and finished layers scroll by.
type buildPulls struct{ t *TTY }

// pulledLayer is a layer under way.
type pulledLayer struct {
	event libpod.LayerEvent
	since time.Time
}

// Pulls is where the transfers of the build are told.
func (t *TTY) Pulls() interface {
	libpod.Progress
	Write(p []byte) (int, error)
} {
	return buildPulls{t}
}

// Write takes whole lines.
func (b buildPulls) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		b.Line(string(line))
	}
	return len(p), nil
}

// Line implements libpod.Progress.
func (b buildPulls) Line(text string) {
	b.t.change(func() { b.t.scroll(text) })
}

// scroll writes a line of text that stays, of whatever length.
func (t *TTY) scroll(text string) {
	t.buf.WriteString(strings.TrimRight(oneLine(text), "\n") + "\n")
}

// Layer implements libpod.Progress.
func (b buildPulls) Layer(e libpod.LayerEvent) {
	t := b.t
	t.mu.Lock()
	i := slices.IndexFunc(t.pulls, func(p *pulledLayer) bool { return p.event.ID == e.ID })
	if i < 0 {
		i = len(t.pulls)
		t.pulls = append(t.pulls, &pulledLayer{since: time.Now()})
	}
	t.pulls[i].event = e
	done := e.Text() != ""
	if done {
		t.pulls = slices.Delete(t.pulls, i, i+1)
	}
	due := done || time.Since(t.last) > drawEvery
	t.mu.Unlock()
	if !due {
		return
	}
	t.change(func() {
		if done {
			t.scroll(e.ID + ": " + e.Text())
		}
	})
}
