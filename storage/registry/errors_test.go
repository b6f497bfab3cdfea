// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/reference"
	"github.com/docker/distribution/registry/api/errcode"

	"github.com/proa-containers/proa/pkg/errs"
)

// A refusal without a text is a refusal too.
func TestRegistryErrorOfABareCode(t *testing.T) {
	named, err := reference.ParseNormalizedNamed("registry.example.com/me/app")
	if err != nil {
		t.Fatal(err)
	}
	for _, refusal := range []error{errcode.ErrorCodeUnauthorized, errcode.ErrorCodeUnauthorized.WithMessage("no"), errcode.ErrorCodeDenied} {
		got := Explain(fmt.Errorf("reading manifest: %w", refusal), named)
		if !errs.Is(got, errs.Unauthorized) || !strings.HasPrefix(got.Error(), "pull access denied for registry.example.com/me/app, ") ||
			errs.HintOf(got) != "proa login registry.example.com" {
			t.Errorf("%v: got %v, hint %q", refusal, got, errs.HintOf(got))
		}
	}
}
