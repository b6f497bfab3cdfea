// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/proa-containers/proa/libpod"
)

type manifestPushFlags struct {
	libpod.ManifestPushOptions
	remote      remoteFlags
	sign        signFlags
	all, remove bool
	quiet       bool
	digest      string
}

func manifestPushCommand() *command {
	return &command{
		examples: []string{
			`proa manifest push me/web:1.0                      to the registry of its name`,
			`proa manifest push me/web:1.0 oci-archive:web.tar  into a file`,
		},
		name: "push", args: "MANIFEST_LIST [DESTINATION]", short: "Push a list with its images to a registry", min: 1, max: 2,
		setup: func(f *flagSet) action {
			o := manifestPushFlags{all: true}
			o.remote.register(f)
			o.remote.registerRetry(f)
			f.boolean(&o.all, "all", "", "Push the images of the list, too")
			f.text(&o.Compression, "compression-format", "", "Compression of the layers").oneOf("gzip", "zstd", "zstd:chunked")
			f.optInt(&o.Level, "compression-level", "", "Level of the compression")
			f.text(&o.digest, "digestfile", "", "Write the digest of the pushed list to the file").path()
			f.boolean(&o.Force, "force-compression", "", "Compress again what has another compression")
			f.text(&o.Format, "format", "f", "Type of the list").oneOf("oci", "v2s2")
			f.alias(f.boolean(&o.remove, "purge", "p", "Remove the local list after the push"), "rm")
			f.boolean(&o.quiet, "quiet", "q", "Print only the digest")
			o.sign.register(f)
			f.accept("signatures are not taken along", "remove-signatures!")
			f.refuse("each image goes in one compression", "use --compression-format, or add the images twice", "add-compression")
			return withEngine(o.run)
		},
	}
}

func (o *manifestPushFlags) run(ctx context.Context, a *app, e imageEngine, args []string) error {
	if len(args) > 1 {
		o.Destination = args[1]
	}
	o.ListOnly = !o.all
	err := a.absolute(&o.digest)
	if err != nil {
		return err
	}
	if o.RemoteOptions, err = o.remote.options(a); err != nil {
		return err
	}
	if o.Sign, err = o.sign.options(ctx, a); err != nil {
		return err
	}
	digest, err := e.ManifestPush(ctx, args[0], o.ManifestPushOptions, progressTo(a, o.quiet))
	if err != nil {
		return err
	}
	a.out.Println(digest)
	if o.digest != "" {
		if err := a.writeFile(o.digest, []byte(digest), 0o644); err != nil {
			return err
		}
	}
	if o.remove {
		_, err = e.RemoveImage(ctx, args[0], libpod.RemoveImageOptions{})
	}
	return err
}
