// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/term"
)

// Questions to the person at the terminal, and reads from standard input. A signal ends a
// read: it returns the error of ctx.

// stdin is standard input for a command that itself reads it.
func (a *app) stdin(ctx context.Context) io.Reader { return term.Interruptible(ctx, a.std.In) }

// keyboard is standard input where that is a terminal, else nil.
func (a *app) keyboard() *os.File {
	if tty, ok := a.std.In.(*os.File); ok && output.IsTerminal(tty) {
		return tty
	}
	return nil
}

// maxAnswer bounds the length of an answer.
const maxAnswer = 64 << 10

// answer prints a question and reads a line. The end of the input is io.EOF
// where nothing comes before it.
func (a *app) answer(in *bufio.Reader, question string) (string, error) {
	a.out.Print(question)
	_ = a.out.Flush()
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) < maxAnswer:
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			err = nil
		}
		return strings.TrimRight(string(line), "\r\n"), err
	}
}

// confirm asks a yes or no question: "y" and "yes" mean yes. Input that ends
// without an answer means no, with a notice: a script may lack --force.
func (a *app) confirm(ctx context.Context, force bool, warning string) (bool, error) {
	if force {
		return true, nil
	}
	text, err := a.answer(bufio.NewReader(a.stdin(ctx)), "WARNING! "+warning+"\nAre you sure you want to continue? [y/N] ")
	switch {
	case errors.Is(err, io.EOF):
		a.out.Println("")
		if a.keyboard() == nil {
			a.out.Notice("nothing is removed: standard input is not a terminal and gives no answer")
			a.out.Hint("hint: add --force")
		}
		return false, nil
	case err != nil:
		return false, err
	}
	text = strings.TrimSpace(text)
	return strings.EqualFold(text, "y") || strings.EqualFold(text, "yes"), nil
}

// secret asks for a line that the terminal does not show. The terminal shows
// what is typed again before secret returns.
func (a *app) secret(in *bufio.Reader, tty *os.File, question string) (string, error) {
	show, err := hideInput(tty)
	if err != nil {
		return "", err
	}
	text, err := a.answer(in, question)
	show()
	if err == nil || errors.Is(err, io.EOF) {
		a.out.Println("")
	}
	return text, err
}

// hideInput stops the terminal from showing what is typed until show is called.
func hideInput(tty *os.File) (show func(), err error) {
	fd := int(tty.Fd())
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	hidden := *t
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, t) }, nil
}
