// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
)

type saveFlags struct {
	output, format         string
	compress, uncompressed bool
}

func saveCommand() *command {
	return &command{
		examples: []string{
			`proa save -o both.tar alpine busybox    two images in one archive`,
			`proa save web | ssh other proa load     without a registry`,
		},
		name: "save", args: "IMAGE [IMAGE...]", short: "Save one or more images to a tar archive (streamed to STDOUT by default)", min: 1, max: -1, twin: "image save",
		setup: func(f *flagSet) action {
			var o saveFlags
			f.text(&o.output, "output", "o", "Write to a file, instead of STDOUT").path()
			f.text(&o.format, "format", "", "Format of the archive").oneOf("docker-archive", "oci-archive", "oci-dir", "docker-dir").def = "docker-archive"
			f.boolean(new(bool), "multi-image-archive", "m", "Accepted: an archive holds one image or several").hidden = true
			f.boolean(new(bool), "quiet", "q", "Accepted: nothing is said but errors").hidden = true
			f.boolean(&o.compress, "compress", "", "Compress the layers (docker-dir)")
			f.boolean(&o.uncompressed, "uncompressed", "", "Leave the layers uncompressed (oci-archive, oci-dir)")
			f.refuse("an image is saved whole", "omit it", "platform")
			f.refuse("what goes out was accepted when it came in", "omit it", "signature-policy")
			return func(ctx context.Context, a *app, args []string) error { return o.run(ctx, a, args) }
		},
	}
}

func (o *saveFlags) run(ctx context.Context, a *app, args []string) error {
	so := libpod.SaveOptions{Format: o.format, Compress: o.compress, Uncompressed: o.uncompressed}
	switch {
	case o.compress && o.format != "docker-dir":
		return errs.WithHint(errs.New(errs.Invalid, "--compress can only be set when --format is 'docker-dir'"), "add --format docker-dir, or compress the archive: proa save IMAGE | gzip")
	case o.uncompressed && !strings.HasPrefix(o.format, "oci-"):
		return errs.WithHint(errs.New(errs.Invalid, "--uncompressed is about the formats oci-archive and oci-dir"), "omit it: the other formats are not compressed")
	}
	var err error
	if so.Path, so.Output, err = a.archiveOutput(o.output); err != nil {
		return err
	}
	e, err := engineOf[imageEngine](ctx, a)
	if err != nil {
		return err
	}
	return e.Save(ctx, args, so)
}
