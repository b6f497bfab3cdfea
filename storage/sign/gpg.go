// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// gpg signs with the user's own GnuPG: the library's pure Go code can only
// verify. It must be used outside of the user namespace. In there gpg would look
// for its agent in the runtime directory of root, find none, and start one that
// stays and holds the namespace.
type gpg struct {
	ctx        context.Context
	passphrase *string // nil: the agent asks
}

func (gpg) Close() error           { return nil }
func (gpg) SupportsSigning() error { return nil }

// Sign is a signature by the key that contains what was signed.
func (g gpg) Sign(input []byte, key string) ([]byte, error) {
	args := []string{"--local-user", key, "--sign"}
	if g.passphrase == nil {
		return g.run(input, nil, args...)
	}
	return g.run(input, []byte(*g.passphrase+"\n"), append([]string{"--pinentry-mode", "loopback", "--passphrase-fd", "3"}, args...)...)
}

func (gpg) Verify([]byte) ([]byte, string, error) {
	return nil, "", errs.New(errs.Unsupported, "signatures are verified elsewhere")
}

func (gpg) UntrustedSignatureContents([]byte) ([]byte, string, error) {
	return nil, "", errs.New(errs.Unsupported, "signatures are read elsewhere")
}

// check finds out whether the key can sign, before anything is sent. With a
// passphrase it tries; else the agent would ask a second time.
func (g gpg) check(key string) error {
	var err error
	if g.passphrase != nil {
		if strings.Contains(*g.passphrase, "\n") {
			return errs.New(errs.Invalid, "the passphrase has a line break")
		}
		_, err = g.Sign([]byte("{}"), key)
	} else {
		_, err = g.run(nil, nil, "--list-secret-keys", "--", key)
	}
	return errs.Wrap(err, "sign with the key", key)
}

// run calls gpg; secret is what it reads from descriptor 3.
func (g gpg) run(input, secret []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(g.ctx, "gpg", append([]string{"--batch", "--no-tty", "--quiet"}, args...)...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	cmd.Env = withTTY(os.Environ())
	if secret != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		cmd.ExtraFiles = []*os.File{r}
		// A pipe holds more than any passphrase.
		_, err = io.Copy(w, bytes.NewReader(secret))
		if cerr := w.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
	}
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errs.WithHint(errs.New(errs.Unsupported, "gpg is not installed"), "install the package gnupg")
	case g.ctx.Err() != nil:
		return nil, g.ctx.Err()
	case err != nil:
		return nil, errs.WithHint(errs.New(errs.Invalid, "%s", gpgError(said.String(), err)), "see your keys with \"gpg --list-secret-keys\"")
	}
	return out.Bytes(), nil
}

// gpgError is the last thing that gpg said.
func gpgError(said string, err error) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	if last == "" {
		return "gpg: " + err.Error()
	}
	return last
}

// withTTY tells gpg's agent where to ask for a passphrase.
func withTTY(env []string) []string {
	if os.Getenv("GPG_TTY") != "" {
		return env
	}
	if tty, err := os.Readlink("/proc/self/fd/2"); err == nil && strings.HasPrefix(tty, "/dev/pts/") {
		return append(env, "GPG_TTY="+tty)
	}
	return env
}
