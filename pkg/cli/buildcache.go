// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/csv"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/pkg/build"
	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
)

// buildCacheFlags say where else steps are known.
type buildCacheFlags struct {
	from, to []string
	ttl      string
}

func (c *buildCacheFlags) register(f *flagSet) {
	f.texts(&c.from, "cache-from", "", `Caches to take known steps from ("REPOSITORY", "type=registry,ref=NAME", "type=local,src=DIRECTORY")`)
	f.texts(&c.to, "cache-to", "", `Where to put the steps of this build ("REPOSITORY", "type=registry,ref=NAME[,mode=max]", "type=local,dest=DIRECTORY", "type=inline")`)
	f.text(&c.ttl, "cache-ttl", "", "Use no step that was made longer ago").typ = "duration"
}

func (c *buildCacheFlags) fill(a *app, o *build.Options) error {
	for _, text := range c.from {
		spec, err := parseCache(a, "from", text)
		if err != nil {
			return err
		}
		o.CacheFrom = append(o.CacheFrom, spec)
	}
	for _, text := range c.to {
		spec, err := parseCache(a, "to", text)
		if err != nil {
			return err
		}
		if spec.Kind == cache.KindInline && o.NoImage {
			return errs.WithHint(errs.New(errs.Invalid, "invalid cache %q: without an image there is nothing to keep it in", text), "use type=registry or type=local")
		}
		o.CacheTo = append(o.CacheTo, spec)
	}
	if c.ttl == "" {
		return nil
	}
	d, err := time.ParseDuration(c.ttl)
	if err != nil || d < 0 {
		return errs.WithHint(errs.New(errs.Invalid, "invalid --cache-ttl %q: it is not a duration", c.ttl), "write 30m or 24h")
	}
	if o.CacheTTL = d; d == 0 {
		o.NoCache = true // as in podman: nothing is young enough
	}
	return nil
}

// parseCache reads podman's REPOSITORY and buildx's type=... .
func parseCache(a *app, dir, text string) (cache.Spec, error) {
	c := cache.Spec{Text: text}
	if !strings.Contains(text, "=") {
		return repositoryCache(c)
	}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return c, errs.New(errs.Invalid, "invalid cache %q: %v", text, err)
	}
	kv := map[string]string{}
	for _, part := range fields {
		k, v, _ := strings.Cut(part, "=")
		kv[k] = v
	}
	if err := setCacheKind(&c, dir, kv["type"]); err != nil {
		return c, err
	}
	delete(kv, "type")
	for k, v := range kv {
		if err := setCacheOption(a, &c, dir, k, v); err != nil {
			return c, err
		}
	}
	return c, completeCache(c, dir)
}

// repositoryCache is podman's form, where there is no tag.
func repositoryCache(c cache.Spec) (cache.Spec, error) {
	full, err := libpod.NormalizeName(c.Text)
	if err != nil {
		return c, err
	}
	c.Kind, c.Name = cache.KindRegistry, c.Text
	base := c.Text[strings.LastIndexByte(c.Text, '/')+1:]
	if !strings.ContainsAny(base, ":@") {
		c.Kind, c.Name = cache.KindSteps, strings.TrimSuffix(full, ":latest")
	}
	return c, nil
}

func setCacheKind(c *cache.Spec, dir, kind string) error {
	switch kind {
	case "registry", "":
		c.Kind = cache.KindRegistry
		return nil
	case "local":
		c.Kind, c.Tag = cache.KindLocal, "latest"
		return nil
	case "inline":
		if dir == "to" {
			c.Kind = cache.KindInline
			return nil
		}
		return errs.WithHint(errs.New(errs.Invalid, "invalid cache %q: it is in an image", c.Text), "use type=registry,ref=IMAGE")
	case "gha":
		return errs.WithHint(errs.New(errs.Unsupported, "the cache type gha is not supported: it is a service of GitHub's own"),
			"use type=registry with ghcr.io, or type=local with actions/cache")
	case "s3", "azblob":
		return errs.WithHint(errs.New(errs.Unsupported, "the cache type %s is not supported: Proa speaks to registries only", kind),
			"use type=registry, or copy the directory of type=local")
	}
	return errs.WithHint(errs.New(errs.Invalid, "unknown cache type %q", kind), "use registry, local or inline")
}

func setCacheOption(a *app, c *cache.Spec, dir, k, v string) error {
	bad := func(what string) error { return errs.New(errs.Invalid, "invalid cache %q: %s", c.Text, what) }
	switch {
	case k == "ref" && c.Kind == cache.KindRegistry:
		if _, err := libpod.NormalizeName(v); err != nil {
			return err
		}
		c.Name = v
	case k == "src" && c.Kind == cache.KindLocal && dir == "from", k == "dest" && c.Kind == cache.KindLocal && dir == "to":
		var err error
		if c.Dir, err = a.abs(v); err != nil {
			return err
		}
	case k == "tag" && c.Kind == cache.KindLocal:
		c.Tag = v
	case k == "mode" && dir == "to":
		if v != "min" && v != "max" {
			return bad("mode is min or max")
		}
		c.Max = v == "max"
	case k == "ignore-error" && dir == "to":
		on, err := strconv.ParseBool(v)
		if err != nil {
			return bad("ignore-error is true or false")
		}
		c.IgnoreError = on
	case (k == "oci-mediatypes" || k == "image-manifest") && dir == "to":
		if on, err := strconv.ParseBool(v); err != nil || !on {
			return bad("caches are OCI artifacts: " + k + " is true")
		}
	case k == "compression" && dir == "to":
		if v != "gzip" {
			return errs.New(errs.Unsupported, "invalid cache %q: layers are compressed with gzip", c.Text)
		}
	default:
		return bad("unexpected key " + strconv.Quote(k))
	}
	return nil
}

func completeCache(c cache.Spec, dir string) error {
	switch {
	case c.Kind == cache.KindRegistry && c.Name == "":
		return errs.New(errs.Invalid, "invalid cache %q: it needs ref=NAME", c.Text)
	case c.Kind == cache.KindLocal && c.Dir == "":
		return errs.New(errs.Invalid, "invalid cache %q: it needs %s=DIRECTORY", c.Text, map[string]string{"from": "src", "to": "dest"}[dir])
	case c.Kind == cache.KindInline && c.Max:
		return errs.WithHint(errs.New(errs.Unsupported, "invalid cache %q: an image has the layers of its own steps only", c.Text), "use type=registry for mode=max")
	}
	return nil
}
