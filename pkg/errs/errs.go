// SPDX-License-Identifier: Apache-2.0

// Package errs is the one error type of Proa: what was tried, on what, why it
// failed, and what the user can do next. An Error is made where the meaning of
// a failure is known and rendered once, by the command line.
package errs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Kind says what sort of failure happened. The set is closed: code decides by
// Kind (with Is or KindOf), never by the text of a message.
type Kind int

const (
	Internal       Kind = iota // a bug, or an operating system failure without a better name
	Invalid                    // the request makes no sense: bad flag, bad reference, bad file
	NotFound                   // no such container, image, volume, network
	Exists                     // the name is taken
	InUse                      // the object cannot be removed or changed while something uses it
	State                      // the object is in the wrong state: not running, already paused
	Unsupported                // this host or this build cannot do it
	Denied                     // permission refused by the host
	Unauthorized               // a registry refused the credentials
	Unavailable                // a peer did not answer: registry, network, monitor
	Corrupt                    // stored or received bytes do not match what they claim to be
	Canceled                   // the user or a signal ended the operation
	Timeout                    // it took longer than allowed
	CannotInvoke               // the container's command exists but cannot be executed (exit 126)
	CommandMissing             // the container's command does not exist (exit 127)
	kindCount
)

var kindNames = [kindCount]string{
	"internal", "invalid", "not found", "already exists", "in use", "wrong state", "unsupported",
	"permission denied", "unauthorized", "unavailable", "corrupt", "canceled", "timeout",
	"cannot invoke", "command not found",
}

func (k Kind) String() string {
	if k < 0 || k >= kindCount {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return kindNames[k]
}

// Error is a failure that a person reads. Its text is
//
//	cannot <Op> <noun> "<Object>": <Err>
//
// where Op carries the verb and the noun ("remove container"). With Op empty
// the text is Err alone: for the sentences that Docker's users match in
// scripts. Hint is the exact next step and is printed on a line of its own.
type Error struct {
	Op     string
	Kind   Kind
	Object string
	Err    error
	Hint   string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString("cannot ")
		b.WriteString(e.Op)
		if e.Object != "" {
			fmt.Fprintf(&b, " %q", e.Object)
		}
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if b.Len() == 0 {
		return e.Kind.String()
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// New makes an Error whose cause is a plain sentence.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Wrap says that op on object failed because of err, keeping err's kind and
// hint. It returns nil for a nil err.
func Wrap(err error, op, object string) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: KindOf(err), Object: object, Err: err}
}

// WithHint adds the next step to err.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: fmt.Sprintf(format, args...)}
}

// OfFile gives an error of opening a file that the user named its kind: NotFound
// or Denied.
func OfFile(err error) error {
	kind := Internal
	if errors.Is(err, os.ErrNotExist) {
		kind = NotFound
	} else if errors.Is(err, os.ErrPermission) {
		kind = Denied
	}
	return &Error{Kind: kind, Err: err}
}

// KindOf is the kind of the outermost Error in err's chain that is not
// Internal; context errors map to Canceled and Timeout.
func KindOf(err error) Kind {
	for e := err; e != nil; {
		var pe *Error
		if !errors.As(e, &pe) {
			break
		}
		if pe.Kind != Internal {
			return pe.Kind
		}
		e = pe.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// HintOf is the hint nearest to the top of err's chain, or "".
func HintOf(err error) string {
	for e := err; e != nil; {
		var pe *Error
		if !errors.As(e, &pe) {
			return ""
		}
		if pe.Hint != "" {
			return pe.Hint
		}
		e = pe.Err
	}
	return ""
}

// ExitError carries the exit status of a container's or a build step's
// process. It is how a command ends with a status that is not its own failure,
// and it prints nothing.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// ExitCode is the process exit status for err as the commands that run a
// container's process (run, start -a, exec) report it: 0 without an error, an
// ExitError's own code, 126 and 127 for a command that cannot be run, else
// 125.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var ee *ExitError
	if errors.As(err, &ee) {
		return ee.Code
	}
	switch KindOf(err) {
	case CannotInvoke:
		return 126
	case CommandMissing:
		return 127
	}
	return 125
}
