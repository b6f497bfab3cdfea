// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strconv"

	"github.com/proa-containers/proa/pkg/build/cache"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// setBuiltin applies the build arguments that BuildKit documents. They need no ARG line.
// The linter reads BUILDKIT_DOCKERFILE_CHECK itself, and warns of those that have none here.
func (o *Options) setBuiltin() error {
	args := o.parsing()
	on := func(name string) (bool, error) {
		v, given := args.Arg(name)
		if !given || v == "" {
			return false, nil
		}
		b, err := strconv.ParseBool(v)
		if err != nil {
			return false, errs.New(errs.Invalid, "invalid build argument %s=%s: write true or false", name, v)
		}
		return b, nil
	}
	var inline bool
	for name, p := range map[string]*bool{
		"BUILDKIT_CONTEXT_KEEP_GIT_DIR": &o.Context.KeepGit, "BUILDKIT_MULTI_PLATFORM": &o.List, "BUILDKIT_INLINE_CACHE": &inline,
	} {
		b, err := on(name)
		if err != nil {
			return err
		}
		*p = *p || b
	}
	if inline && !o.NoImage && !slices.ContainsFunc(o.CacheTo, func(c cache.Spec) bool { return c.Kind == cache.KindInline }) {
		if o.Docker {
			return errs.WithHint(errs.New(errs.Invalid, "conflicting options: BUILDKIT_INLINE_CACHE and --format docker: the inline cache is an annotation"),
				"use --cache-to type=registry, or omit --format")
		}
		o.CacheTo = append(slices.Clone(o.CacheTo), cache.Spec{Kind: cache.KindInline, Text: "type=inline"})
	}
	if v, ok := args.Arg("BUILDKIT_CACHE_MOUNT_NS"); ok {
		o.CacheNamespace = v
	}
	if v, ok := args.Arg("BUILDKIT_SANDBOX_HOSTNAME"); ok {
		if err := spec.CheckHostname(v); err != nil {
			return errs.Wrap(err, "use", "BUILDKIT_SANDBOX_HOSTNAME")
		}
		o.Run.Process.Hostname = v
	}
	return nil
}
