// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"reflect"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/types"
)

func TestPlain(t *testing.T) {
	var b bytes.Buffer
	p := Plain(&b)
	p.Line("latest: Pulling from library/alpine")
	for _, e := range []Event{
		{ID: "a", State: Waiting}, {ID: "a", State: Downloading, Bytes: 1}, {ID: "a", State: Extracting}, {ID: "a", State: Done},
		{ID: "b", State: Exists}, {ID: "c", State: Pushing}, {ID: "c", State: Pushed}, {ID: "d", State: Present}, {ID: "e", State: Mounted, From: "other/repo"},
	} {
		p.Layer(e)
	}
	want := `latest: Pulling from library/alpine
a: Pull complete
b: Already exists
c: Pushed
d: Layer already exists
e: Mounted from other/repo
`
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
	if Plain(nil) != nil {
		t.Error("nobody is told")
	}
}

// record keeps what it is told; it has no lock of its own.
type record struct{ events []Event }

func (r *record) Line(string)   {}
func (r *record) Layer(e Event) { r.events = append(r.events, e) }

// Calls of several goroutines come one at a time (go test -race).
func TestTeller(t *testing.T) {
	r := &record{}
	tell := &Teller{To: r}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				tell.Layer(Event{})
				tell.Line("")
			}
		})
	}
	wg.Wait()
	if len(r.events) != 800 {
		t.Error(len(r.events))
	}
	var nobody Teller
	nobody.Line("x")
	nobody.Layer(Event{})
}

func TestReport(t *testing.T) {
	layer, config := digest.FromString("layer"), digest.FromString("config")
	send := func(w *Wording, mountFrom string) []Event {
		t.Helper()
		r, opts := &record{}, &copy.Options{}
		stop := Report(opts, w, config.Encoded(), mountFrom, &Teller{To: r})
		for _, e := range []types.ProgressProperties{
			{Event: types.ProgressEventNewArtifact, Artifact: types.BlobInfo{Digest: config, Size: 3}},
			{Event: types.ProgressEventRead, Artifact: types.BlobInfo{Digest: layer, Size: 9}, Offset: 4},
			{Event: types.ProgressEventDone, Artifact: types.BlobInfo{Digest: layer, Size: 9}, Offset: 9},
			{Event: types.ProgressEventSkipped, Artifact: types.BlobInfo{Digest: "no digest", Size: -1}},
		} {
			opts.Progress <- e
		}
		stop()
		return r.events
	}
	id := layer.Encoded()[:12]
	for _, c := range []struct {
		words *Wording
		from  string
		want  []Event
	}{
		{&AsPulled, "", []Event{{ID: id, State: Downloading, Bytes: 4, Total: 9}, {ID: id, State: Done, Bytes: 9, Total: 9}, {State: Exists}}},
		{&AsPushed, "", []Event{{ID: id, State: Pushing, Bytes: 4, Total: 9}, {ID: id, State: Pushed, Bytes: 9, Total: 9}, {State: Present}}},
		{&AsPushed, "a/b", []Event{{ID: id, State: Pushing, Bytes: 4, Total: 9}, {ID: id, State: Pushed, Bytes: 9, Total: 9}, {State: Mounted, From: "a/b"}}},
	} {
		if got := send(c.words, c.from); !reflect.DeepEqual(got, c.want) {
			t.Errorf("got %+v\nwant %+v", got, c.want)
		}
	}
	opts := &copy.Options{}
	Report(opts, &AsPulled, "", "", &Teller{})()
	if opts.Progress != nil {
		t.Error("nobody listens, and the library waits for it")
	}
}
