// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/distribution/reference"
	"github.com/docker/distribution/registry/api/errcode"
	v2 "github.com/docker/distribution/registry/api/v2"

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

// One clear sentence: the registry's words once, and its address once, unless a
// mirror was asked.
func TestWordsOnce(t *testing.T) {
	named, err := reference.ParseNormalizedNamed("reg.example.com/me/app:1")
	if err != nil {
		t.Fatal(err)
	}
	unknown := errcode.Error{Code: v2.ErrorCodeManifestUnknown, Message: "manifest unknown"}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	get := &url.Error{Op: "Get", URL: "https://reg.example.com/v2/", Err: refused}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("reading manifest 1 in reg.example.com/me/app: %w", unknown), "manifest for reg.example.com/me/app:1 not found: manifest unknown"},
		{fmt.Errorf("initializing source docker://reg.example.com/me/app:1: reading manifest 1 in reg.example.com/me/app: %w",
			errcode.Error{Code: v2.ErrorCodeManifestUnknown, Message: "Unknown manifest"}),
			"manifest for reg.example.com/me/app:1 not found: manifest unknown: Unknown manifest"},
		{fmt.Errorf("reading manifest 1 in mirror.example.com/me/app: %w", unknown),
			"manifest for reg.example.com/me/app:1 not found: manifest unknown (at mirror.example.com/me/app)"},
		{fmt.Errorf("(Mirrors also failed: [mirror.example.com/me/app:1: reading manifest 1 in mirror.example.com/me/app: %w]): reg.example.com/me/app:1: fetching manifest 1 in reg.example.com/me/app: pinging container registry reg.example.com: %w", unknown, get),
			"manifest for reg.example.com/me/app:1 not found: (Mirrors also failed: [mirror.example.com/me/app:1: manifest unknown]): reg.example.com/me/app:1: dial tcp 10.0.0.1:443: connect: connection refused"},
		{fmt.Errorf("fetching manifest 1 in reg.example.com/me/app: pinging container registry reg.example.com: %w", get),
			"cannot reach reg.example.com: dial tcp 10.0.0.1:443: connect: connection refused"},
		{fmt.Errorf("trying to reuse blob sha256:0 at destination: pinging container registry reg.example.com: %w", get),
			"cannot reach reg.example.com: dial tcp 10.0.0.1:443: connect: connection refused"},
		{fmt.Errorf("reading manifest 1 in reg.example.com/me/app: %w", errcode.ErrorCodeUnauthorized.WithMessage("authentication\nrequired")),
			"pull access denied for reg.example.com/me/app, repository does not exist or may require 'proa login': unauthorized: authentication required"},
		{fmt.Errorf("checking whether a blob sha256:0 exists in reg.example.com/me/app: something else"), "something else"},
	} {
		got := Explain(c.err, named)
		if got.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.err, got, c.want)
		}
		if !errors.Is(got, errors.Unwrap(c.err)) && errors.Unwrap(c.err) != nil {
			t.Errorf("%v: the cause is lost", c.err)
		}
	}
}
