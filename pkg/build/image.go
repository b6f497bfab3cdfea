// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-containers/proa/pkg/build/dockerfile"
	"github.com/proa-containers/proa/pkg/build/engine"
	"github.com/proa-containers/proa/pkg/build/exporter"
	"github.com/proa-containers/proa/pkg/build/files"
)

// finish exports the files of the target stages and creates their images.
func (b *session) finish(ctx context.Context, builders []*builder) (*Result, error) {
	for _, to := range b.o.Exports {
		if err := b.export(ctx, to, builders); err != nil {
			return nil, err
		}
	}
	r := &Result{Warnings: b.warns}
	if b.o.NoImage {
		for _, one := range builders {
			r.Images = append(r.Images, PlatformImage{Platform: orHost(one.platform), Top: one.stages[one.plan.Target].top})
		}
		return r, nil
	}
	list := len(builders) > 1 || b.o.makesList()
	names := b.o.Tags
	if len(builders) > 1 || b.o.List {
		names = nil // they are the list's
	}
	for _, one := range builders {
		img, shown, err := one.image(ctx, names)
		if err != nil {
			return nil, err
		}
		r.Images = append(r.Images, *img)
		r.ImageID, r.Names = img.ID, shown
	}
	if list {
		return r, b.list(ctx, r, len(names) > 0)
	}
	return r, nil
}

// export writes the files of the finished target stages: of one as they are, of
// several platforms below one directory each.
func (b *session) export(ctx context.Context, to exporter.Target, builders []*builder) error {
	var all []*files.Walker
	for _, one := range builders {
		dir, release, err := b.engine.MountLayer(ctx, one.stages[one.plan.Target].top)
		if err != nil {
			return err
		}
		defer release() //nolint:errcheck // read-only, in the build's own namespace
		src, err := files.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer src.Close()
		below := ""
		if len(builders) > 1 || b.o.List {
			below = strings.ReplaceAll(orHost(one.platform), "/", "_")
		}
		w := &files.Walker{Root: src}
		if err := w.Add("", below); err != nil {
			return err
		}
		all = append(all, w)
	}
	return exporter.Write(to, all, b.o.Epoch)
}

// image creates the image of the target stage.
func (b *builder) image(ctx context.Context, names []string) (*PlatformImage, []string, error) {
	s := b.stages[b.plan.Target]
	img := cloneImage(s.image)
	if img.Created == nil || b.o.Epoch != nil {
		img.Created = b.now()
	}
	b.setPlatform(&img)
	b.edit(&img)
	top, err := s.top, error(nil)
	switch {
	case b.o.Edits.SquashAll:
		top, err = b.squash(ctx, s, origin{}, &img)
	case b.o.Squash:
		top, err = b.squash(ctx, s, s.origin, &img)
	}
	if err != nil {
		return nil, nil, err
	}
	if b.o.Edits.DropHistory {
		img.History = nil
	}
	annotations := b.o.annotations(OfManifest, orHost(b.platform))
	if b.o.Edits.NoteCreation {
		setDefault(&annotations, v1.AnnotationCreated, img.Created.Format(time.RFC3339Nano))
	}
	if err := b.inlineCache(&annotations, digestStrings(img.RootFS.DiffIDs)); err != nil {
		return nil, nil, err
	}
	id, shown, err := b.engine.CreateImage(ctx, engine.ImageSpec{Config: img, Top: top, Names: names, Annotations: annotations, Docker: b.o.Docker})
	if err != nil {
		return nil, nil, err
	}
	return &PlatformImage{Platform: orHost(b.platform), ID: id, Config: img, Top: top}, shown, nil
}

// setPlatform notes the platform that was asked for, which the last stage need not stand
// on: FROM --platform=$BUILDPLATFORM, or an image that serves several variants.
func (b *builder) setPlatform(img *dockerspec.DockerOCIImage) {
	if b.platform == "" {
		return
	}
	os, arch, variant := dockerfile.SplitPlatform(b.platform)
	if img.OS != os || img.Architecture != arch {
		img.Platform = v1.Platform{OS: os, Architecture: arch}
	}
	img.Variant = cmp.Or(variant, img.Variant)
}

// edit applies what the command line says about the finished image.
func (b *builder) edit(img *dockerspec.DockerOCIImage) {
	c, e := &img.Config, &b.o.Edits
	for _, name := range e.UnsetLabels {
		delete(c.Labels, name)
	}
	c.Env = slices.DeleteFunc(c.Env, func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(e.UnsetEnv, name)
	})
	if len(b.o.Labels) > 0 && c.Labels == nil {
		c.Labels = map[string]string{}
	}
	maps.Copy(c.Labels, b.o.Labels)
}

func setDefault(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	if _, ok := (*m)[key]; !ok {
		(*m)[key] = value
	}
}

// layerEpoch is the time that no file of a new layer may be newer than.
func (b *session) layerEpoch() *time.Time {
	if b.o.KeepTimes {
		return nil
	}
	return b.o.Epoch
}

func digestStrings(ds []digest.Digest) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.String()
	}
	return out
}

func digestOf(s string) digest.Digest { return digest.Digest(s) }
