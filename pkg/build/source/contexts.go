// SPDX-License-Identifier: Apache-2.0

package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

// imagePrefixes begin the value of a named context that is an image: Docker's and
// podman's.
var imagePrefixes = []string{"docker-image://", "docker://", "container-image://"}

const layoutPrefix = "oci-layout://"

// Contexts are the named contexts of a build (--build-context NAME=VALUE).
type Contexts map[string]string

// Lookup is the value of a named context. Names are compared as those of
// images: alpine, alpine:latest and docker.io/library/alpine are one.
func (c Contexts) Lookup(name string) (string, bool) {
	if v, ok := c[name]; ok {
		return v, true
	}
	for n, v := range c {
		if shortName(n) == shortName(name) {
			return v, true
		}
	}
	return "", false
}

func shortName(name string) string {
	name = strings.TrimPrefix(name, "docker.io/")
	return strings.TrimSuffix(strings.TrimPrefix(name, "library/"), ":latest")
}

// ContextImage is the image that a named context stands for, as the engine
// takes it: a name, scratch, or oci-layout://DIRECTORY[:TAG|@DIGEST].
func ContextImage(name, value string) (string, error) {
	for _, p := range imagePrefixes {
		if ref, ok := strings.CutPrefix(value, p); ok {
			return ref, nil
		}
	}
	if strings.HasPrefix(value, layoutPrefix) {
		return value, nil
	}
	return "", errs.New(errs.Invalid, "build context %q (%s) is a directory of files, not an image", name, redact.URL(value))
}

// CheckBase refuses a FROM that names a directory which holds an image in OCI layout.
func CheckBase(name, value string) error {
	if fi, err := os.Stat(filepath.Join(value, "oci-layout")); err != nil || !fi.Mode().IsRegular() {
		return nil
	}
	return errs.WithHint(errs.New(errs.Invalid, "build context %q (%s) is an OCI directory, and FROM would take its files", name, value),
		"use --build-context %s=oci-layout://%s", name, value)
}

// CheckImage refuses an image of a FROM line, or of a --from in a Dockerfile, that is a
// directory of the host. Only the user may name one.
func CheckImage(ref string) error {
	dir, ok := strings.CutPrefix(ref, layoutPrefix)
	if !ok {
		return nil
	}
	return errs.WithHint(errs.New(errs.Denied, "%s: a Dockerfile cannot name a directory of the host", ref),
		"name an image there, and give the directory with --build-context IMAGE=%s%s", layoutPrefix, dir)
}

// IsImageContext says whether a named context stands for an image.
func IsImageContext(value string) bool {
	return strings.HasPrefix(value, layoutPrefix) ||
		slices.ContainsFunc(imagePrefixes, func(p string) bool { return strings.HasPrefix(value, p) })
}
