// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	units "github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/libpod"
)

// NewProgress shows a transfer on w: one moving line per layer on a terminal,
// as w itself likes where it is a Progress, else Docker's lines.
func NewProgress(w io.Writer) libpod.Progress {
	if p, ok := w.(libpod.Progress); ok {
		return p
	}
	if !MovesCursor(w, os.LookupEnv) {
		return libpod.PlainProgress(w)
	}
	return &bars{w: w, size: func() (int, int) { return windowSize(w.(*os.File)) }, now: time.Now}
}

func windowSize(f *os.File) (rows, cols int) {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Row == 0 || ws.Col == 0 {
		return 24, 80
	}
	return int(ws.Row), int(ws.Col)
}

// redraw is how often a moving bar is drawn at most.
const redraw = 80 * time.Millisecond

// bars draws a block of lines, one per layer, and goes back up to change one.
// Text below the block ends it.
type bars struct {
	mu    sync.Mutex
	w     io.Writer
	size  func() (rows, cols int)
	now   func() time.Time
	lines []*bar
	cols  int // of the window when the block was drawn
}

type bar struct {
	event libpod.LayerEvent
	drawn time.Time
}

// Line implements libpod.Progress.
func (b *bars) Line(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = nil
	fmt.Fprintln(b.w, text)
}

// Layer implements libpod.Progress.
func (b *bars) Layer(e libpod.LayerEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows, cols := b.size()
	if len(b.lines) > 0 && cols < b.cols {
		b.again(cols)
	}
	b.cols = cols
	for i, l := range b.lines {
		if l.event.ID != e.ID {
			continue
		}
		moving := l.event.State == e.State && (e.Total == 0 || e.Bytes < e.Total)
		l.event = e
		if moving && b.now().Sub(l.drawn) < redraw {
			return
		}
		l.drawn = b.now()
		// What has scrolled off the top cannot be reached any more.
		if up := len(b.lines) - i; up < rows {
			fmt.Fprintf(b.w, "\x1b[%dA\r\x1b[2K%s\x1b[%dB\r", up, BarText(e, cols), up)
		}
		return
	}
	b.lines = append(b.lines, &bar{event: e, drawn: b.now()})
	fmt.Fprintln(b.w, BarText(e, cols))
}

// again draws the block anew below the old one: in a window that became narrower
// nobody knows how many rows the old lines take, so they cannot be reached.
func (b *bars) again(cols int) {
	for _, l := range b.lines {
		fmt.Fprintln(b.w, BarText(l.event, cols))
	}
}

// BarText is one line, shorter than the terminal is wide.
func BarText(e libpod.LayerEvent, cols int) string {
	text := e.Text()
	switch e.State {
	case libpod.LayerWaiting:
		text = "Pulling fs layer"
	case libpod.LayerExtracting:
		text = "Extracting"
	case libpod.LayerDownloading:
		text = "Downloading  " + gauge(e, cols)
	case libpod.LayerPushing:
		text = "Pushing  " + gauge(e, cols)
	}
	return ellipsis(e.ID+": "+text, max(cols-1, 20))
}

// gauge is "[=====>    ]  12.3MB/45.6MB" as wide as there is room for.
func gauge(e libpod.LayerEvent, cols int) string {
	done := units.HumanSizeWithPrecision(float64(e.Bytes), 4)
	if e.Total <= 0 {
		return done
	}
	numbers := fmt.Sprintf("%8s/%s", done, units.HumanSizeWithPrecision(float64(e.Total), 4))
	width := min(50, cols-len(numbers)-33)
	if width < 8 {
		return numbers
	}
	filled := int(min(e.Bytes, e.Total) * int64(width) / e.Total)
	head := ">"
	if filled == width {
		head = ""
	}
	return "[" + strings.Repeat("=", filled) + head + strings.Repeat(" ", max(width-filled-1, 0)) + "]  " + numbers
}
