// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/libpod"
)

func TestBars(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	b := &bars{w: &out, size: func() (int, int) { return 24, 80 }, now: func() time.Time { clock = clock.Add(time.Second); return clock }}
	b.Line("latest: Pulling from library/alpine")
	b.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerWaiting})
	b.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerWaiting})
	b.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerDownloading, Bytes: 500000, Total: 1000000})
	b.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerExtracting})
	b.Line("Digest: sha256:0")
	want := "latest: Pulling from library/alpine\n" +
		"aaaaaaaaaaaa: Pulling fs layer\n" +
		"bbbbbbbbbbbb: Pulling fs layer\n" +
		"\x1b[2A\r\x1b[2Kaaaaaaaaaaaa: Downloading  [=================>                 ]     500kB/1MB\x1b[2B\r" +
		"\x1b[1A\r\x1b[2Kbbbbbbbbbbbb: Extracting\x1b[1B\r" +
		"Digest: sha256:0\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestBarsStayInTheWindow(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	b := &bars{w: &out, size: func() (int, int) { return 4, 40 }, now: func() time.Time { clock = clock.Add(time.Second); return clock }}
	for _, id := range strings.Split("abcdefgh", "") {
		b.Layer(libpod.LayerEvent{ID: id, State: libpod.LayerWaiting})
	}
	out.Reset()
	b.Layer(libpod.LayerEvent{ID: "a", State: libpod.LayerExtracting})
	if out.Len() != 0 {
		t.Errorf("drew a line that scrolled away: %q", out.String())
	}
	for _, cols := range []int{10, 40, 80, 200} {
		text := BarText(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerDownloading, Bytes: 1 << 30, Total: 2 << 30}, cols)
		if n := len([]rune(text)); n >= max(cols, 21) {
			t.Errorf("%d columns: %d wide: %q", cols, n, text)
		}
	}
}

// In a window that became narrower the old lines take more rows than there are
// lines: they are left alone.
func TestBarsInANarrowerWindow(t *testing.T) {
	var out bytes.Buffer
	clock, cols := time.Unix(0, 0), 80
	b := &bars{w: &out, size: func() (int, int) { return 24, cols }, now: func() time.Time { clock = clock.Add(time.Second); return clock }}
	b.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerDownloading, Bytes: 500000, Total: 1000000})
	b.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerWaiting})
	out.Reset()
	cols = 40
	b.Layer(libpod.LayerEvent{ID: "aaaaaaaaaaaa", State: libpod.LayerExtracting})
	b.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerExtracting})
	want := "aaaaaaaaaaaa: Downloading     500kB/1MB\n" +
		"bbbbbbbbbbbb: Pulling fs layer\n" +
		"\x1b[2A\r\x1b[2Kaaaaaaaaaaaa: Extracting\x1b[2B\r" +
		"\x1b[1A\r\x1b[2Kbbbbbbbbbbbb: Extracting\x1b[1B\r"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	// Wider again, the lines are where they were.
	cols, want = 80, "\x1b[1A\r\x1b[2Kbbbbbbbbbbbb: Pull complete\x1b[1B\r"
	out.Reset()
	b.Layer(libpod.LayerEvent{ID: "bbbbbbbbbbbb", State: libpod.LayerDone})
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}
