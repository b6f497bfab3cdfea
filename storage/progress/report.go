// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/types"
)

// Teller passes events on, one at a time; To may be nil.
type Teller struct {
	mu sync.Mutex
	To Sink
}

// Line is Sink's.
func (t *Teller) Line(text string) {
	if t.To != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.To.Line(text)
	}
}

// Layer is Sink's.
func (t *Teller) Layer(e Event) {
	if t.To != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.To.Layer(e)
	}
}

// Wording is how the library's events about layers are told.
type Wording struct{ busy, done, skipped State }

// What the library copies is pushed or pulled.
var (
	AsPushed = Wording{Pushing, Pushed, Present}
	AsPulled = Wording{Downloading, Done, Exists}
)

// Report translates the library's events about layers until stop is called, which
// is after the copying. The blob with the hex digest config is no layer. What is
// there already is told as mounted where mountFrom names a repository.
func Report(opts *copy.Options, w *Wording, config, mountFrom string, tell *Teller) (stop func()) {
	if tell.To == nil {
		return func() {}
	}
	events := make(chan types.ProgressProperties, 16)
	done := make(chan struct{})
	opts.Progress, opts.ProgressInterval = events, 100*time.Millisecond
	go func() {
		defer close(done)
		for e := range events {
			if hexOf(e.Artifact.Digest) == config {
				continue
			}
			ev := Event{ID: Short(e.Artifact.Digest), State: w.busy, Bytes: int64(e.Offset), Total: max(e.Artifact.Size, 0)}
			switch e.Event {
			case types.ProgressEventDone:
				ev.State = w.done
			case types.ProgressEventSkipped:
				ev.State = w.skipped
				if mountFrom != "" {
					ev.State, ev.From = Mounted, mountFrom
				}
			}
			tell.Layer(ev)
		}
	}()
	return func() {
		close(events)
		<-done
	}
}

// Short is how a layer is called: the first 12 digits of its digest.
func Short(d digest.Digest) string {
	e := hexOf(d)
	return e[:min(12, len(e))]
}

// hexOf is Encoded, which panics over what is no digest: manifests come from
// anybody.
func hexOf(d digest.Digest) string {
	_, hex, _ := strings.Cut(d.String(), ":")
	return hex
}
