// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/term"
)

// signFlags are the flags of commands that sign what they push.
type signFlags struct {
	gpg, sigstore, params, passphrase string
	set                               *flagSet
}

func (o *signFlags) register(f *flagSet) {
	o.set = f
	f.text(&o.gpg, "sign-by", "", "Sign with the GPG key (fingerprint or mail address)")
	f.text(&o.params, "sign-by-sigstore", "", "Sign as the file of parameters says").path()
	f.text(&o.sigstore, "sign-by-sigstore-private-key", "", "Sign with the sigstore key in the file").path()
	f.text(&o.passphrase, "sign-passphrase-file", "", "File with the passphrase of the key").path()
	f.refuse("GnuPG signs, not Sequoia", "use --sign-by", "sign-by-sq-fingerprint")
}

// options reads the passphrase, from its file or from the person at the
// terminal.
func (o *signFlags) options(ctx context.Context, a *app) (s libpod.SignOptions, err error) {
	if err := a.absolute(&o.sigstore, &o.params, &o.passphrase); err != nil {
		return s, err
	}
	file := o.passphrase
	if o.params != "" {
		if o.sigstore != "" {
			return s, errs.WithHint(errs.New(errs.Invalid, "--sign-by-sigstore and --sign-by-sigstore-private-key cannot be combined"), "omit one of the two")
		}
		own := ""
		if o.sigstore, own, err = libpod.SigstoreParams(o.params); err != nil {
			return s, err
		}
		if err := a.absolute(&own, &o.sigstore); err != nil {
			return s, err
		}
		if own != "" {
			file = own
		}
	}
	s.GPGKey, s.SigstoreKey = o.gpg, o.sigstore
	switch {
	case file != "" && s.GPGKey != "" && s.SigstoreKey != "":
		return s, errs.WithHint(errs.New(errs.Invalid, "only one of --sign-by and --sign-by-sigstore-private-key can be used with --sign-passphrase-file"), "sign in two pushes")
	case file != "" && s.GPGKey == "" && s.SigstoreKey == "":
		return s, errs.WithHint(errs.New(errs.Invalid, "--sign-passphrase-file is for a key"), "add --sign-by or --sign-by-sigstore-private-key")
	case file != "":
		s.Passphrase, err = readPassphrase(file)
	case s.SigstoreKey != "":
		s.Passphrase, err = a.askPassphrase(ctx, "Passphrase for key "+s.SigstoreKey+": ")
	}
	return s, err
}

// readPassphrase is the first line of a file.
func readPassphrase(path string) (*string, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := errs.Denied
		if errors.Is(err, os.ErrNotExist) {
			kind = errs.NotFound
		}
		return nil, errs.New(kind, "cannot read the passphrase: %w", err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 1<<16)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errs.New(errs.Invalid, "cannot read the passphrase: %w", err)
	}
	line = strings.TrimSuffix(line, "\n")
	return &line, nil
}

// askPassphrase asks a person.
func (a *app) askPassphrase(ctx context.Context, prompt string) (*string, error) {
	tty := a.keyboard()
	if tty == nil {
		return nil, errs.WithHint(errs.New(errs.Invalid, "nobody is here to type the passphrase"), "add --sign-passphrase-file FILE")
	}
	text, err := a.secret(bufio.NewReader(term.Interruptible(ctx, tty)), tty, prompt)
	if errors.Is(err, io.EOF) {
		err = errs.New(errs.Invalid, "no passphrase was typed")
	}
	return &text, err
}
