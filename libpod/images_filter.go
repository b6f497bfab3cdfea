// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/storage"
	"github.com/proa-containers/proa/storage/imagename"
)

// imageFilter makes one question of all conditions.
func (e *Engine) imageFilter(o ImageListOptions) (func(*storage.Summary) bool, error) {
	var conds []func(*storage.Summary) bool
	if o.Ref != "" {
		conds = append(conds, matchReference(o.Ref, o.list))
	}
	for key, values := range o.Filters {
		var alternatives []func(*storage.Summary) bool
		for _, v := range values {
			c, err := e.imageCondition(key, v, o.list)
			if err != nil {
				return nil, err
			}
			if key == "label" || key == "label!" {
				conds = append(conds, c)
			} else {
				alternatives = append(alternatives, c)
			}
		}
		if len(alternatives) > 0 {
			conds = append(conds, func(s *storage.Summary) bool {
				return slices.ContainsFunc(alternatives, func(c func(*storage.Summary) bool) bool { return c(s) })
			})
		}
	}
	return func(s *storage.Summary) bool {
		for _, c := range conds {
			if !c(s) {
				return false
			}
		}
		return true
	}, nil
}

func (e *Engine) imageCondition(key, v string, list bool) (func(*storage.Summary) bool, error) {
	switch key {
	case "dangling", "readonly", "intermediate", "manifest", "containers":
		return e.imageFact(key, v)
	case "id":
		return func(s *storage.Summary) bool { return strings.HasPrefix(s.ID, strings.TrimPrefix(v, "sha256:")) }, nil
	case "digest":
		return func(s *storage.Summary) bool {
			return s.Digest == v || slices.ContainsFunc(s.RepoDigests, func(d string) bool { return strings.HasSuffix(d, "@"+v) })
		}, nil
	case "label", "label!":
		f := &filter{values: map[string][]string{key: {v}}}
		return func(s *storage.Summary) bool { return f.matchLabels(s.Labels) }, nil
	case "reference":
		return matchReference(v, list), nil
	case "before", "since", "after":
		img, err := e.images.Resolve(v)
		if err != nil {
			return nil, err
		}
		if key == "before" {
			return func(s *storage.Summary) bool { return s.Created.Before(img.Created) }, nil
		}
		return func(s *storage.Summary) bool { return s.Created.After(img.Created) }, nil
	case "until":
		t, err := spec.ParseWhen(time.Now(), v)
		if err != nil {
			return nil, err
		}
		return func(s *storage.Summary) bool { return s.Created.Before(t) }, nil
	}
	return nil, spec.UnknownFilter(key, ImageFilters)
}

// imageFact is a condition that holds or does not.
func (e *Engine) imageFact(key, v string) (func(*storage.Summary) bool, error) {
	want, err := strconv.ParseBool(v)
	if err != nil {
		return nil, errs.WithHint(errs.New(errs.Invalid, "invalid filter '%s=[%s]'", key, v), "write --filter %s=true, or false", key)
	}
	fact := map[string]func(*storage.Summary) bool{
		"dangling":     func(s *storage.Summary) bool { return len(s.Names) == 0 },
		"readonly":     func(*storage.Summary) bool { return false }, // there is one store, and it is writable
		"intermediate": func(s *storage.Summary) bool { return s.Intermediate },
		"manifest":     func(s *storage.Summary) bool { return s.List },
	}[key]
	if key == "containers" {
		db, err := e.db()
		if err != nil {
			return nil, err
		}
		use, err := db.ImageUse()
		if err != nil {
			return nil, err
		}
		fact = func(s *storage.Summary) bool { return use[s.ID] > 0 }
	}
	return func(s *storage.Summary) bool { return fact(s) == want }, nil
}

// matchReference matches a pattern against familiar names, with or without tag.
// Names by digest count as well, with or without the digest; where something is
// done to the images only for those that have no other name.
func matchReference(pattern string, list bool) func(*storage.Summary) bool {
	return func(s *storage.Summary) bool {
		match := func(n string) bool { return matchName(pattern, n, s.RepoDigests) }
		return slices.ContainsFunc(s.Names, match) ||
			(list || len(s.Names) == 0) && slices.ContainsFunc(s.RepoDigests, match)
	}
}

// matchName matches one complete name, or its familiar form, with or without its tag;
// for a pattern that asks for localhost/ what podman would call the image as well.
// digests are its names by digest.
func matchName(pattern, full string, digests []string) bool {
	forms := []string{imagename.Familiar(full), full}
	if l := imagename.Localhost(full, digests); l != "" && strings.HasPrefix(pattern, "localhost/") {
		forms = append(forms, l)
	}
	for _, n := range forms {
		repo, _ := imagename.Split(n)
		for _, candidate := range []string{n, repo} {
			if ok, err := path.Match(pattern, candidate); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// asked keeps those names of an image, or names by digest, that a listing by name
// asks for: the image may have others. digests are all its names by digest.
func (o *ImageListOptions) asked(names, digests []string) []string {
	refs := o.Filters["reference"]
	var kept []string
	for _, n := range names {
		if o.Ref != "" && !matchName(o.Ref, n, digests) {
			continue
		}
		if len(refs) > 0 && !slices.ContainsFunc(refs, func(pattern string) bool { return matchName(pattern, n, digests) }) {
			continue
		}
		kept = append(kept, n)
	}
	return kept
}
