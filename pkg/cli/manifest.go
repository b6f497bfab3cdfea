// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// manifestEngine is the part of the engine that keeps manifest lists.
type manifestEngine interface {
	ManifestCreate(ctx context.Context, name string, c libpod.ManifestCreation) (string, error)
	ManifestAdd(ctx context.Context, list, ref string, m libpod.ManifestEntry, all bool, r libpod.RemoteOptions) ([]string, error)
	ManifestAnnotate(ctx context.Context, list, entry string, m libpod.ManifestEntry) error
	ManifestAnnotateIndex(ctx context.Context, list string, annotations map[string]string, subject string) error
	ManifestRemove(ctx context.Context, list, entry string) error
	ManifestExists(ctx context.Context, name string) (bool, error)
	ManifestInspect(ctx context.Context, name string, verbose bool, r libpod.RemoteOptions) ([]byte, error)
	ManifestPush(ctx context.Context, list string, o libpod.ManifestPushOptions, progress io.Writer) (string, error)
}

func manifestCommand() *command {
	return &command{
		name: "manifest", short: "Manage lists of images for several platforms",
		sub: []*command{manifestAddCommand(), manifestAnnotateCommand(), manifestCreateCommand(),
			exister("MANIFEST_LIST", "Tell by the exit status whether a list exists", lookupList),
			manifestInspectCommand(), manifestPushCommand(), manifestRemoveCommand(), rmiCommand().as("rm")},
	}
}

func lookupList(ctx context.Context, e imageEngine, ref string) (any, error) {
	ok, err := e.ManifestExists(ctx, ref)
	if err == nil && !ok {
		err = errs.New(errs.NotFound, "no such manifest list: %s", ref)
	}
	return nil, err
}

// remoteFlags are how a registry is reached.
type remoteFlags struct {
	registryFlags
	insecure bool
}

func (o *remoteFlags) register(f *flagSet) {
	o.registryFlags.register(f)
	f.boolean(&o.insecure, "insecure", "", "Allow a registry without a valid certificate")
}

// options is what was given.
func (o *remoteFlags) options(a *app) (libpod.RemoteOptions, error) {
	r, err := o.registryFlags.options(a)
	if o.insecure {
		r.TLSVerify = new(bool)
	}
	return r, err
}

// entryFlags say what is different about one image of a list.
type entryFlags struct {
	libpod.ManifestEntry
	annotations []string
}

func (o *entryFlags) register(f *flagSet) {
	f.texts(&o.annotations, "annotation", "", "Annotation of the entry (KEY=VALUE)")
	f.text(&o.Arch, "arch", "", "Set architecture")
	f.text(&o.OS, "os", "", "Set operating system")
	f.texts(&o.OSFeatures, "os-features", "", "Set operating system features")
	f.text(&o.OSVersion, "os-version", "", "Set operating system version")
	f.text(&o.Variant, "variant", "", "Set architecture variant")
	f.refuse("an OCI index has no field for them", "use --os-features, or an --annotation", "features")
}

func (o *entryFlags) entry() (m libpod.ManifestEntry, err error) {
	o.Annotations, err = spec.ParseKeyValues("annotation", o.annotations)
	return o.ManifestEntry, err
}

func manifestCreateCommand() *command {
	return &command{
		examples: []string{`proa manifest create me/web:1.0 me/web:1.0-amd64 me/web:1.0-arm64`},
		name:     "create", args: "MANIFEST_LIST [MANIFEST...]", short: "Create a list of images for several platforms", min: 1, max: -1,
		long: "An image that is not here is looked for at its registry, and only named in the list.",
		setup: func(f *flagSet) action {
			var r remoteFlags
			var c libpod.ManifestCreation
			var annotations []string
			f.boolean(&c.All, "all", "", "Of images that are lists, add every entry")
			f.boolean(&c.Amend, "amend", "a", "Amend an existing list")
			f.texts(&annotations, "annotation", "", "Annotation of the list (KEY=VALUE)")
			r.register(f)
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) (err error) {
				if c.Annotations, err = spec.ParseKeyValues("annotation", annotations); err != nil {
					return err
				}
				c.Refs = args[1:]
				if c.Remote, err = r.options(a); err != nil {
					return err
				}
				if _, err := e.ManifestCreate(ctx, args[0], c); err != nil {
					return err
				}
				name, err := libpod.NormalizeName(args[0])
				a.out.Println("Created manifest list " + name)
				return err
			})
		},
	}
}

