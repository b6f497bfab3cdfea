// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func manifestCommand() *command {
	return &command{
		name: "manifest", short: "Manage lists of images for several platforms",
		sub: []*command{manifestAddCommand(), manifestAnnotateCommand(), manifestCreateCommand(), manifestInspectCommand(), manifestPushCommand(),
			manifestRemoveCommand(), rmiCommand().as("rm")},
	}
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
func (o *remoteFlags) options(a *app) libpod.RemoteOptions {
	r := o.registryFlags.options(a)
	if o.insecure {
		r.TLSVerify = new(bool)
	}
	return r
}

// entryFlags say what is different about one image of a list.
type entryFlags struct {
	libpod.ManifestEntry
	annotations []string
}

func (o *entryFlags) register(f *flagSet) {
	f.texts(&o.annotations, "annotation", "", "Annotation of the entry (KEY=VALUE)")
	f.text(&o.Arch, "arch", "", "Set architecture")
	f.texts(&o.Features, "features", "", "Set features of the platform")
	f.text(&o.OS, "os", "", "Set operating system")
	f.texts(&o.OSFeatures, "os-features", "", "Set operating system features")
	f.text(&o.OSVersion, "os-version", "", "Set operating system version")
	f.text(&o.Variant, "variant", "", "Set architecture variant")
}

func (o *entryFlags) entry() (m libpod.ManifestEntry, err error) {
	o.Annotations, err = spec.ParseKeyValues("annotation", o.annotations)
	return o.ManifestEntry, err
}

func manifestCreateCommand() *command {
	return &command{
		examples: []string{`proa manifest create me/web:1.0 me/web:1.0-amd64 me/web:1.0-arm64`},
		name:     "create", args: "MANIFEST_LIST [MANIFEST...]", short: "Create a list of images for several platforms", min: 1, max: -1,
		setup: func(f *flagSet) action {
			var r remoteFlags
			var amend, all bool
			var annotations []string
			f.boolean(&all, "all", "", "Of images that are lists, add every entry")
			f.boolean(&amend, "amend", "a", "Amend an existing list")
			f.texts(&annotations, "annotation", "", "Annotation of the list (KEY=VALUE)")
			r.register(f)
			return func(ctx context.Context, a *app, args []string) error {
				m, err := spec.ParseKeyValues("annotation", annotations)
				if err != nil {
					return err
				}
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				if _, err := e.ManifestCreate(ctx, args[0], amend, m); err != nil {
					return err
				}
				for _, ref := range args[1:] {
					if _, err := manifestAdd(ctx, e, args[0], ref, libpod.ManifestEntry{}, all, r.options(a)); err != nil {
						return err
					}
				}
				name, err := libpod.NormalizeName(args[0])
				a.out.Println("Created manifest list " + name)
				return err
			}
		},
	}
}

// manifestAdd adds an image of the store, else one of its registry.
func manifestAdd(ctx context.Context, e Engine, list, ref string, m libpod.ManifestEntry, all bool, r libpod.RemoteOptions) ([]string, error) {
	added, err := e.ManifestAdd(ctx, list, ref, m, all, r)
	if !errs.Is(err, errs.NotFound) || strings.Contains(ref, "://") {
		return added, err
	}
	if _, lerr := e.ImageInspect(ctx, list); lerr != nil {
		return nil, err // the list is what is missing
	}
	name, nerr := libpod.NormalizeName(ref)
	if nerr != nil {
		return nil, err
	}
	return e.ManifestAdd(ctx, list, "docker://"+name, m, all, r)
}

func manifestAddCommand() *command {
	return &command{
		name: "add", args: "MANIFEST_LIST MANIFEST [MANIFEST...]", short: "Add images to a list", min: 2, max: -1,
		setup: func(f *flagSet) action {
			var r remoteFlags
			var o entryFlags
			var all bool
			f.boolean(&all, "all", "", "Of images that are lists, add every entry")
			o.register(f)
			r.register(f)
			return func(ctx context.Context, a *app, args []string) error {
				m, err := o.entry()
				if err != nil {
					return err
				}
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				for _, ref := range args[1:] {
					added, err := manifestAdd(ctx, e, args[0], ref, m, all, r.options(a))
					if err != nil {
						return err
					}
					for _, d := range added {
						a.out.Println(d)
					}
				}
				return nil
			}
		},
	}
}

func manifestAnnotateCommand() *command {
	return &command{
		name: "annotate", args: "MANIFEST_LIST MANIFEST", short: "Change what a list says about one of its images", min: 2, max: 2,
		setup: func(f *flagSet) action {
			var o entryFlags
			o.register(f)
			return func(ctx context.Context, a *app, args []string) error {
				m, err := o.entry()
				if err != nil {
					return err
				}
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				return e.ManifestAnnotate(ctx, args[0], args[1], m)
			}
		},
	}
}

func manifestInspectCommand() *command {
	return &command{
		name: "inspect", args: "MANIFEST_LIST", short: "Display a list, or the manifest of an image", min: 1, max: 1,
		setup: func(f *flagSet) action {
			var r remoteFlags
			r.register(f)
			f.boolean(new(bool), "verbose", "v", "Accepted: everything is shown anyway").hidden = true
			return func(ctx context.Context, a *app, args []string) error {
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				doc, err := e.ManifestInspect(ctx, args[0], r.options(a))
				if err == nil {
					a.out.Println(strings.TrimRight(string(doc), "\n"))
				}
				return err
			}
		},
	}
}

func manifestPushCommand() *command {
	return &command{
		name: "push", args: "MANIFEST_LIST [DESTINATION]", short: "Push a list with its images to a registry", min: 1, max: 2,
		setup: func(f *flagSet) action {
			var r remoteFlags
			var format string
			var purge, quiet bool
			r.register(f)
			f.text(&format, "format", "", `Type of the list ("oci", "v2s2")`)
			f.boolean(&purge, "purge", "p", "Remove the local list after the push")
			f.boolean(&quiet, "quiet", "q", "Print only the digest")
			f.accept("all images of the list are pushed", "all!")
			return func(ctx context.Context, a *app, args []string) error {
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				dest := ""
				if len(args) > 1 {
					dest = args[1]
				}
				w := a.out.ErrWriter()
				if quiet {
					w = nil
				}
				digest, err := e.ManifestPush(ctx, args[0], dest, format, r.options(a), w)
				if err != nil {
					return err
				}
				a.out.Println(digest)
				if purge {
					_, err = e.RemoveImage(ctx, args[0], libpod.RemoveImageOptions{})
				}
				return err
			}
		},
	}
}

func manifestRemoveCommand() *command {
	return &command{
		name: "remove", args: "MANIFEST_LIST DIGEST [DIGEST...]", short: "Remove images from a list", min: 2, max: -1,
		setup: func(*flagSet) action {
			return func(ctx context.Context, a *app, args []string) error {
				e, err := a.engine(ctx)
				if err != nil {
					return err
				}
				return a.eachNamed(args[1:], func(entry string) error { return e.ManifestRemove(ctx, args[0], entry) })
			}
		},
	}
}
