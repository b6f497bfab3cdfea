// SPDX-License-Identifier: Apache-2.0

// Package imagename reads image names as Docker does. It asks neither disk nor
// network.
package imagename

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.podman.io/image/v5/docker/reference"

	"github.com/proa-containers/proa/pkg/errs"
)

// Parse makes a complete reference of what the user wrote: domain and tag
// are implied as in Docker, and a digest makes a tag superfluous. Kind Invalid: it
// is no name.
func Parse(name string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, Bad(name, err)
	}
	if d, ok := named.(reference.Digested); ok {
		c, err := reference.WithDigest(reference.TrimNamed(named), d.Digest())
		if err != nil {
			return nil, Bad(name, err)
		}
		return c, nil
	}
	return reference.TagNameOnly(named), nil
}

// Bad is the error for a name that err says is none, of Kind Invalid, with the
// hint to write it in lower case where that would do.
func Bad(name string, err error) error {
	e := errs.New(errs.Invalid, "invalid reference format: %q: %v", name, err)
	if errors.Is(err, reference.ErrReferenceInvalidFormat) { // says no more than that
		e.Err = errs.New(errs.Invalid, "invalid reference format: %q", name)
	}
	if l := strings.ToLower(name); l != name {
		if _, lerr := reference.ParseNormalizedNamed(l); lerr == nil {
			e.Err = errs.New(errs.Invalid, "invalid reference format: repository name %q must be lowercase", name)
			e.Hint = "write " + l
		}
	}
	return e
}

// Normalize makes a complete name of what the user wrote: alpine becomes
// docker.io/library/alpine:latest. A digest is kept, without a tag then.
func Normalize(name string) (string, error) {
	n, err := Parse(name)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

// Familiar shortens a complete name as Docker shows it: alpine:latest. What is
// no name comes back as it is.
func Familiar(name string) string {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(n)
}

// Split is the repository, familiar, and the tag of a complete name.
func Split(name string) (repository, tag string) {
	n, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name, ""
	}
	if t, ok := n.(reference.Tagged); ok {
		tag = t.Tag()
	}
	return reference.FamiliarName(n), tag
}

var hexID = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// IsID reports whether s can be an image id or the start of one, and returns it
// without "sha256:".
func IsID(s string) (string, bool) {
	s = strings.TrimPrefix(s, "sha256:")
	return s, hexID.MatchString(s)
}

// Podman stores a local image NAME as localhost/NAME, Docker and Proa store it as
// docker.io/library/NAME. So that both spellings find it, localhost/NAME is read as NAME
// where no image has it as its own name. An image that a registry knows under NAME is
// not meant: it came from there, or went there, and there it is another one's to change.

// Stored is the complete name under which an image is stored that podman would call
// name.
func Stored(name string) (reference.Named, bool) {
	rest, ok := strings.CutPrefix(name, "localhost/")
	if !ok || !IsShort(rest) {
		return nil, false
	}
	n, err := Parse(rest)
	return n, err == nil
}

// AtRegistry says whether names by digest show that a registry knows an image under a
// repository.
func AtRegistry(repository string, digests []string) bool {
	return slices.ContainsFunc(digests, func(d string) bool { return strings.HasPrefix(d, repository+"@") })
}

// Localhost is what podman would call an image that is stored under a complete name and
// has names by digest: the other direction of Stored. "": nothing else.
func Localhost(full string, digests []string) string {
	f := Familiar(full)
	n, err := reference.ParseNormalizedNamed(full)
	if err != nil || reference.Domain(n) != "docker.io" || AtRegistry(n.Name(), digests) {
		return ""
	}
	return "localhost/" + f
}

// IsShort reports whether the user left the registry out.
func IsShort(name string) bool {
	first, _, ok := strings.Cut(name, "/")
	if !ok {
		return true
	}
	return first != "localhost" && !strings.ContainsAny(first, ".:")
}
