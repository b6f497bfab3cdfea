// SPDX-License-Identifier: Apache-2.0

package imagename

import (
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

func TestLocalhost(t *testing.T) {
	here := []string{"quay.io/a/app@sha256:1", "docker.io/library/app2@sha256:1"}
	for in, want := range map[string]string{
		"localhost/app":            "docker.io/library/app:latest",
		"localhost/app:1.0":        "docker.io/library/app:1.0",
		"localhost/team/app":       "docker.io/team/app:latest",
		"localhost/quay.io/a/app":  "",
		"localhost/localhost/app":  "",
		"localhost/":               "",
		"localhost/UPPER":          "",
		"localhost:5000/app":       "",
		"docker.io/app":            "",
		"localhostess/app":         "",
		"localhost":                "",
		"localhost/host:5000/app1": "",
	} {
		got := ""
		if n, ok := Stored(in); ok {
			got = n.String()
			if back := Localhost(got, here); back != in && back != in+":latest" {
				t.Errorf("%s: back %q", in, back)
			}
		}
		if got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
	for _, full := range []string{"quay.io/a/app:latest", "docker.io/library/app2:latest", "localhost/app:latest", "UPPER"} {
		if got := Localhost(full, here); got != "" {
			t.Errorf("%s: %q", full, got)
		}
	}
}

func TestNormalize(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string][2]string{
		"alpine":                      {"docker.io/library/alpine:latest", "alpine:latest"},
		"ubuntu:16.04":                {"docker.io/library/ubuntu:16.04", "ubuntu:16.04"},
		"microsoft/nanoserver":        {"docker.io/microsoft/nanoserver:latest", "microsoft/nanoserver:latest"},
		"acme/web-api:12.0":           {"docker.io/acme/web-api:12.0", "acme/web-api:12.0"},
		"gcr.io/gnschenker/app:1.1":   {"gcr.io/gnschenker/app:1.1", "gcr.io/gnschenker/app:1.1"},
		"docker.io/alpine":            {"docker.io/library/alpine:latest", "alpine:latest"},
		"index.docker.io/x/y":         {"docker.io/x/y:latest", "x/y:latest"},
		"localhost/x":                 {"localhost/x:latest", "localhost/x:latest"},
		"localhost:5000/x":            {"localhost:5000/x:latest", "localhost:5000/x:latest"},
		"registry.acme.com/e/web:1.0": {"registry.acme.com/e/web:1.0", "registry.acme.com/e/web:1.0"},
		"alpine@" + digest:            {"docker.io/library/alpine@" + digest, "alpine@" + digest},
		"alpine:3@" + digest:          {"docker.io/library/alpine@" + digest, "alpine@" + digest},
	} {
		got, err := Normalize(in)
		if err != nil || got != want[0] || Familiar(got) != want[1] {
			t.Errorf("%s: %q %q %v", in, got, Familiar(got), err)
		}
	}
	for _, in := range []string{"", "UPPER", "a b", "-x", "x:", "x:-", "x@sha256:12", ":x", "a//b", strings.Repeat("a", 64), strings.Repeat("a", 300)} {
		if got, err := Normalize(in); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	if _, err := Normalize("Alpine"); errs.HintOf(err) != "write alpine" {
		t.Error(err)
	}
}
