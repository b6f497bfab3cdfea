// SPDX-License-Identifier: Apache-2.0

package build

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

const (
	imageContext  = "docker-image://"
	layoutContext = "oci-layout://"
)

// context is the value of a named context. Names are compared as those of
// images: alpine, alpine:latest and docker.io/library/alpine are one.
func (o *Options) context(name string) (string, bool) {
	if v, ok := o.Contexts[name]; ok {
		return v, true
	}
	for n, v := range o.Contexts {
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

// contextImage is the image that a named context stands for, as Engine.Base
// takes it: a name, or oci-layout://DIRECTORY[:TAG|@DIGEST].
func contextImage(name, value string) (string, error) {
	if ref, ok := strings.CutPrefix(value, imageContext); ok {
		return ref, nil
	}
	if strings.HasPrefix(value, layoutContext) {
		return value, nil
	}
	err := errs.New(errs.Invalid, "build context %q (%s) holds files, and FROM needs an image", name, value)
	if fi, serr := os.Stat(filepath.Join(value, "oci-layout")); serr == nil && fi.Mode().IsRegular() {
		return "", errs.WithHint(err, "it is an OCI directory: --build-context %s=oci-layout://%s", name, value)
	}
	return "", errs.WithHint(err, "use --build-context %s=docker-image://IMAGE, or take the files with COPY --from=%s", name, name)
}

// isImageContext says whether a named context stands for an image.
func isImageContext(value string) bool {
	return strings.HasPrefix(value, imageContext) || strings.HasPrefix(value, layoutContext)
}
