// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type imageSignFlags struct {
	libpod.ImageSignOptions
	registry   registryFlags
	passphrase string
}

func imageSignCommand() *command {
	return &command{
		examples: []string{`proa image sign --sign-by me@example.com registry.example.com/me/web:1.0`},
		name:     "sign", args: "IMAGE [IMAGE...]", short: "Sign images that are at a registry, with a GPG key", min: 1, max: -1,
		long: "The signature is written where \"proa push --sign-by\" writes it. Of an image for several platforms that for this machine is signed.",
		setup: func(f *flagSet) action {
			var o imageSignFlags
			f.boolean(&o.All, "all", "a", "Of an image for several platforms, sign the list and every image")
			f.text(&o.Directory, "directory", "d", "Directory for the signatures").dir()
			o.registry.register(f)
			f.text(&o.Sign.GPGKey, "sign-by", "", "GPG key (fingerprint or mail address)")
			f.text(&o.passphrase, "sign-passphrase-file", "", "File with the passphrase of the key").path()
			return withEngine(o.run)
		},
	}
}

func (o *imageSignFlags) run(ctx context.Context, a *app, e imageEngine, args []string) error {
	if o.Sign.GPGKey == "" {
		return errs.WithHint(errs.New(errs.Invalid, "no key was given"), "add --sign-by KEY; see your keys with \"gpg --list-secret-keys\"")
	}
	err := a.absolute(&o.Directory, &o.passphrase)
	if err != nil {
		return err
	}
	if o.passphrase != "" {
		if o.Sign.Passphrase, err = readPassphrase(o.passphrase); err != nil {
			return err
		}
	}
	if o.RemoteOptions, err = o.registry.options(a); err != nil {
		return err
	}
	return a.each(args, func(name string) error {
		paths, err := e.ImageSign(ctx, name, o.ImageSignOptions)
		for _, p := range paths {
			a.out.Println(p)
		}
		return err
	})
}
