// SPDX-License-Identifier: Apache-2.0

// Package output is everything that Proa prints: tables, templates, JSON,
// errors, hints and notices. It is the only writer to standard error.
//
// Rules for terminal text: an error is "proa: cannot X ...", in lower case,
// without a full stop, and followed by "hint: " with the exact next step where
// there is one. A notice is a sentence after "proa: ". Results go to standard
// output and nothing else does, so that they can be piped.
package output

import (
	"bufio"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/pkg/errs"
)

// Printer writes results to one stream and what is said about them to another.
// Results are buffered until Flush, or until something is said.
type Printer struct {
	mu  sync.Mutex
	out *bufio.Writer
	err io.Writer
	raw io.Writer
	// terminal: the results go to one. Names, labels and commands of images are
	// strangers' texts. Elsewhere the results are as they are.
	terminal bool
}

// New makes a Printer for standard output and standard error.
func New(out, err io.Writer) *Printer {
	return &Printer{out: bufio.NewWriterSize(out, 32<<10), err: err, raw: out, terminal: IsTerminal(out)}
}

// Flush writes what is buffered. A reader that has gone away (`proa ps | head
// -1`) is no error.
func (p *Printer) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Flush(); err != nil && !strings.Contains(err.Error(), "broken pipe") {
		return errs.Wrap(err, "write", "standard output")
	}
	return nil
}

// Write adds to the results.
func (p *Printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		if _, err := p.out.WriteString(Legible(string(b))); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return p.out.Write(b)
}

// Print adds text to the results.
func (p *Printer) Print(s string) { _, _ = p.Write([]byte(s)) }

// Println adds a line to the results.
func (p *Printer) Println(s string) { p.Print(s + "\n") }

// Now adds a line to the results and writes it out: for commands that go on
// working.
func (p *Printer) Now(s string) {
	p.Println(s)
	_ = p.Flush()
}

// say writes to standard error after the results so far: the two streams often
// end up on one terminal.
func (p *Printer) say(s string) {
	_ = p.Flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.err, s)
}

// Error prints a failure and the hint that comes with it.
func (p *Printer) Error(err error) {
	s := "proa: " + shownError(err.Error()) + "\n"
	if h := errs.HintOf(err); h != "" {
		s += "hint: " + shownError(h) + "\n"
	}
	p.say(s)
}

// maxErrorLine is a path of the greatest length and some words.
const maxErrorLine = 5000

// Legible is a stranger's text for a terminal, which it must not steer: with spaces for
// control characters but line feeds and tabs.
func Legible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return ' '
		}
		return r
	}, text)
}

// shownError is an error's text for a terminal. Names of files and images, which a
// stranger chose, are part of it: they must neither steer the terminal nor bury
// what is said.
func shownError(text string) string {
	lines := strings.Split(Legible(text), "\n")
	for i, l := range lines {
		if len(l) > maxErrorLine {
			lines[i] = strings.ToValidUTF8(l[:1000]+" ... "+l[len(l)-500:], "")
		}
	}
	return strings.Join(lines, "\n")
}

// Hint prints a line after an Error.
func (p *Printer) Hint(s string) { p.say(Legible(s) + "\n") }

// Notice prints a sentence about something that happened aside.
func (p *Printer) Notice(s string) { p.say("proa: " + Legible(s) + "\n") }

// Warning prints something that will not work as asked.
func (p *Printer) Warning(s string) { p.say("WARNING: " + Legible(s) + "\n") }

// ErrWriter is standard error for progress of long work.
func (p *Printer) ErrWriter() io.Writer { return p.err }

// OutWriter is standard output without a buffer, for streams.
func (p *Printer) OutWriter() io.Writer {
	_ = p.Flush()
	return p.raw
}

// MovesCursor reports whether a stream is a terminal that can move its cursor: an editor's, or the
// log of a service that runs jobs, may be one that cannot.
func MovesCursor(stream any, lookup func(string) (string, bool)) bool {
	term, _ := lookup("TERM")
	return IsTerminal(stream) && term != "dumb"
}

// HasColour reports whether a stream shows colours, and the user wants any (no-color.org).
func HasColour(stream any, lookup func(string) (string, bool)) bool {
	no, _ := lookup("NO_COLOR")
	return MovesCursor(stream, lookup) && no == ""
}

// Width is how many characters fit into a line of the stream: 80 where it is no terminal.
func Width(stream any) int {
	if f, ok := stream.(*os.File); ok && f != nil {
		_, cols := windowSize(f)
		return cols
	}
	return 80
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok || f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
