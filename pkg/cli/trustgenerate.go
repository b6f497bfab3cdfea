// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

func trustGenerateCommand() *command {
	return &command{
		examples: []string{`proa image trust generate-key me   makes me.key and me.pub`},
		name:     "generate-key", args: "PREFIX", short: "Make a pair of sigstore keys", min: 1, max: 1,
		long: "The private key goes to PREFIX.key, encrypted, the public one to PREFIX.pub. Files that exist stay. Sign with\n" +
			"--sign-by-sigstore-private-key, verify with \"proa image trust set --type sigstoreSigned\". GPG keys are made by gpg.",
		setup: func(f *flagSet) action {
			var file string
			f.text(&file, "passphrase-file", "", "File with the passphrase of the new key").path()
			return func(ctx context.Context, a *app, args []string) error { return generateKey(ctx, a, args[0], file) }
		},
	}
}

func generateKey(ctx context.Context, a *app, prefix, file string) error {
	if err := a.absolute(&prefix, &file); err != nil {
		return err
	}
	for _, p := range []string{prefix + ".key", prefix + ".pub"} {
		if _, err := os.Lstat(p); err == nil {
			return errs.WithHint(errs.New(errs.Exists, "%s exists", p), "use another prefix")
		}
	}
	var passphrase *string
	var err error
	if file != "" {
		passphrase, err = readPassphrase(file)
	} else {
		passphrase, err = a.askPassphrase(ctx, "Passphrase for the new key: ")
	}
	if err != nil {
		return errs.WithHint(err, "add --passphrase-file FILE")
	}
	private, public, err := libpod.GenerateSigstoreKey(*passphrase)
	if err != nil {
		return err
	}
	if err := a.writeFile(prefix+".key", private, 0o600); err != nil {
		return err
	}
	if err := a.writeFile(prefix+".pub", public, 0o644); err != nil {
		return err
	}
	a.out.Println(prefix + ".key")
	a.out.Println(prefix + ".pub")
	return nil
}
