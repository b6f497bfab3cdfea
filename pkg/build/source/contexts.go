// SPDX-License-Identifier: Apache-2.0

package source

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/redact"
)

const (
	// ImagePrefix begins the value of a named context that is an image.
	ImagePrefix  = "docker-image://"
	layoutPrefix = "oci-layout://"
)

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
// takes it: a name, or oci-layout://DIRECTORY[:TAG|@DIGEST].
func ContextImage(name, value string) (string, error) {
	if ref, ok := strings.CutPrefix(value, ImagePrefix); ok {
		return ref, nil
	}
	if strings.HasPrefix(value, layoutPrefix) {
		return value, nil
	}
	err := errs.New(errs.Invalid, "build context %q (%s) holds files, and FROM needs an image", name, redact.URL(value))
	if fi, serr := os.Stat(filepath.Join(value, "oci-layout")); serr == nil && fi.Mode().IsRegular() {
		return "", errs.WithHint(err, "it is an OCI directory: --build-context %s=oci-layout://%s", name, value)
	}
	return "", errs.WithHint(err, "use --build-context %s=docker-image://IMAGE, or take the files with COPY --from=%s", name, name)
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
	return strings.HasPrefix(value, ImagePrefix) || strings.HasPrefix(value, layoutPrefix)
}
