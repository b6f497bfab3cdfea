// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type pushFlags struct {
	libpod.PushOptions
	registry registryFlags
	sign     signFlags
	digest   string
}

func pushCommand() *command {
	return &command{
		examples: []string{
			`proa push me/web:1.0                        to docker.io`,
			`proa push web registry.example.com/web:1.0  under another name`,
			`proa push web oci-archive:web.tar           into a file`,
		},
		name: "push", args: "NAME[:TAG] [DESTINATION]", short: "Upload an image to a registry", min: 1, max: 2, twin: "image push",
		setup: func(f *flagSet) action {
			var o pushFlags
			f.boolean(&o.AllTags, "all-tags", "a", "Push all tags of an image to the repository")
			o.registry.register(f)
			o.registry.registerRetry(f)
			f.text(&o.Compression, "compression-format", "", "Compression of the layers").oneOf("gzip", "zstd", "zstd:chunked")
			f.optInt(&o.Level, "compression-level", "", "Level of the compression")
			f.text(&o.digest, "digestfile", "", "Write the digest of the pushed image to the file").path()
			f.text(&o.Format, "format", "", "Type of the manifest").oneOf("oci", "v2s2")
			f.boolean(&o.Quiet, "quiet", "q", "Suppress verbose output")
			o.sign.register(f)
			o.registerEncrypt(f)
			f.accept("no image is signed here by default", "disable-content-trust!", "remove-signatures!")
			f.refuse("it is not implemented", "omit it", "platform", "force-compression!")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *pushFlags) registerEncrypt(f *flagSet) {
	var keys []string
	f.add(&flagDef{name: "encryption-key", typ: "list", usage: "Encrypt the layers for a key (jwe:PUBLIC.pem, pkcs7:CERTIFICATE.pem, pgp:MAIL)", set: func(s string) (err error) {
		keys = append(keys, s)
		o.Encrypt, err = libpod.EncryptionKeys(keys)
		return err
	}})
	f.add(&flagDef{name: "encrypt-layer", typ: "list", usage: "Encrypt only this layer; 0 is the first, -1 the last (default: all)", set: func(s string) error {
		for _, part := range strings.Split(s, ",") {
			var n int
			if err := setInt(&n, part); err != nil {
				return err
			}
			o.EncryptOnly = append(o.EncryptOnly, n)
		}
		return nil
	}})
}

func (o *pushFlags) run(ctx context.Context, a *app, args []string) error {
	if len(args) > 1 {
		if o.AllTags {
			return errs.WithHint(errs.New(errs.Invalid, "--all-tags takes one name"), "omit the destination")
		}
		o.Destination = args[1]
	}
	if !o.Quiet {
		o.Progress = a.out.OutWriter()
	}
	err := a.absolute(&o.digest)
	if err != nil {
		return err
	}
	if o.RemoteOptions, err = o.registry.options(a); err != nil {
		return err
	}
	if o.Encrypt == nil && o.EncryptOnly != nil {
		return errs.WithHint(errs.New(errs.Invalid, "--encrypt-layer is for an encrypted image"), "add --encryption-key jwe:PUBLIC.pem")
	}
	if o.Sign, err = o.sign.options(ctx, a); err != nil {
		return err
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	done, err := e.Push(ctx, args[0], o.PushOptions)
	for _, d := range done {
		if o.Quiet {
			full, nerr := libpod.NormalizeName(d.Name)
			if nerr != nil {
				full = d.Name
			}
			a.out.Println(full)
		}
		if o.digest != "" {
			if err := a.writeFile(o.digest, []byte(d.Digest), 0o644); err != nil {
				return err
			}
		}
	}
	return err
}