func manifestAddCommand() *command {
	return &command{
		name: "add", args: "MANIFEST_LIST MANIFEST [MANIFEST...]", short: "Add images to a list", min: 2, max: -1,
		long: "An image that is not here is looked for at its registry, and only named in the list. With a transport\n(oci:, oci-archive:, docker-archive:, dir:, containers-storage:) it is pulled first.",
		setup: func(f *flagSet) action {
			var r remoteFlags
			var o entryFlags
			var all bool
			f.boolean(&all, "all", "", "Of images that are lists, add every entry")
			o.register(f)
			r.register(f)
			f.refuse("a list holds images", "proa artifact add", "artifact!", "artifact-config", "artifact-config-type", "artifact-exclude-titles!", "artifact-layer-type", "artifact-subject", "artifact-type")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				m, err := o.entry()
				if err != nil {
					return err
				}
				remote, err := r.options(a)
				if err != nil {
					return err
				}
				for _, ref := range args[1:] {
					added, err := e.ManifestAdd(ctx, args[0], ref, m, all, remote)
					if err != nil {
						return err
					}
					for _, d := range added {
						a.out.Println(d)
					}
				}
				return nil
			})
		},
	}
}

func manifestAnnotateCommand() *command {
	return &command{
		name: "annotate", args: "MANIFEST_LIST [MANIFEST]", short: "Change what a list says about one of its images, or about itself", min: 1, max: 2,
		setup: func(f *flagSet) action {
			var o entryFlags
			var index bool
			var subject string
			o.register(f)
			f.boolean(&index, "index", "", "Give the annotations to the list itself")
			f.text(&subject, "subject", "", "Image that the list belongs to")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				m, err := o.entry()
				if err != nil {
					return err
				}
				if index || subject != "" {
					for _, n := range []string{"arch", "os", "os-features", "os-version", "variant"} {
						if f.changed(n) {
							return errs.WithHint(errs.New(errs.Invalid, "--%s is about an image, --index and --subject about the list", n), "run the command twice")
						}
					}
					return e.ManifestAnnotateIndex(ctx, args[0], m.Annotations, subject)
				}
				if len(args) < 2 {
					c := a.call
					return c.command().usageError(c.words, "%q requires exactly 2 arguments without --index", c.words)
				}
				return e.ManifestAnnotate(ctx, args[0], args[1], m)
			})
		},
	}
}

func manifestInspectCommand() *command {
	return &command{
		name: "inspect", args: "MANIFEST_LIST", short: "Display a list, or the manifest of an image", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var r remoteFlags
			var verbose bool
			r.register(f)
			f.boolean(&verbose, "verbose", "v", "With the manifests that the list names")
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				remote, err := r.options(a)
				if err != nil {
					return err
				}
				doc, err := e.ManifestInspect(ctx, args[0], verbose, remote)
				if err != nil {
					return err
				}
				var b bytes.Buffer
				if err := json.Indent(&b, doc, "", "    "); err != nil {
					return errs.New(errs.Corrupt, "cannot read the manifest of %s: %w", args[0], err)
				}
				a.out.Println(b.String())
				return nil
			})
		},
	}
}

func manifestRemoveCommand() *command {
	return &command{
		name: "remove", args: "MANIFEST_LIST DIGEST [DIGEST...]", short: "Remove images from a list", min: 2, max: -1,
		setup: func(*flagSet) action {
			return withEngine(func(ctx context.Context, a *app, e imageEngine, args []string) error {
				return a.eachNamed(args[1:], func(entry string) error { return e.ManifestRemove(ctx, args[0], entry) })
			})
		},
	}
}
